"""Seconds of a processor per 1,000 posts: each system of a benchmark's folder once, on posts of its data."""

import json

import pytest
from run_helpers import ROOT, train
from speed import cost

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def benchmark(tmp_path):
    """A folder as `mmre benchmark --out` leaves it: a run of two systems, and one with shuffled pictures."""
    tiny = str(ROOT / "tests" / "tiny_training.yaml")
    for name, model_type, noise in (("a", "bert_sg", "0"), ("b", "focalmre", "0"), ("shuffled", "bert_sg", "1")):
        folder = tmp_path / "cells" / name
        options = {"model_type": model_type, "align_noise": noise, "max_steps": "1", "output_dir": str(folder)}
        train([tiny, *(word for name, value in options.items() for word in (f"--{name}", value))])
        (folder / "cell.json").write_text(json.dumps({"name": name}), "utf-8")
        (folder / "resolved_config.yaml").rename(folder / "recipe.yaml")
    return tmp_path


def test_each_system_is_built_anew_and_timed_on_the_same_posts(benchmark, monkeypatch, capsys):
    trained, timed = [], []
    monkeypatch.setattr(cost.Timed, "train", lambda self: trained.append(self.model.config.model_type))
    monkeypatch.setattr(cost.time, "process_time", iter(range(100)).__next__)
    of_timed = cost.Timed.__init__

    def keep(self, *args):
        of_timed(self, *args)
        timed.append(self)

    monkeypatch.setattr(cost.Timed, "__init__", keep)
    monkeypatch.setattr("sys.argv", ["cost.py", str(benchmark), "--posts", "10", "--rounds", "2"])
    cost.main()
    assert trained == ["bert_sg", "focalmre"] * 3  # in turns, one of them to warm up
    first, second = timed
    assert [row["id"] for row in first.rows] == [row["id"] for row in second.rows] and len(first.rows) == 10
    lines = capsys.readouterr().out.splitlines()[-2:]
    sizes = [f"{sum(p.numel() for p in each.model.parameters()):,}" for each in timed]
    # One second of the clock above for 10 posts is 100 for 1,000.
    assert lines == [
        f"| synthetic | drawn | a | {sizes[0]} | 100.0 | 100.0 |",
        f"| synthetic | drawn | b | {sizes[1]} | 100.0 | 100.0 |",
    ]


def test_training_changes_the_weights_and_evaluation_does_not(benchmark):
    system = cost.Timed(benchmark / "cells" / "b", 10, {})

    def weights() -> list:
        return [parameter.detach().clone() for parameter in system.model.parameters()]

    before = weights()
    system.evaluate()
    assert all(a.equal(b) for a, b in zip(before, weights()))
    system.train()
    assert not all(a.equal(b) for a, b in zip(before, weights()))


def test_a_folder_without_runs_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["cost.py", str(tmp_path)])
    with pytest.raises(SystemExit, match="^2$"):
        cost.main()
    assert f"no finished run in {tmp_path}" in capsys.readouterr().err
