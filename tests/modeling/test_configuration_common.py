"""What is asked of every configuration class: what it says of its system, what it keeps, what it refuses.

No system is named here: a system that is added to `MODELS` is asked all of it.
"""

import copy
from typing import Literal, get_args, get_origin

import pytest
import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
from model_helpers import CASES, ENCODERS, LABELS, SYSTEMS, dropouts, encoder_values, own_fields, tiny_config
from transformers import AutoConfig, T5Config
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

from mmre.modeling import MODELS
from mmre.modeling.configuration_relation_extraction import INPUTS, Paper

pytestmark = [
    pytest.mark.filterwarnings("error::FutureWarning", "error::DeprecationWarning"),
    pytest.mark.usefixtures("no_deprecation_message"),
]

CONFIGS = {model_type: model.config_class for model_type, model in MODELS.items()}
VALUES = [(model_type, name) for model_type, config in CONFIGS.items() for name in own_fields(config)]
OTHER_ENCODERS = {
    "text_config": {
        **{"model_type": "roberta", "vocab_size": 70, "hidden_size": 8, "num_hidden_layers": 1},
        **{"num_attention_heads": 2, "intermediate_size": 12, "hidden_dropout_prob": 0.3},
    },
    "vision_config": {
        **{"model_type": "dinov2", "image_size": 16, "patch_size": 4, "hidden_size": 12, "num_hidden_layers": 1},
        **{"num_attention_heads": 2, "mlp_ratio": 3},
    },
}


NOT_READABLE = {
    "patches": {
        "resnet": r"is a pyramid, .* \(`depths`\)",
        "convnext": r"is a pyramid, .* \(`depths`\)",
        "swin": "is a pyramid",
        "vitdet": "gives maps",
        "vit_mae": "hides patches at random",
        "yolos": "puts detection tokens after",
        "siglip2_vision_model": "needs the shape of each image",
        "bert": "has none",
    },
    "maps": {"clip_vision_model": "is none", "vit_mae": "is none", "bert": "is none"},
}


def annotation(model_type: str, name: str):
    return CONFIGS[model_type].__dataclass_fields__[name].type


def other_value(model_type: str, name: str):
    """Return a value that is allowed and is not the default."""
    if name in OTHER_ENCODERS:
        default = getattr(CONFIGS[model_type](), name)
        if name == "vision_config" and CONFIGS[model_type].vision_features == "maps":
            return ENCODERS["maps"]
        # One of another kind, but for a system that has a kind of its own.
        own_kind = default.model_type if default.model_type not in ("bert", "clip_vision_model") else None
        return OTHER_ENCODERS[name] | ({"model_type": own_kind} if own_kind else {})
    kind, default = annotation(model_type, name), getattr(CONFIGS[model_type](), name)
    if get_origin(kind) is Literal:
        return next(value for value in get_args(kind) if value != default)
    if isinstance(default, bool):
        return not default
    if isinstance(default, (list, tuple)):
        return [7, 6]
    if isinstance(default, float):
        return default / 2
    return 2 * default if name.endswith(("_size", "_heads")) and default % 2 == 0 else default + 1  # heads divide sizes


def wrong_values(model_type: str, name: str) -> list:
    """Return values of a wrong type."""
    kind, default = annotation(model_type, name), getattr(CONFIGS[model_type](), name)
    if name in OTHER_ENCODERS:
        return ["bert-base-uncased", 3]
    if get_origin(kind) is Literal:
        return ["nonsense", None]
    if isinstance(default, bool):
        return ["yes", 1, None]
    if isinstance(default, (list, tuple)):
        return [6, ["6"]]
    return [str(default), None, *([float(default), True] if isinstance(default, int) else [])]


def test_every_system_is_asked():
    assert {name for name, *_ in CASES.values()} == set(SYSTEMS) == set(MODELS)
    for case in CASES:
        assert set(tiny_config(case).reads()) <= set(tiny_config(case).inputs)


@pytest.mark.parametrize("model_type", MODELS)
def test_a_configuration_class_says_what_its_system_is_and_reads(model_type):
    config_class = CONFIGS[model_type]
    assert config_class.model_type == model_type
    assert config_class.system and config_class.processor_class.endswith("Processor")
    assert "text" in config_class.inputs and set(config_class.inputs) <= set(INPUTS)
    paper = config_class.paper
    assert type(paper) is Paper
    assert paper.title and paper.venue and paper.equations
    assert 2010 < paper.year < 2100 and paper.address.startswith("https://")
    assert isinstance(paper.authors, tuple)
    # None of it is a value of a model.
    said = {"system", "paper", "summary", "inputs", "processor_class"}
    # Of a system that reads either kind, it is a value.
    said |= {"vision_features"} - {*own_fields(config_class)}
    assert not said & set(config_class.__dataclass_fields__)
    assert not said & set(config_class().to_dict())


@pytest.mark.parametrize("model_type", MODELS)
def test_a_model_reads_what_its_system_reads_in_the_same_order(model_type):
    config = CONFIGS[model_type]()
    assert config.reads() == tuple(name for name in config.inputs if name in config.reads())
    if hasattr(config, "use_caption"):
        for use_caption in (True, False):
            assert ("caption" in CONFIGS[model_type](use_caption=use_caption).reads()) == use_caption
    else:
        assert config.reads() == config.inputs


@pytest.mark.parametrize("model_type", MODELS)
def test_transformers_has_nothing_of_the_same_name(model_type):
    # `hasattr` alone would not do: what is registered here is not transformers' own.
    assert model_type not in CONFIG_MAPPING_NAMES
    assert CONFIGS[model_type].__name__ not in CONFIG_MAPPING_NAMES.values()
    assert not hasattr(transformers, CONFIGS[model_type].__name__)
    assert not hasattr(transformers, MODELS[model_type].__name__)


@pytest.mark.parametrize("model_type", MODELS)
def test_auto_classes_know_the_configuration(model_type):
    assert type(AutoConfig.for_model(model_type)) is CONFIGS[model_type]
    assert MODELS[model_type].config_class is CONFIGS[model_type]
    assert set(CONFIGS[model_type].sub_configs) <= set(OTHER_ENCODERS)


@pytest.mark.parametrize(("model_type", "name"), VALUES)
def test_each_value_survives_saving_and_loading_through_auto_config(tmp_path, model_type, name):
    value = other_value(model_type, name)
    config = CONFIGS[model_type](
        **{name: copy.deepcopy(value)}, id2label=dict(enumerate(LABELS)), label2id={n: i for i, n in enumerate(LABELS)}
    )
    config.save_pretrained(tmp_path)
    loaded = AutoConfig.from_pretrained(tmp_path)
    assert type(loaded) is CONFIGS[model_type]
    for each in own_fields(CONFIGS[model_type]):
        if each not in OTHER_ENCODERS:
            assert list_of(getattr(loaded, each)) == list_of(getattr(config, each)), each
        else:
            assert type(getattr(loaded, each)) is type(getattr(config, each))
    if name in OTHER_ENCODERS:
        encoder = getattr(loaded, name)
        assert {key: getattr(encoder, key) for key in value} == value
    else:
        assert list_of(getattr(loaded, name)) == value != list_of(getattr(CONFIGS[model_type](), name))
    assert loaded.id2label == dict(enumerate(LABELS))
    assert loaded.label2id == {label: index for index, label in enumerate(LABELS)}
    assert loaded.num_labels == len(LABELS)


def list_of(value):
    # A tuple is a list in JSON.
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize(("model_type", "name"), VALUES)
def test_a_value_of_the_wrong_type_is_refused_by_name_when_given_and_when_assigned(model_type, name):
    config = CONFIGS[model_type]()
    for value in wrong_values(model_type, name):
        if value is None and name in OTHER_ENCODERS:
            continue
        with pytest.raises(StrictDataclassError, match=f"'{name}'"):
            CONFIGS[model_type](**{name: value})
        with pytest.raises(StrictDataclassError, match=f"'{name}'"):
            setattr(config, name, value)


@pytest.mark.parametrize(
    ("model_type", "name"),
    [(model_type, name) for model_type, config in CONFIGS.items() for name in dropouts(config)],
)
def test_a_dropout_is_a_share(tmp_path, model_type, name):
    for value in (1.0, -0.1):
        with pytest.raises(StrictDataclassError, match=rf"`{name}` must be in \[0, 1\), got {value}"):
            CONFIGS[model_type](**{name: value})
    # A configuration made wrong after the fact is not saved.
    config = CONFIGS[model_type]()
    setattr(config, name, 1.0)
    with pytest.raises(StrictDataclassError, match=f"`{name}` must be"):
        config.save_pretrained(tmp_path)
    assert not (tmp_path / "config.json").exists()


@pytest.mark.parametrize(
    ("model_type", "name"),
    [(model_type, name) for model_type, name in VALUES if name.startswith("num_")],
)
def test_a_number_of_things_is_not_negative(model_type, name):
    with pytest.raises(StrictDataclassError, match=f"`{name}` must (not be negative|be positive), got -1"):
        CONFIGS[model_type](**{name: -1})


@pytest.mark.parametrize("model_type", MODELS)
def test_an_encoder_that_a_system_cannot_read_is_refused(model_type):
    config_class = CONFIGS[model_type]
    if "text_config" in config_class.sub_configs:
        for value in ({"model_type": "t5"}, T5Config()):
            with pytest.raises(StrictDataclassError, match="`text_config` must be .* 't5' is an encoder-decoder"):
                config_class(text_config=value)
    if "vision_config" in config_class.sub_configs:
        for name, reason in NOT_READABLE[config_class.vision_features].items():
            with pytest.raises(StrictDataclassError, match=f"`vision_config` must be .*'{name}' {reason}"):
                config_class(vision_config={"model_type": name})
            with pytest.raises(StrictDataclassError, match=f"`vision_config` must be .*'{name}' {reason}"):
                config_class(vision_config=AutoConfig.for_model(name))


@pytest.mark.parametrize("model_type", MODELS)
def test_the_encoders_values_may_be_given_in_part_and_are_left_as_they_were(tmp_path, model_type):
    config_class = CONFIGS[model_type]
    values = encoder_values(config_class)
    given = copy.deepcopy(values)
    config = config_class(**given)
    assert given == values
    config.save_pretrained(tmp_path)
    if "text_config" in values:
        assert config.get_text_config() is config.text_config
        assert type(config_class(text_config={"hidden_size": 24}).text_config) is type(config_class().text_config)
        loaded = AutoConfig.from_pretrained(tmp_path, text_config={"hidden_dropout_prob": 0.4})
        assert loaded.text_config.hidden_dropout_prob == 0.4
        assert loaded.text_config.vocab_size == ENCODERS["text"]["vocab_size"]
    if "vision_config" in values:
        default = config_class().vision_config.model_type
        assert config_class(vision_config={"initializer_range": 0.5}).vision_config.model_type == default


@pytest.mark.parametrize("model_type", MODELS)
def test_the_number_of_labels_follows_their_names_and_so_does_the_classifier(model_type):
    names = ["None", "a", "b"]
    config = tiny_config(SYSTEMS[model_type], labels=names)
    assert (config.num_labels, config.id2label) == (3, {0: "None", 1: "a", 2: "b"})
    classifier = MODELS[model_type](config).classifier
    *_, last = (layer for layer in classifier.modules() if isinstance(layer, torch.nn.Linear))
    assert last.out_features == 3


PICTURES = [name for name, model in MODELS.items() if "vision_config" in model.config_class.sub_configs]


@pytest.mark.parametrize("model_type", PICTURES)
def test_a_vision_encoder_of_the_other_kind_is_refused_with_the_value_that_reads_it(model_type):
    config_class = MODELS[model_type].config_class
    is_choice = "vision_features" in config_class.__dataclass_fields__
    for features, other, kind in (("patches", "maps", "resnet"), ("maps", "patches", "clip_vision_model")):
        values = {"vision_features": features} if is_choice else {}
        if not is_choice and features != config_class.vision_features:
            continue
        with pytest.raises(StrictDataclassError, match=f"`vision_config` must be .* but '{kind}'") as error:
            config_class(vision_config={"model_type": kind}, **values)
        assert (f'Set `vision_features="{other}"`' in str(error.value)) == is_choice
