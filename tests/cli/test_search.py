"""`mmre search`: each combination is a run, validation decides, and the test split is not looked at."""

import json
import sys

import pytest
import yaml
from benchmark_helpers import TINY
from picture_helpers import write_mnre

from mmre.benchmark import runs as benchmark_runs
from mmre.benchmark.arguments import BenchmarkArguments
from mmre.benchmark.search import best_recipe, plan_search
from mmre.cli.main import main
from mmre.training.settings import read_config, resolve

# In place of a training: a validation F1 that the values decide; a run with the rate 0.3 fails.
FAKE = """
import json, pathlib, sys
import yaml
recipe = yaml.safe_load(open(sys.argv[1]))
training, folder = recipe["training"], pathlib.Path(recipe["training"]["output_dir"])
assert training["do_predict"] is False
if training["learning_rate"] == 0.3:
    raise SystemExit("diverged")
f1 = training["learning_rate"] + (0.2 if recipe["model"].get("use_gate", True) else 0) + training["seed"] / 100
posts = {"samples": {"validation": 10}, "samples_without_image": {"validation": 0}, "images": "used"}
scores = {"f1": f1, "precision": f1 / 2, "recall": 1.0}
(folder / "metrics.json").write_text(json.dumps({"posts": posts, "validation": scores}))
"""


@pytest.fixture
def search(monkeypatch, tmp_path):
    def run(*arguments: str) -> int:
        (tmp_path / "program.py").write_text(FAKE, "utf-8")
        monkeypatch.setattr(benchmark_runs, "TRAINING", (sys.executable, str(tmp_path / "program.py")))
        return main(["search", str(TINY), "--data", "synthetic", "--out", str(tmp_path / "out"), *arguments])

    return run


def test_the_best_by_validation_is_first_and_its_recipe_can_be_trained(search, tmp_path, capsys):
    tried = ["--try", "learning_rate", "0.1", "0.2", "--try", "use_gate", "true", "false", "--seeds", "1", "3"]
    assert search(*tried, "--num_train_epochs", "3") == 0
    lines = json.loads((tmp_path / "out/search.json").read_text("utf-8"))
    assert [line["values"] for line in lines] == [
        {"learning_rate": 0.2, "use_gate": True},
        {"learning_rate": 0.1, "use_gate": True},
        {"learning_rate": 0.2, "use_gate": False},
        {"learning_rate": 0.1, "use_gate": False},
    ]
    assert lines[0]["f1"] == pytest.approx(42.0) and lines[0]["precision"] == pytest.approx(21.0)
    assert lines[0]["seeds"] == pytest.approx({"1": 41.0, "3": 43.0})
    assert "| learning_rate 0.2, use_gate True | 21.00 | 100.00 | 42.00 | 41.00 | 43.00 |" in capsys.readouterr().out
    best = resolve(read_config(tmp_path / "out/best.yaml"))
    assert (best.training.learning_rate, best.values["use_gate"], best.training.num_train_epochs) == (0.2, True, 3)
    assert best.training.do_predict  # the search alone looks away
    given = yaml.safe_load((tmp_path / "out/best.yaml").read_text("utf-8"))
    assert set(read_config(TINY)) <= {name for section in given.values() for name in section}


def test_what_is_done_is_not_done_again_and_what_fails_is_last(search, tmp_path, capsys):
    assert search("--try", "learning_rate", "0.1") == 0
    capsys.readouterr()
    assert search("--try", "learning_rate", "0.3", "0.1") == 1
    printed = capsys.readouterr().out
    assert "learning_rate 0.1, seed 1: done before" in printed and "FAILED: diverged" in printed
    lines = json.loads((tmp_path / "out/search.json").read_text("utf-8"))
    assert [line["f1"] is None for line in lines] == [False, True]


def test_the_best_recipe_is_for_the_posts_that_were_searched_on(tmp_path):
    mnre = write_mnre(tmp_path / "mnre")
    arguments = BenchmarkArguments(None, str(mnre), protocol="none", out=tmp_path)
    (row,) = plan_search(str(TINY), {"learning_rate": [0.1]}, arguments)
    data = row.runs[0].settings["data"]
    (tmp_path / "best.yaml").write_text(best_recipe(str(TINY), {"values": {"learning_rate": 0.1}}, {}, data), "utf-8")
    best = resolve(read_config(tmp_path / "best.yaml"))
    assert best.training.learning_rate == 0.1
    assert (best.data.dataset, best.data.data_dir, best.data.regions) == ("mnre", str(mnre), "none")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--try is missing"),
        (["--try", "learning_rate"], "--try learning_rate: expected a name"),
        (["--try", "learning_rat", "1"], "--try: unknown argument 'learning_rat'; did you mean 'learning_rate'?"),
        (["--ty", "learning_rate", "1"], "unknown option '--ty'; did you mean '--try'?"),
        (["--try", "learning_rate", "many"], "many"),
        (["--try", "learning_rate", "0.1", "--learning_rate", "0.2"], "--learning_rate"),
        (["--try", "dropout", "[1"], "is not a YAML value"),
        (["--try", "learning_rate", "0.1", "0.2", "0.1"], "--try learning_rate: each value once, got 0.1 2 times"),
        (["--try", "seed", "1", "2"], "--try seed: it is the same for all runs: see --model_type, --data, --protocol"),
        (["--try", "use_images", "true"], "--try use_images: it is the same for all runs"),
        (["--try", "learning_rate", "0.1", "--model_type", "focalmr"], "unknown model_type 'focalmr'; did you mean"),
        (["--try", "learning_rate", "0.1", "--seeds", "-1"], "--seeds: expected whole numbers, 0 or more, got [-1]"),
    ],
)
def test_a_wrong_search_ends_in_one_line(search, capsys, arguments, message):
    try:
        status = search(*arguments)
    except SystemExit as stopped:
        status = stopped.code
    error = capsys.readouterr().err
    assert status == 2 and message in error and error.count("\n") == 1
