"""Configuration files and what is given beside them."""

import inspect
import re
from pathlib import Path

import pytest
from run_helpers import settings_of

from mmre.modeling import MODELS
from mmre.training.settings import list_arguments, read_config, resolve
from mmre.training.system_values import ROOM_FOR_REGIONS, processor_class, processor_names, processor_values

ROOT = Path(__file__).resolve().parents[2]
TOWERS = "data: {dataset: synthetic}\nmodel: {text_encoder: a, vision_encoder: b"


@pytest.mark.parametrize("path", sorted(ROOT.glob("configs/*.yaml")), ids=lambda path: path.name)
def test_every_configuration_in_the_repository_is_understood(path):
    files = ["--train_file", "train.csv"] if path.stem == "own_posts" else []
    settings = settings_of([str(path), *files])
    assert settings.training.output_dir == f"outputs/{path.stem}"
    assert settings.model.model_type in MODELS


@pytest.mark.parametrize(
    ("text", "value"), [("3e-5", 3e-5), ("1E-4", 1e-4), ("2e5", 2e5), ("1.5e-3", 1.5e-3), (".5e1", 5)]
)
def test_a_number_with_an_exponent_is_a_number(config_file, text, value):
    path = config_file(
        "model: {new_text_encoder: {}, new_vision_encoder: {}, focal_dropout: 1e-1}\n"
        f"data: {{dataset: synthetic}}\ntraining: {{learning_rate: {text}}}"
    )
    settings = settings_of([path])
    assert settings.training.learning_rate == value
    assert settings.values == {"focal_dropout": 0.1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("training: {learning_rat: 1e-5}", "'learning_rat'.*'learning_rate'"),
        ("model: {use_gat: false}", "'use_gat'.*'use_gate'"),
        ("model: {input_mod: cropped}", "'input_mod'.*'input_mode'"),
        ("data: {region: none}", "'region'.*'regions'"),
        ("trainin: {seed: 1}", "'trainin'.*'training'"),
        ("data: {seed: 1}\ntraining: {seed: 2}", "'seed' stands in two sections"),
        ("training: 3", "section 'training'"),
        ("- 1", "must have the sections"),
        ("training: {seed: 1, seed: 2}", "'seed' stands twice"),
        ("data: {regions: none}\ndata: {regions: none}", "'data' stands twice"),
        ("training: {", "not valid YAML"),
        (f"{TOWERS}, use_gate: 3}}", "use_gate"),
        (f"{TOWERS}, region_weighting: soft}}", "region_weighting"),
        (f"{TOWERS}, num_grounded_regions: -1}}", "num_grounded_regions"),
        (f"{TOWERS}, input_mode: croped}}", "input_mode.*croped"),
        (f"{TOWERS}, max_length: abc}}", "max_length.*whole number.*'abc'"),
        (f"{TOWERS}, max_length: 5}}", "max_length.*at least"),
        ("model: {text_encoder: null}", "text_encoder"),
        ("model: {text_encoder: a, vision_encoder: b}\ndata: {dataset: mnre}", "data_dir"),
    ],
)
def test_a_mistake_in_a_file_is_an_error_that_names_it(config_file, text, message):
    with pytest.raises((OSError, ValueError)) as error:
        settings_of([config_file(text)])
    assert re.search(message, str(error.value)), error.value


def test_a_value_of_the_wrong_type_is_an_error(config_file):
    with pytest.raises(ValueError, match="num_train_epochs.*invalid float value: 'abc'"):
        settings_of([config_file(num_train_epochs="abc")])
    with pytest.raises((OSError, ValueError), match=r"'num_train_epochs' takes one value, got \[1, 2\]"):
        settings_of([config_file(num_train_epochs=[1, 2])])


def test_a_missing_file_and_an_unknown_argument_on_the_command_line_are_errors(config_file):
    with pytest.raises((OSError, ValueError), match="there is no file nowhere.yaml"):
        settings_of(["nowhere.yaml"])
    with pytest.raises(ValueError, match="^unknown configuration 'quikstart'; did you mean 'quickstart'"):
        settings_of(["quikstart"])
    with pytest.raises(ValueError, match="unknown argument 'learning_rte'; did you mean 'learning_rate'"):
        resolve(read_config(config_file()), {"learning_rte": "1e-5"})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"input_mode": "croped"}, "unknown input_mode 'croped'; did you mean 'cropped'?"),
        ({"resize": "center_crp"}, "unknown resize 'center_crp'; did you mean 'center_crop'?"),
        ({"region_weighting": "soft"}, "unknown region_weighting 'soft'; did you mean 'softmax'?"),
        ({"model_type": "cnn", "pooling": "maks"}, "unknown pooling 'maks'; expected 'max' or 'piecewise'"),
        ({"model_type": "hvpnet", "vision_features": "map"}, "unknown vision_features 'map'; did you mean 'maps'?"),
        ({"weight_decay_on": "al"}, "unknown weight_decay_on 'al'; did you mean 'all'?"),
        ({"optim": "adamwtorch"}, "unknown optim 'adamwtorch'; did you mean 'adamw_torch'?"),
        ({"eval_strategy": "epoh"}, "unknown eval_strategy 'epoh'; did you mean 'epoch'?"),
        ({"train_sampling_strategy": "randm"}, "unknown train_sampling_strategy 'randm'; did you mean 'random'?"),
    ],
)
def test_a_misspelt_value_is_answered_with_the_nearest(words, message):
    with pytest.raises(ValueError) as error:
        resolve(read_config("quickstart"), words)
    assert str(error.value) == message


def test_the_command_line_wins_over_the_file(config_file):
    settings = settings_of(
        [
            config_file(),
            "--learning_rate",
            "5e-4",
            "--use_gate=false",
            "--num_detected_regions",
            "2",
            "--regions",
            "none",
        ]
    )
    assert (settings.training.learning_rate, settings.data.regions) == (5e-4, "none")
    assert settings.values["use_gate"] is False
    assert settings.values["num_detected_regions"] == 2
    assert settings.values["num_grounded_regions"] == 2
    assert settings.model.new_text_encoder["hidden_size"] == 16


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--train_file=a.csv"], "belong to `dataset` 'files', not 'synthetic'"),
        (["--dataset=files", "--train_file=a.csv", "--regions=released"], "path of an annotation file, not 'released'"),
        (["--dataset=files", "--train_file=a.csv", "--regions=detected"], "path of an annotation file, not 'detected'"),
        (["--dataset=org/posts", "--captions", "a.txt", "b.txt"], "one annotation file, not"),
    ],
)
def test_arguments_of_posts_of_a_user_must_fit_each_other(config_file, arguments, message):
    with pytest.raises((OSError, ValueError), match=message):
        settings_of([config_file(), *arguments])


def test_a_shared_file_serves_systems_without_a_picture(config_file):
    settings = resolve(read_config("quickstart"), {"model_type": "mtb"})
    assert settings.model.new_vision_encoder is None and settings.model.new_text_encoder["hidden_size"] == 64
    with pytest.raises(ValueError, match="mtb has no vision encoder: leave `new_vision_encoder` out"):
        resolve(read_config("quickstart"), {"model_type": "mtb", "new_vision_encoder": "{}"})
    with pytest.raises(ValueError, match="mtb has no vision encoder: leave `freeze_vision` out"):
        resolve(read_config("quickstart"), {"model_type": "mtb", "freeze_vision": "true"})
    text = f"{TOWERS}, model_type: mtb}}"
    with pytest.raises(ValueError, match="mtb has no vision encoder: leave `vision_encoder` out"):
        resolve(read_config(config_file(text)))


def test_an_argument_of_another_system_is_refused_by_its_systems(config_file):
    with pytest.raises(
        ValueError, match="mtb has no argument 'num_object_images', which is one of hvpnet, tgdi: leave it out"
    ):
        resolve(read_config("quickstart"), {"model_type": "mtb", "num_object_images": "2"})
    message = "umt has no argument 'num_grounded_regions', which is one of .*: leave it out"
    with pytest.raises(ValueError, match=message):
        resolve(read_config("quickstart"), {"model_type": "umt", "num_grounded_regions": "2"})
    with pytest.raises(ValueError, match="unknown model_type 'tdgi'; did you mean 'tgdi'"):
        resolve(read_config("quickstart"), {"model_type": "tdgi"})


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("fusion_dropout", "3", r"`fusion_dropout` must be in \[0, 1\), got 3\."),
        ("dropout", "word", "Field 'dropout' .* 'word'"),
    ],
)
def test_a_wrong_value_of_a_configuration_is_said_without_the_name_of_the_check(name, value, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        resolve(read_config("quickstart"), {"model_type": "umt", name: value})


@pytest.mark.parametrize("model_type", MODELS)
def test_every_system_has_a_configuration_for_mnre(model_type):
    assert resolve(read_config(f"{model_type}_mnre")).model.model_type == model_type


def test_every_argument_has_a_word_of_help():
    arguments = list_arguments()
    assert [argument.name for argument in arguments if len(argument.help) < 5] == []
    names = [argument.name for argument in arguments]
    assert len(names) == len(set(names))
    assert {"model_type", "dataset", "learning_rate", "use_gate", "entity_markers", "use_caption"} <= set(names)


@pytest.mark.parametrize("model_type", MODELS)
def test_the_docstring_of_a_processor_documents_all_that_can_be_set(model_type):
    arguments = inspect.signature(processor_class(model_type).__init__).parameters
    settable = {*arguments} - {"self", "kwargs", "tokenizer", "image_processor", "inputs"}
    without_effect = set() if "regions" in MODELS[model_type].config_class.inputs else ROOM_FOR_REGIONS
    assert processor_names(model_type) == settable - without_effect


def test_the_processor_takes_what_it_shares_with_the_configuration_from_there():
    config = MODELS["tgdi"].config_class(num_object_images=2, use_caption=False)
    values = processor_values(config, {"max_length": 70, "use_caption": False})
    assert values == {"num_object_images": 2, "max_length": 70, "inputs": ("text", "image", "regions")}


def test_another_data_set_than_the_file_names_leaves_out_where_its_data_are():
    config = {"dataset": "mnre", "data_dir": "data/mnre", "regions": "released", "captions": ["a.txt"], "seed": 7}
    config |= {"model_type": "mtb", "text_encoder": "any"}
    settings = resolve(config, {"dataset": "synthetic"})
    assert (settings.data.dataset, settings.data.data_dir, settings.data.captions) == ("synthetic", None, None)
    assert settings.data.regions == "drawn" and settings.training.seed == 7
    assert resolve(config | {"regions": "none"}, {"dataset": "synthetic"}).data.regions == "none"
    assert resolve(config, {"dataset": "mnre"}).data.data_dir == "data/mnre"
    given = resolve(config, {"dataset": "files", "train_file": "a.csv", "regions": "as given"})
    assert (given.data.train_file, given.data.regions, given.data.data_dir) == ("a.csv", "as given", None)
