"""`mmre thresholds`: from the record of a run to a file for `mmre predict`."""

import json

import pytest

from mmre.cli.main import main
from mmre.evaluation.run_record import VALIDATION_FILE, write_metrics, write_predictions

NAMES = ["None", "couple", "peer"]


@pytest.fixture
def record(tmp_path):
    """The record of a run: of couple, validation has 0.9 right, 0.8 wrong, 0.6 right, and test 0.95 wrong."""
    folder = tmp_path / "run"
    folder.mkdir()
    write_metrics(folder, {"posts": {}, "calibration": {"temperature": 1.5, "splits": {}}})
    rows = {VALIDATION_FILE: [(1, 0.9), (0, 0.8), (1, 0.6)], "predictions.jsonl": [(2, 0.95)]}
    for name, posts in rows.items():
        probabilities = [[0.0, score, 1 - score] for _, score in posts]
        ids, gold = [str(number) for number in range(len(posts))], [label for label, _ in posts]
        write_predictions(folder, ids, NAMES, gold, probabilities, [True] * len(posts), file_name=name)
    return folder


def test_thresholds_are_fitted_on_validation_and_shown_on_test(record, tmp_path, capsys):
    out = tmp_path / "thresholds.json"
    assert main(["thresholds", str(record), "--precision", "0.75", "--min_posts", "1", "--out", str(out)]) == 0
    assert json.loads(out.read_text("utf-8")) == {
        "precision": 0.75,
        "temperature": 1.5,
        "relations": {"couple": 0.9, "peer": None},
        "min_posts": 1,
        "posts": {"couple": 3, "peer": 0},
    }
    printed = capsys.readouterr().out
    assert "| couple | 0.9000 | 1 | 100.0 | 50.0 | 1 | 0.0 |  |" in printed
    assert "Too few posts for a threshold, below 1, so that all are left out: peer (0)" in printed
    assert f"{out}: thresholds of 1 of 2 relations" in printed
    out.unlink()
    assert main(["thresholds", str(record), "--precision", "0.75", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "Too few posts for a threshold, below 10, so that all are left out: couple (3), peer (0)" in printed
    assert f"{out}: thresholds of 0 of 2 relations" in printed


def test_what_is_wrong_is_said_in_one_line(record, tmp_path, capsys):
    def ends(*arguments, status: int = 1) -> str:
        try:
            ended = main(["thresholds", *map(str, arguments)])
        except SystemExit as stopped:
            ended = stopped.code
        message = capsys.readouterr().err.splitlines()
        assert ended == status and len(message) == 1
        return message[0]

    out = tmp_path / "t.json"
    for wrong in ("0", "1.5", "nan"):
        assert "expected a number above 0 to 1" in ends(record, "--out", out, "--precision", wrong, status=2)
    assert "--min_posts 0; expected at least 1" in ends(record, "--out", out, "--min_posts", 0, status=2)
    assert "there is no folder" in ends(record, "--out", tmp_path / "no" / "t.json", status=2)
    assert f"has no {VALIDATION_FILE}; give an output folder of mmre train" in ends(tmp_path, "--out", out)
    write_metrics(record, {"posts": {}})
    assert "has no `calibration`" in ends(record, "--out", out)
    assert not out.exists()
    out.write_text("mine")
    assert "is there already" in ends(record, "--out", out)
    assert out.read_text() == "mine"
