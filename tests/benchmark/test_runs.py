"""Runs of a benchmark: killed, failed, done, shared."""

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from benchmark_helpers import ABLATION, FAKE, TINY, WHOLE, table
from filelock import FileLock

from mmre.benchmark.suite import Cell
from mmre.cli.main import main
from mmre.evaluation.output_lock import only_run
from mmre.processing.dependency_trees import load_parser
from mmre.training.record import sections_of
from mmre.training.settings import read_config, resolve

# The real training, but a run without a gate fails, and the first with one is killed after its first checkpoint.
KILLED_ONCE = """
import os, pathlib, signal, sys
if "use_gate: false" in open(sys.argv[1]).read():
    raise SystemExit("mmre.training: error: no gate")
from mmre.training import __main__ as command
from mmre.training import run

class Killed(run.RelationTrainer):
    def _save_checkpoint(self, *args, **kwargs):
        super()._save_checkpoint(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)

mark = pathlib.Path({folder!r}, "killed")
if not mark.exists():
    mark.touch()
    run.RelationTrainer = Killed
command.main(sys.argv[1:])
"""


@pytest.mark.slow
def test_what_fails_or_is_killed_is_recorded_the_rest_goes_on_and_the_next_call_goes_on_with_it(tiny, tmp_path, capsys):
    suite = ABLATION._replace(cells=ABLATION.cells[::-1])
    assert tiny(KILLED_ONCE, "--seeds", "5", suite=suite) == 1
    printed = capsys.readouterr().out
    assert "[1/2] w/o gate, seed 5: FAILED: mmre.training: error: no gate (see " in printed
    assert "[2/2] whole, seed 5: FAILED: killed by SIGKILL (see " in printed
    assert [row["measured"] for row in table(tmp_path)["rows"]] == [{}, {}]
    assert [row["paper"].get("f1") for row in table(tmp_path)["rows"]] == [None, 68.57]

    assert tiny(KILLED_ONCE, "--seeds", "5", suite=suite) == 1
    printed = capsys.readouterr().out
    assert "[1/2] w/o gate, seed 5: FAILED" in printed
    assert re.search(r"\[2/2\] whole, seed 5: done in \d+ s, from checkpoint-6 on\n", printed)
    assert table(tmp_path)["missing"] == ["w/o gate, seed 5: failed: mmre.training: error: no gate"]
    row = table(tmp_path)["rows"][1]
    folder = tmp_path / "out/cells" / row["runs"]["5"]
    assert not [*folder.glob("checkpoint-*"), *folder.glob("*.safetensors")]
    assert json.loads((folder / "environment.json").read_text("utf-8"))["seed"] == 5
    lines = [json.loads(line) for line in (folder / "predictions.jsonl").read_text("utf-8").splitlines()]
    hits = sum(line["gold"] == line["predicted"] != "None" for line in lines)
    gold, predicted = (sum(line[name] != "None" for line in lines) for name in ("gold", "predicted"))
    right = sum(line["gold"] == line["predicted"] for line in lines)
    f1 = 200 * hits / (gold + predicted)
    expected = {"recall": 100 * hits / gold, "f1": f1, "accuracy": 100 * right / 24}
    assert {name: row["measured"][name]["mean"] for name in expected} == pytest.approx(expected)
    assert row["measured"]["f1"]["std"] is None
    assert row["interval"][0] <= f1 <= row["interval"][1]


def test_what_is_done_is_skipped_and_what_failed_is_tried_again(tiny, known, tmp_path, capsys):
    assert tiny(FAKE) == 1
    printed = capsys.readouterr().out
    assert "w/o gate, seed 2: FAILED: CUDA out of memory (see " in printed
    # Each cell has its first seed before any has its second.
    assert re.findall(r"\] (.*), seed (\d)", printed) == [(n, s) for s in "123" for n in ("whole", "w/o gate")]
    assert "- Missing: w/o gate, seed 2: failed: CUDA out of memory" in printed
    assert [len(row["runs"]) for row in table(tmp_path)["rows"]] == [3, 2]
    assert len((tmp_path / "started").read_text("utf-8").splitlines()) == 6
    assert not list((tmp_path / "out").rglob("*.safetensors"))

    assert tiny(FAKE, "--dry_run") == 0
    printed = capsys.readouterr().out
    assert "| tiny | whole | tiny_training | 48 | 2 | 12 | 3 of 3 | 0.00 |" in printed
    assert "| tiny | w/o gate | tiny_training | 48 | 2 | 12 | 2 of 3 | 0.00 |" in printed
    assert "6 different runs, 1 to do: 12 steps, 96 times a training post, 0.00 hours" in printed

    assert tiny(FAKE) == 1
    assert capsys.readouterr().out.count(": done before\n") == 5
    assert len((tmp_path / "started").read_text("utf-8").splitlines()) == 7
    # A change of the recipe is another run; the old ones stay.
    assert tiny(FAKE, "--seeds", "1", "--learning_rate", "0.1") == 0
    assert len(list((tmp_path / "out/cells").glob("*/cell.json"))) == 8


def test_a_run_that_was_stopped_with_its_benchmark_goes_on_unless_its_data_moved(tiny, known, tmp_path):
    assert tiny(FAKE, "--seeds", "1", suite=WHOLE) == 0
    (folder,) = (path.parent for path in (tmp_path / "out/cells").glob("*/cell.json"))

    def stop() -> None:
        """Leave what a kill of all processes leaves."""
        record = json.loads((folder / "cell.json").read_text("utf-8"))
        (folder / "cell.json").write_text(json.dumps(record | {"status": "running"}), "utf-8")
        for step, whole in ((6, True), (12, True), (18, False)):
            (folder / f"checkpoint-{step}").mkdir()
            if whole:
                (folder / f"checkpoint-{step}/trainer_state.json").touch()

    stop()
    assert tiny(FAKE, "--seeds", "1", suite=WHOLE) == 0
    assert json.loads((folder / "cell.json").read_text("utf-8"))["resumed_from"] == "checkpoint-12"
    stop()
    (folder / "recipe.yaml").write_text("data: {data_dir: /elsewhere}\n", "utf-8")
    assert tiny(FAKE, "--seeds", "1", suite=WHOLE) == 0
    assert json.loads((folder / "cell.json").read_text("utf-8"))["resumed_from"] is None
    assert (tmp_path / "started").read_text("utf-8").splitlines() == ["anew", "--resume_from_checkpoint true", "anew"]


def test_a_spacy_model_that_is_missing_is_found_before_the_first_run_and_not_asked_of_runs_that_are_done(
    tiny, known, tmp_path, capsys
):
    suite = ABLATION._replace(cells=(*WHOLE.cells, Cell("MEGA", "mega_mre")))
    absent = ["--seeds", "1", "--spacy_model", str(tmp_path / "absent")]
    assert tiny(FAKE, *absent, suite=suite) == 1
    assert "absent" in capsys.readouterr().err and not (tmp_path / "started").exists()
    assert tiny(FAKE, *absent, "--dry_run", suite=suite) == 0
    assert tiny(FAKE, *absent, suite=WHOLE) == 0  # reads no trees
    installed = tmp_path / "absent"
    spacy = pytest.importorskip("spacy").blank("en")
    spacy.add_pipe("parser").add_label("dep")
    spacy.initialize()
    spacy.to_disk(installed)
    load_parser.cache_clear()
    assert tiny(FAKE, *absent, suite=suite) == 0
    shutil.rmtree(installed)
    load_parser.cache_clear()
    assert tiny(FAKE, *absent, suite=suite) == 0


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("suite", "runs"), [("focalmre_table2", 18), ("focalmre_table4", 2)])
def test_one_command_measures_mkgformer_beside_focalmre(suite, runs, tmp_path):
    recipe = yaml.safe_load(TINY.read_text("utf-8"))
    recipe["data"] = {"dataset": "synthetic", "num_synthetic_posts": 400}  # enough of each split to swap 5 % of it
    options = ["--seeds", "1", "--max_steps", "2", "--config"]
    for model_type in ("mkgformer", "focalmre"):
        own = recipe["model"] | {"model_type": model_type}
        own["new_text_encoder"] = own["new_text_encoder"] | {"num_hidden_layers": 2}
        options.append(str(tmp_path / f"{model_type}.yaml"))
        Path(options[-1]).write_text(yaml.safe_dump(recipe | {"model": own}), "utf-8")
    out = tmp_path / "out"
    assert main(["benchmark", suite, "--data", "synthetic", "--out", str(out), *options]) == 0
    rows = json.loads((out / f"{suite}_drawn.json").read_text("utf-8"))["rows"]
    rows = [row for row in rows if row["test_posts"] != 0]  # of Table 4, not all relations are among the posts
    assert len({row["runs"]["1"] for row in rows}) == runs
    for row in rows:
        cell = out / "cells" / row["runs"]["1"]
        model_type = yaml.safe_load((cell / "recipe.yaml").read_text("utf-8"))["model"]["model_type"]
        assert (row["system"] or row["name"].split(",")[0]).casefold() == model_type
        lines = [json.loads(line) for line in (cell / "predictions.jsonl").read_text("utf-8").splitlines()]
        # A row of Table 4 is a relation; of Table 2, all but `None`.
        counted = {row["name"]} if suite == "focalmre_table4" else {line["gold"] for line in lines} - {"None"}
        hits = sum(line["gold"] == line["predicted"] and line["gold"] in counted for line in lines)
        of_both = sum((line[name] in counted) for line in lines for name in ("gold", "predicted"))
        assert row["measured"]["f1"]["mean"] == pytest.approx(200 * hits / max(of_both, 1))


def test_two_benchmarks_share_a_folder(tiny, known, tmp_path, capsys):
    assert tiny(FAKE, "--seeds", "1", suite=WHOLE) == 0
    (record,) = (tmp_path / "out/cells").glob("*/cell.json")
    record.unlink()
    # Another benchmark; and a training whose benchmark was killed.
    for lock in (FileLock(record.parent.with_suffix(".lock")), only_run(record.parent)):
        with lock:
            assert tiny(FAKE, "--seeds", "1", suite=WHOLE) == 1
        assert "whole, seed 1: another process is at it" in capsys.readouterr().out
    assert tiny(FAKE, "--seeds", "1", suite=WHOLE) == 0


def test_the_recipe_of_a_run_repeats_it(tiny, known, tmp_path):
    assert tiny(FAKE, "--seeds", "2", suite=WHOLE) == 0
    (path,) = (tmp_path / "out/cells").glob("*/recipe.yaml")
    settings = sections_of(resolve(read_config(path)))
    assert yaml.safe_load(yaml.safe_dump(settings)) == yaml.safe_load(path.read_text("utf-8"))
