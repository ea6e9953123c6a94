"""The model and the processor of a run."""

import pytest
from run_helpers import settings_of, train

from mmre.training.encoders import build, make_text_encoder, make_vision_encoder

POSTS = {"train": {"text": ["a text"]}}


def test_values_reach_both_the_model_and_the_processor(config_file, tmp_path):
    settings = settings_of([config_file(), "--num_grounded_regions", "1"])
    processor, model = build(settings.model, settings.values, ["None", "couple"], POSTS, tmp_path)
    assert model.config.num_grounded_regions == processor.num_grounded_regions == 1
    assert model.config.id2label == {0: "None", 1: "couple"}
    assert processor.max_length == 64
    assert model.get_input_embeddings().num_embeddings >= len(processor.tokenizer)


def test_what_is_new_in_a_frozen_encoder_is_trained(tmp_path):
    settings = settings_of(["quickstart", "--model_type", "visualbert_mre", "--freeze_text", "true"])
    _, model = build(settings.model, settings.values, ["None", "couple"], POSTS, tmp_path)
    trained = {name for name, weight in model.text_model.named_parameters() if weight.requires_grad}
    assert trained == {f"embeddings.visual_projection.{name}" for name in ("weight", "bias")}


@pytest.mark.parametrize("argument", ["--use_gate=false", "--num_grounded_regions=1", "--input_mode=cropped"])
def test_a_checkpoint_keeps_the_values_it_was_trained_with(run, config_file, tmp_path, argument):
    name = argument.split("=")[0].removeprefix("--")
    with pytest.raises((OSError, ValueError), match=f"`{name}` is .* but the checkpoint"):
        train([config_file(), "--model_name_or_path", str(run), "--do_train=false", argument])


def test_texts_longer_than_the_encoder_reads_are_refused_at_the_start(config_file, tmp_path):
    with pytest.raises((OSError, ValueError), match="`max_length` is 65, but the text encoder reads at most 64"):
        train([config_file(max_length=65)])


def test_a_checkpoint_of_other_relations_is_refused(run, config_file):
    settings = settings_of([config_file(), "--model_name_or_path", str(run)])
    with pytest.raises(ValueError, match="knows the relations .*None, not None, couple"):
        build(settings.model, settings.values, ["None", "couple"], POSTS, run)


@pytest.mark.parametrize("kind", ["text", "clip_vision_model", "resnet"])
@pytest.mark.parametrize(
    "values",
    [
        *({"hidden_size": value} for value in ("x", [1], None, 1.5)),
        *({"vocab_size": value, "image_size": value} for value in ("x", [1], None)),
        {"num_attention_heads": 0, "depths": None},
        {"hidden_sizes": None, "num_hidden_layers": "x"},
    ],
    ids=repr,
)
def test_values_of_which_no_new_encoder_can_be_made_are_refused_in_one_line(tmp_path, kind, values):
    with pytest.raises(ValueError) as error:
        if kind == "text":
            make_text_encoder(tmp_path, values, ["a text"])
        else:
            make_vision_encoder(tmp_path, values, kind)
    assert "\n" not in str(error.value) and any(name in str(error.value) for name in values)
