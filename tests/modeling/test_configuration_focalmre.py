"""The configuration of FocalMRE: what it keeps, what it refuses, and in which words."""

import copy
import logging

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, AutoModel, BertConfig, CLIPVisionConfig, PreTrainedConfig, ResNetConfig, T5Config

from mmre.modeling import FocalMREConfig, FocalMREForRelationClassification

pytestmark = [pytest.mark.filterwarnings("error::FutureWarning", "error::DeprecationWarning")]

ROBERTA = {
    "model_type": "roberta",
    "vocab_size": 70,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "hidden_dropout_prob": 0.3,
}
SIGLIP = {
    "model_type": "siglip_vision_model",
    "image_size": 16,
    "patch_size": 4,
    "hidden_size": 12,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 20,
}
NOT_THE_DEFAULTS = {
    "text_config": ROBERTA,
    "vision_config": SIGLIP,
    "num_grounded_regions": 2,
    "num_detected_regions": 1,
    "share_region_weights": True,
    "use_focal_attention": False,
    "use_gate": False,
    "region_weighting": "raw",
    "vision_feature_select_strategy": "full",
    "classifier_hidden_sizes": [6, 5],
    "focal_dropout": 0,
    "initializer_range": 1,
}
LABELS = {"id2label": {0: "None", 1: "/per/per/peer"}, "label2id": {"None": 0, "/per/per/peer": 1}}


@pytest.fixture(autouse=True)
def no_deprecation_message(caplog):
    """No test may make transformers say that something is deprecated."""
    logger = logging.getLogger("transformers")
    logger.addHandler(caplog.handler)
    yield
    logger.removeHandler(caplog.handler)
    assert [record.getMessage() for record in caplog.records if "deprecat" in record.getMessage().lower()] == []


def own_fields() -> set[str]:
    return set(FocalMREConfig.__dataclass_fields__) - set(PreTrainedConfig.__dataclass_fields__)


def test_the_defaults_are_the_system_of_the_paper():
    config = FocalMREConfig()
    assert (config.text_config.model_type, config.text_config.hidden_size) == ("bert", 768)
    assert config.text_config.num_hidden_layers == 12
    assert (config.vision_config.model_type, config.vision_config.patch_size) == ("clip_vision_model", 32)
    assert (config.vision_config.hidden_size, config.vision_config.image_size) == (768, 224)
    assert (config.num_grounded_regions, config.num_detected_regions) == (4, 3)
    assert (config.region_weighting, config.vision_feature_select_strategy) == ("softmax", "default")
    assert (config.use_focal_attention, config.use_gate, config.share_region_weights) == (True, True, False)
    assert (config.focal_dropout, list(config.classifier_hidden_sizes)) == (0.1, [])


def test_every_value_survives_saving_and_loading_through_auto_config(tmp_path):
    assert set(NOT_THE_DEFAULTS) == own_fields()
    default = FocalMREConfig()
    config = FocalMREConfig(**copy.deepcopy(NOT_THE_DEFAULTS), **LABELS)
    for name in own_fields() - {"text_config", "vision_config"}:
        assert getattr(config, name) != getattr(default, name), name

    config.save_pretrained(tmp_path)
    loaded = AutoConfig.from_pretrained(tmp_path)

    assert type(loaded) is FocalMREConfig
    for name in own_fields() - {"text_config", "vision_config"}:
        assert getattr(loaded, name) == NOT_THE_DEFAULTS[name], name
    for name in ("text_config", "vision_config"):
        tower = getattr(loaded, name)
        assert type(tower) is type(getattr(config, name))
        assert {key: getattr(tower, key) for key in NOT_THE_DEFAULTS[name]} == NOT_THE_DEFAULTS[name]
    assert (loaded.id2label, loaded.label2id) == (LABELS["id2label"], LABELS["label2id"])
    assert loaded.num_labels == 2


def test_the_dictionaries_of_the_towers_are_left_as_they_were_given():
    text, vision = dict(ROBERTA), dict(SIGLIP)
    FocalMREConfig(text_config=text, vision_config=vision)
    assert (text, vision) == (ROBERTA, SIGLIP)


def test_a_tower_without_model_type_is_of_the_default_kind():
    config = FocalMREConfig(text_config={"hidden_size": 24}, vision_config={"patch_size": 16})
    assert type(config.text_config) is BertConfig
    assert config.text_config.hidden_size == 24
    assert type(config.vision_config) is CLIPVisionConfig
    assert config.vision_config.patch_size == 16


def test_a_sub_configuration_can_be_changed_in_part_when_loading(tmp_path):
    FocalMREConfig(**copy.deepcopy(NOT_THE_DEFAULTS)).save_pretrained(tmp_path)
    loaded = AutoConfig.from_pretrained(tmp_path, text_config={"hidden_dropout_prob": 0.4})
    assert loaded.text_config.hidden_dropout_prob == 0.4
    assert loaded.text_config.vocab_size == ROBERTA["vocab_size"]


def test_the_text_configuration_is_found():
    config = FocalMREConfig(text_config=ROBERTA, vision_config=SIGLIP)
    assert config.get_text_config() is config.text_config


def test_the_hidden_sizes_of_the_classifier_may_be_a_tuple_and_come_back_as_a_list(tmp_path, tiny_config):
    config = tiny_config(classifier_hidden_sizes=(6, 5))
    config.save_pretrained(tmp_path)
    loaded = AutoConfig.from_pretrained(tmp_path)
    assert loaded.classifier_hidden_sizes == [6, 5]
    for each in (config, loaded):
        classifier = AutoModel.from_config(each).classifier
        shapes = [tuple(layer.weight.shape) for layer in classifier if isinstance(layer, torch.nn.Linear)]
        assert shapes == [(6, 64), (5, 6), (4, 5)]


def test_the_number_of_labels_follows_the_names_of_the_labels(tiny_config):
    names = ["None", "a", "b"]
    config = tiny_config(id2label=dict(enumerate(names)), label2id={name: index for index, name in enumerate(names)})
    assert config.num_labels == 3
    assert config.id2label == {0: "None", 1: "a", 2: "b"}
    assert FocalMREForRelationClassification(config).classifier[-1].out_features == 3


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_grounded_regions": -1}, "`num_grounded_regions` must not be negative, got -1"),
        ({"num_detected_regions": -2}, "`num_detected_regions` must not be negative, got -2"),
        ({"classifier_hidden_sizes": (6, 0)}, r"`classifier_hidden_sizes` must be positive, got \(6, 0\)"),
        ({"focal_dropout": 1.0}, r"`focal_dropout` must be in \[0, 1\), got 1.0"),
        ({"focal_dropout": -0.1}, r"`focal_dropout` must be in \[0, 1\), got -0.1"),
        ({"text_config": {"model_type": "t5"}}, "`text_config` must be an encoder alone, but 't5' is an enc"),
        ({"text_config": T5Config()}, "`text_config` must be an encoder alone, but 't5' is an encoder-decoder"),
        ({"vision_config": {"model_type": "resnet"}}, "`vision_config` must be .* 'resnet' is a pyramid"),
        ({"vision_config": ResNetConfig()}, "`vision_config` must be .* 'resnet' is a pyramid"),
        ({"vision_config": BertConfig()}, "`vision_config` must be .* a `patch_size`, but 'bert' has none"),
        ({"vision_config": {"model_type": "convnext"}}, r"`vision_config` .* 'convnext' is a pyramid.* \(`depths`\)"),
        ({"vision_config": {"model_type": "swin"}}, "`vision_config` .* 'swin' is a pyramid"),
        ({"vision_config": {"model_type": "vitdet"}}, "`vision_config` .* 'vitdet' gives maps"),
        ({"vision_config": {"model_type": "vit_mae"}}, "`vision_config` .* 'vit_mae' hides patches at random"),
        ({"vision_config": {"model_type": "yolos"}}, "`vision_config` .* 'yolos' puts detection tokens after"),
        ({"vision_config": {"model_type": "siglip2_vision_model"}}, "`vision_config` .* needs the shape of each image"),
        ({"region_weighting": "mean"}, r"'region_weighting' expected one of \('softmax', 'raw'\), got mean"),
        ({"vision_feature_select_strategy": "cls"}, r"expected one of \('default', 'full'\), got cls"),
        ({"num_grounded_regions": "4"}, "'num_grounded_regions' expected int, got str"),
        ({"num_detected_regions": 3.0}, "'num_detected_regions' expected int, got float"),
        ({"num_detected_regions": True}, "'num_detected_regions' expected int, got bool"),
        ({"use_gate": "yes"}, "'use_gate' expected bool, got str"),
        ({"use_focal_attention": 1}, "'use_focal_attention' expected bool, got int"),
        ({"share_region_weights": None}, "'share_region_weights' expected bool, got NoneType"),
        ({"focal_dropout": "0.1"}, "'focal_dropout' expected float, got str"),
        ({"classifier_hidden_sizes": 6}, "'classifier_hidden_sizes' with value 6"),
        ({"classifier_hidden_sizes": ["6"]}, "Invalid item at index 0 in list 'classifier_hidden_sizes'"),
        ({"text_config": "bert-base-uncased"}, "'text_config' with value 'bert-base-uncased'"),
    ],
)
def test_a_value_that_cannot_be_right_is_refused_by_name(values, message):
    with pytest.raises(StrictDataclassError, match=message):
        FocalMREConfig(**values)


def test_a_value_of_the_wrong_type_is_refused_when_assigned():
    config = FocalMREConfig()
    with pytest.raises(StrictDataclassError, match="'num_grounded_regions' expected int, got str"):
        config.num_grounded_regions = "4"


def test_a_configuration_made_wrong_after_the_fact_is_not_saved(tmp_path):
    config = FocalMREConfig()
    config.num_grounded_regions = -1
    with pytest.raises(StrictDataclassError, match="`num_grounded_regions` must not be negative"):
        config.save_pretrained(tmp_path)
