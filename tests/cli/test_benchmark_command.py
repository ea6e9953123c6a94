"""`mmre benchmark`: its command line, and `mmre benchmark compare`."""

import json
from pathlib import Path

import pytest

from mmre.benchmark.arguments import arguments_by_name
from mmre.cli.main import main

RELATIONS = ["None", "couple", "peer"]


def write_run(folder: Path, gold: list[int], predicted: list[int], reverse: bool = False) -> Path:
    folder.mkdir()
    rows = [
        {"id": str(i), "gold": RELATIONS[g], "predicted": RELATIONS[p], "probabilities": dict.fromkeys(RELATIONS, 0.3)}
        for i, (g, p) in enumerate(zip(gold, predicted))
    ]
    lines = [json.dumps(row) for row in (reversed(rows) if reverse else rows)]
    (folder / "predictions.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    return folder


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["focalmre_table1", "--seed", "3"], "--seed is set for each run"),
        (["focalmre_table1", "--seeds", "1", "1"], "each seed once"),
        (["focalmre_table1", "--protocol", "none"], "synthetic posts have their own"),
        (["focalmre_table1", "--data", "mnre", "--protocol", "label_free"], "belong together"),
        (["systems", "--outt", "x"], "unknown option '--outt'; did you mean '--out'?"),
        (["systems", "--learning_rat", "1"], "unknown option '--learning_rat'; did you mean '--learning_rate'?"),
        (["systems", "--systems", "cnn:pooling=maks"], "unknown pooling 'maks'; expected 'max' or 'piecewise'"),
        (["focalmre_table9"], "unknown suite 'focalmre_table9'; did you mean 'focalmre_table"),
        (["focalmre_table1", "focalmre_table2"], "unexpected 'focalmre_table2'; expected an argument"),
        (["compare", "a"], "compare takes two runs and --json FILE, got a"),
        (["compare", "a", "b", "--learning_rate", "1"], "compare takes two runs and --json FILE, got a b --learning_r"),
        (["compare", "a", "b", "--json", "nowhere/x.json"], "--json nowhere/x.json: there is no folder nowhere"),
    ],
)
def test_a_command_that_cannot_be_right_is_refused(arguments, message, capsys):
    try:
        status = main(["benchmark", *arguments[:1], "--data", "synthetic", *arguments[1:]])
    except SystemExit as stopped:
        status = stopped.code
    error = capsys.readouterr().err
    assert status == 2 and message in error and error.count("\n") == 1


def test_a_benchmark_of_nothing_names_what_is_required(capsys):
    with pytest.raises(SystemExit, match="^2$"):
        main(["benchmark"])
    assert capsys.readouterr().err == "mmre benchmark: error: the following arguments are required: SUITE\n"


def test_a_misspelt_data_option_is_not_said_to_be_missing(capsys):
    with pytest.raises(SystemExit, match="^2$"):
        main(["benchmark", "focalmre_table3", "--dta", "x"])
    assert capsys.readouterr().err == "mmre benchmark: error: unknown option '--dta'; did you mean '--data'?\n"


def test_a_suite_needs_data(capsys):
    assert main(["benchmark", "focalmre_table1"]) == 2
    assert capsys.readouterr().err == (
        "mmre benchmark: error: --data is missing; expected a folder of MNRE files, 'synthetic' or 'digits'\n"
    )


def test_what_the_options_leave_goes_to_the_training():
    words = ["--a", "1", "--b=x y", "--c", "2", "3", "--d"]
    assert arguments_by_name(words) == {"a": "1", "b": "x y", "c": ["2", "3"], "d": "true"}
    with pytest.raises(ValueError, match="unexpected 'stray'; expected an argument of mmre train, as --name value"):
        arguments_by_name(["stray"])


def test_two_runs_are_compared_post_by_post(tmp_path, capsys):
    gold = [1, 2, 1, 2, 0] * 20
    good = write_run(tmp_path / "good", gold, gold)
    bad = write_run(tmp_path / "bad", gold, [1 if g == 1 else 0 for g in gold], reverse=True)
    words = ["compare", str(good), str(bad / "predictions.jsonl"), "--json", str(tmp_path / "r.json")]
    assert main(["benchmark", *words]) == 0
    printed = capsys.readouterr().out
    result = json.loads((tmp_path / "r.json").read_text("utf-8"))
    assert result["a"]["f1"] == 1 and result["b"]["f1"] == pytest.approx(2 / 3)
    difference = result["f1_difference"]
    assert difference["value"] == pytest.approx(1 / 3)
    assert 0 < difference["interval"][0] < 1 / 3 < difference["interval"][1]
    assert difference["p_value"] == pytest.approx(2 / 10_001)
    assert result["mcnemar"] == {"only_a": 40, "only_b": 0, "p_value": pytest.approx(2 / 2**40)}
    assert "F1 of A minus F1 of B: +33.33" in printed
    assert "Only A is right on 40 posts, only B on 0: p < 0.0001 (McNemar" in printed


def test_runs_on_other_posts_are_not_compared(tmp_path, capsys):
    first = write_run(tmp_path / "first", [1, 2, 0], [1, 2, 0])
    others = {
        "1 posts are in one only, such as '2'": write_run(tmp_path / "fewer", [1, 2], [1, 2]),
        "differ in the true relation of the post '1'": write_run(tmp_path / "gold", [1, 1, 0], [1, 2, 0]),
        "there is no file": tmp_path / "nowhere",
    }
    (tmp_path / "broken").write_text('{"id": "0"}\n', "utf-8")
    others["broken:1: KeyError: 'gold'; expected a line of predictions.jsonl"] = tmp_path / "broken"
    for message, other in others.items():
        assert main(["benchmark", "compare", str(first), str(other)]) == 1
        error = capsys.readouterr().err
        assert error.startswith("mmre benchmark: error: ") and message in error and error.count("\n") == 1
