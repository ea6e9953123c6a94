"""Protocols of a run: the arguments that change its posts, those that contradict each other, and its record of them."""

import json
from pathlib import Path

import datasets
import pytest
from protocol_helpers import REGIONS, count_changes
from run_helpers import settings_of, train

from mmre.training.splits import open_splits

ARGUMENTS = ["configs/text_only_mnre.yaml", "--text_encoder", "any", "--dataset", "synthetic"]


def load(*arguments) -> datasets.DatasetDict:
    config, *rest = ARGUMENTS
    path = Path(__file__).resolve().parents[2] / config
    settings = settings_of([str(path), *rest, "--num_synthetic_posts", "40", *arguments])
    return open_splits(settings.data, settings.training)


def test_arguments_of_the_training_command_apply_the_protocols():
    plain = load("--use_images", "true")
    noisy = load("--use_images", "true", "--aug_noise", "1", "--train_share", "0.5")
    assert {split: len(rows) for split, rows in noisy.items()} == {"train": 20, "validation": 300, "test": 300}
    total = sum(len(boxes) for name in REGIONS for boxes in plain["test"][name])
    assert sum(count_changes(plain["test"], noisy["test"])) == total
    few = load("--samples_per_relation", "1")
    assert sorted(few["train"]["relation"]) == sorted(set(plain["train"]["relation"]))
    assert few["test"]["image"][:] == [None] * 300
    counted = load("--region_count_as_caption", "true")
    assert counted["test"]["caption"][:] == [str(len(boxes)) for boxes in plain["test"]["grounded_regions"]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--region_count_as_caption", "true", "--use_images", "true"], "takes the place"),
        (["--region_count_as_caption", "true", "--captions", "file"], "takes the place"),
        (["--dataset", "mnre", "--data_dir", "d", "--regions", "released"], "no use for `regions`"),
        (
            ["--dataset", "mnre", "--data_dir", "d", "--regions", "detected", "--region_count_as_caption", "true"],
            "'detected' has none",
        ),
        (["--train_share", "0.5", "--samples_per_relation", "1"], "two ways"),
        (["--train_share", "1.5"], "`train_share` is 1.5; expected at most 1"),
    ],
)
def test_protocols_that_contradict_each_other_are_refused(arguments, message):
    with pytest.raises((SystemExit, ValueError), match=message):
        load(*arguments)


def test_a_run_names_its_protocol_and_the_posts_it_drew(tmp_path):
    encoder = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    arguments = {
        "dataset": "synthetic",
        "num_synthetic_posts": 40,
        "samples_per_relation": 2,
        "max_eval_samples": 8,
        "max_predict_samples": 8,
        "num_train_epochs": 1,
        "use_cpu": "true",
        "disable_tqdm": "true",
        "dataloader_pin_memory": "false",
        "output_dir": tmp_path / "run",
        "new_text_encoder": json.dumps(encoder),
    }
    source = (Path(__file__).resolve().parents[2] / "configs/region_count_mnre.yaml").read_text("utf-8")
    config = tmp_path / "config.yaml"
    config.write_text(source.replace("  text_encoder: google-bert/bert-base-uncased\n", ""), "utf-8")
    train([str(config), *(str(part) for name, value in arguments.items() for part in (f"--{name}", value))])
    ids = json.loads((tmp_path / "run/train_posts.json").read_text())["ids"]
    assert ids == load("--samples_per_relation", "2")["train"]["id"][:]
    posts = json.loads((tmp_path / "run/metrics.json").read_text())["posts"]
    assert posts["captions"] == "number of grounded regions" and posts["images"] == "unused"
    assert posts["samples_per_relation"] == 2 and posts["samples"]["train"] == len(ids)
    report = (tmp_path / "run/results.md").read_text()
    assert "captions: number of grounded regions" in report and "no pictures" in report
    assert "at most 2" in report
