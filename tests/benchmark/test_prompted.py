"""Chat models in a table: each is a row under its own name, of all test posts, and none stands in a paper's row."""

import csv
import re

import pytest
from benchmark_helpers import FAKE, WHOLE, table
from chat_helpers import save_chat_model

from mmre.benchmark.suite import PROMPT, Cell
from mmre.cli.main import main
from mmre.evaluation.run_record import read_metrics

SUITE = WHOLE._replace(cells=(Cell("Qwen-14B-Chat", PROMPT, {}, (11.68, 11.15, 11.40)), *WHOLE.cells))


@pytest.fixture
def ask(mnre, tmp_path):
    """Ask a tiny chat model about the posts of the fixture `mnre`."""
    model = save_chat_model(tmp_path / "Tiny-Chat")

    def run(name: str, *words: str) -> str:
        out = str(tmp_path / name)
        assert main(["prompt", model, str(mnre), "--output_dir", out, *words]) == 0
        return out

    return run


def test_a_chat_model_is_a_row_of_its_own_and_the_papers_row_stays_empty(ask, mnre, tiny, known, tmp_path):
    folders = [
        ask("one", "--seed", "1"),
        ask("two", "--seed", "2"),
        ask("other", "--seed", "1", "--answer", "likelihood"),
    ]
    options = ["--protocol", "none", "--seeds", "1", "--prompts"]
    assert tiny(FAKE, *options, *folders, suite=SUITE, data=str(mnre)) == 0
    rows = {row["name"]: row for row in table(tmp_path, "tiny_none")["rows"]}
    assert [*rows] == ["Qwen-14B-Chat", "whole", "Tiny-Chat, letters, 0 shots", "Tiny-Chat, likelihood, 0 shots"]
    paper, _, asked, other = rows.values()
    assert paper["measured"] == {} and paper["paper"]["f1"] == 11.40
    found = [100 * read_metrics(folder)["test"]["accuracy"] for folder in folders]
    assert asked["measured"]["accuracy"]["values"] == found[:2] and other["measured"]["accuracy"]["values"] == found[2:]
    assert asked["paper"] == {} and asked["runs"] == {"1": "one", "2": "two"} and len(asked["interval"]) == 2
    assert asked["source"] == "asked by mmre prompt, not trained"
    lines = [*csv.DictReader((tmp_path / "out/tiny_none.csv").open(encoding="utf-8"))]
    assert lines[2]["name"] == "Tiny-Chat, letters, 0 shots" and lines[2]["paper_f1"] == ""
    assert "| Tiny-Chat, letters, 0 shots | 2 |" in (tmp_path / "out/tiny_none.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--max_posts", "2"], "asked about 2 posts, of which 2 are test posts of .*: ask about all 3 of these"),
        (["--split", "validation"], "asked about the validation posts, and the tables are of the test posts"),
        ([], "out and .*out are both Tiny-Chat, letters, 0 shots with seed 42: give one"),
    ],
)
def test_runs_that_do_not_belong_in_the_table_are_refused_before_anything_is_run(
    ask, mnre, tiny, known, tmp_path, capsys, words, message
):
    folders = [ask("out", *words)] * (1 if words else 2)
    capsys.readouterr()
    assert tiny(FAKE, "--protocol", "none", "--prompts", *folders, suite=SUITE, data=str(mnre)) == 2
    assert not (tmp_path / "started").exists()
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert re.search(message, error)


def test_a_training_is_no_chat_model_and_a_suite_without_chat_models_takes_none(
    ask, mnre, tiny, known, tmp_path, capsys
):
    (tmp_path / "trained").mkdir()
    (tmp_path / "trained/metrics.json").write_text('{"posts": {}}')
    for suite, message in (
        (SUITE, "trained is the record of a training; expected an output folder of mmre prompt"),
        (WHOLE, "--prompts: tiny has no rows of chat models; expected focalmre_table1"),
    ):
        options = ["--protocol", "none", "--prompts", str(tmp_path / "trained")]
        assert tiny(FAKE, *options, suite=suite, data=str(mnre)) == 2
        assert message in capsys.readouterr().err


def test_the_record_of_a_prompt_is_no_model_to_publish(ask, capsys):
    folder = ask("out")
    assert main(["publish", folder, "org/name"]) == 1
    error = capsys.readouterr().err
    assert "is the record of mmre prompt: it has no weights" in error and "--repo-type dataset" in error
