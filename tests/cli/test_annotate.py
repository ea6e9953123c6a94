"""`mmre annotate`: its errors, and what it prints."""

from pathlib import Path

import pytest
import spacy
from picture_helpers import SPACY_MODEL, as_options, write_mnre

from mmre.annotation.arguments import AnnotationArguments
from mmre.cli.main import main
from mmre.inference.arguments import PredictionArguments


@pytest.fixture
def mnre(tmp_path) -> Path:
    return write_mnre(tmp_path / "mnre")


@pytest.fixture
def arguments(picture_arguments, tmp_path):
    def make(name: str = "out.jsonl", **changes) -> AnnotationArguments:
        return AnnotationArguments(out=str(tmp_path / name), **picture_arguments | changes)

    return make


@pytest.mark.parametrize(
    "option, error",
    [
        (["--tasks", "ground"], "unknown --tasks 'ground'; did you mean 'grounding'?"),
        (["--grounding_threshold", "1.5"], "--grounding_threshold 1.5; expected a number from 0 to 1"),
        (["--batch_size", "0"], "--batch_size 0; expected at least 1"),
        (["--dtype", "int8"], "unknown --dtype 'int8'; expected 'auto', 'float32', 'bfloat16'"),
        ([], "nowhere"),
        (["--workers", "2"], "--workers 2; --ray is not given, expected it too"),
        (["--ray", "local", "--workers", "0"], "--workers 0; expected at least 1"),
        (["--train_file", "a.csv"], "--train_file and the others belong to the data 'files'"),
    ],
)
def test_a_bad_argument_ends_the_command_with_a_line(capsys, tmp_path, option, error):
    command = ["annotate", str(tmp_path / "nowhere"), "--out", str(tmp_path / "x.jsonl"), *option]
    try:
        status = main(command)
    except SystemExit as stopped:
        status = stopped.code
    message = capsys.readouterr().err
    assert status == (2 if option else 1)
    assert error in message and message.startswith("mmre annotate: error: ") and message.count("\n") == 1


def test_what_is_missing_ends_the_command_with_a_line(mnre, arguments, capsys, tmp_path):
    command = ["annotate", str(mnre), "--out", str(tmp_path / "x.jsonl"), "--tasks", "grounding"]
    assert main([*command, "--spacy_model", "en_core_web_xx"]) == 1
    error = capsys.readouterr().err
    assert "python -m spacy download en_core_web_xx" in error and error.count("\n") == 1
    spacy.blank("en").to_disk(tmp_path / "blank")
    assert main([*command, "--spacy_model", str(tmp_path / "blank")]) == 1
    assert "does not find parts of speech" in capsys.readouterr().err
    kinds = arguments()
    for option, folder in (("--grounding_model", kinds.detection_model), ("--detection_model", kinds.grounding_model)):
        task = option.removeprefix("--").removesuffix("_model")
        assert main([*command[:-1], task, "--spacy_model", SPACY_MODEL, option, folder]) == 1
        assert f"{option} {folder}: " in capsys.readouterr().err
    assert not (tmp_path / "x.jsonl.part").exists()  # it would be in the way of the right model
    (tmp_path / "x.jsonl").write_text("my thesis")
    assert main([*command, "--spacy_model", SPACY_MODEL, "--grounding_model", arguments().grounding_model]) == 1
    assert "x.jsonl is there and is no annotation file" in capsys.readouterr().err


def test_what_was_found_is_printed(mnre, arguments, capsys):
    args = arguments(tasks=["detection"])
    assert main(["annotate", str(mnre), "--tasks", "detection", *as_options(args)]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{args.out}: 7 posts, 5 images; 0 posts have none\n") and "detection: 3 images in" in out


def test_a_misspelt_choice_is_answered_with_the_nearest_in_python_too():
    with pytest.raises(ValueError, match="^unknown --dtype 'float23'; did you mean 'float32'"):
        AnnotationArguments(out="x", dtype="float23")
    with pytest.raises(ValueError, match="^unknown --tasks 'ground'; did you mean 'grounding'"):
        AnnotationArguments(out="x", tasks=["ground"])
    with pytest.raises(ValueError, match="^unknown --format 'jsn'; did you mean 'jsonl'"):
        PredictionArguments(out="x", format="jsn")
