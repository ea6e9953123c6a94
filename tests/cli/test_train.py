"""`mmre train`, the doorway to it, and `python -m mmre.training`."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from PIL import Image
from run_helpers import settings_of
from safetensors import SafetensorError

from mmre.cli.main import main
from mmre.cli.train import what_next
from mmre.modeling import MODELS
from mmre.posts import make_synthetic_posts
from mmre.posts.schema import SPLITS
from mmre.training import run as module
from mmre.training.__main__ import main as run_alone

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_the_command_runs_from_a_shell(config_file, tmp_path):
    result = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), config_file(num_synthetic_posts=8), "--num_train_epochs", "1"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert "| test | 24 |" in result.stdout
    assert "What to try next" in result.stdout
    assert len((ROOT / "train.py").read_text("utf-8").splitlines()) <= 30


def test_a_run_alone_prints_its_results_and_goes_on(config_file, tmp_path, capsys):
    path = config_file(num_synthetic_posts=8, num_train_epochs=1)
    run_alone([path])
    assert "| test | 24 |" in capsys.readouterr().out
    before = json.loads((tmp_path / "run" / "metrics.json").read_text("utf-8"))
    run_alone([path, "--resume_from_checkpoint", "true"])
    assert json.loads((tmp_path / "run" / "metrics.json").read_text("utf-8"))["test"] == before["test"]


@pytest.mark.parametrize("model_type", MODELS)
def test_what_to_try_next_is_a_command_that_can_be_given(model_type):
    words = shlex.split(what_next(Path("outputs/mine"), model_type).splitlines()[-1].split("train on MNRE:")[1])
    settings = settings_of(words[2:])
    assert words[:2] == ["mmre", "train"] and settings.model.model_type == model_type
    assert settings.model.word_vectors in (None, words[-1])  # none that lies only where the recipe says


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["--use_gat", "false"], 2, "unknown option '--use_gat'; did you mean '--use_gate'?"),
        (["--use_gate", "7"], 2, "use_gate"),
        (["--regions", "nne"], 2, "unknown regions 'nne'; did you mean 'none'? (or the path of an annotation file)"),
        (["--dataset", "mnr"], 2, "unknown data 'mnr'; did you mean 'mnre'?"),
        (["--on_missing_image", "text_onl"], 2, "unknown on_missing_image 'text_onl'; did you mean 'text_only'?"),
        (["--dataset", "files"], 2, "`dataset` 'files' needs `train_file`"),
        (["--num_train_epochs", "many"], 2, "`num_train_epochs`: invalid float value: 'many'"),
        (["--dataset", "mnre", "--data_dir", "nowhere"], 1, "nowhere"),
        (["--config", "x.yaml"], 2, "--config is no option: mmre train x.yaml"),
        (["--new_vision_encoder", '{"patch_size": 0}'], 1, "no clip_vision_model can be made of {'patch_size': 0}: "),
        (["--max_length", "65"], 1, "`max_length` is 65, but the text encoder reads at most 64"),
    ],
)
def test_an_error_is_one_line_and_says_whose_it_is(config_file, words, status, message, capsys):
    try:
        found = main(["train", config_file(), *words])
    except SystemExit as stopped:
        found = stopped.code
    assert found == status
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert line.startswith("mmre train: error: ") and message in line


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("quikstart", "unknown configuration 'quikstart'; did you mean 'quickstart'? (or the path of a YAML file)"),
        ("nowhere/quickstart.yaml", "there is no file nowhere/quickstart.yaml"),
    ],
)
@pytest.mark.parametrize("command", [["train"], ["search", "--data", "synthetic", "--try", "seed", "1"]])
def test_a_configuration_that_is_not_there_is_wrong_usage(command, config, message, capsys):
    assert main([*command, config] if command == ["train"] else [*command[:1], config, *command[1:]]) == 2
    assert capsys.readouterr().err == f"mmre {command[0]}: error: {message}\n"


def test_without_a_configuration_the_error_says_that_there_is_none(capsys):
    assert main(["train"]) == 2
    assert "no CONFIG is given: a YAML file, or a name such as `mmre train quickstart`" in capsys.readouterr().err


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        OSError(27, "File too large"),
        SafetensorError("I/O error: No space left on device (os error 28)"),
        SafetensorError("Error while serializing: I/O error: File too large (os error 27)"),
        RuntimeError("PytorchStreamWriter failed writing file data/12: file write failed"),
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 154432 vs 154324"),
    ],
)
def test_a_full_disk_is_said_in_one_line(config_file, tmp_path, monkeypatch, capsys, error):
    file = tmp_path / "run" / "checkpoint-2" / "optimizer.pt"

    def fail(*_, **__):
        file.parent.mkdir()
        file.touch()
        raise error

    monkeypatch.setattr(module.RelationTrainer, "train", fail)
    assert main(["train", config_file(num_synthetic_posts=8)]) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    name = f"model.safetensors in {file.parent}" if isinstance(error, SafetensorError) else file
    assert f"{name} cannot be written, for the disk is full or the file too large (`ulimit -f`): the run stop" in line


def test_a_damaged_file_is_no_full_disk():
    error = RuntimeError("[enforce fail at inline_container.cc:145] . PytorchStreamReader failed reading zip archive")
    assert not module.is_full(error)


def error_line_with_a_limit(kilobytes: int, config: str) -> str:
    """Train where no file may be larger, and return the line of the error."""
    code = (
        "import resource, sys; from mmre.cli.main import main; size = 1024 * int(sys.argv[1]); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)); sys.exit(main(['train', sys.argv[2]]))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(kilobytes), config], capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "error:" in line]
    return line


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit of the size of files")
@pytest.mark.parametrize(
    "kilobytes, name",
    [
        (20, "model.safetensors in {}/new_encoders/text"),
        (60, "model.safetensors in {}/checkpoint-1"),
        (150, "{}/checkpoint-1/optimizer.pt"),
    ],
)
def test_a_file_that_may_not_be_so_large_is_named_in_one_line(config_file, tmp_path, kilobytes, name):
    rows = make_synthetic_posts(num_train=8, num_validation=0, num_test=0)["train"]
    names, rows = rows.features["relation"].names, rows.select_columns(["text", "head", "tail", "relation"])
    Image.new("RGB", (16, 16), "red").save(tmp_path / "a.png")
    lines = "\n".join(json.dumps(row | {"relation": names[row["relation"]], "image": "a.png"}) for row in rows)
    files = {f"{split}_file": str(tmp_path / f"{split}.jsonl") for split in SPLITS}
    for path in files.values():
        Path(path).write_text(lines, "utf-8")
    config = yaml.safe_load(Path(config_file(num_train_epochs=1)).read_text("utf-8"))
    config["data"] = {"dataset": "files", **files}
    line = error_line_with_a_limit(kilobytes, config_file(yaml.safe_dump(config)))
    assert line.startswith(f"mmre train: error: {name.format(tmp_path / 'run')} cannot be written, for the disk is ")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit of the size of files")
def test_a_temporary_file_of_made_posts_that_may_not_be_so_large_is_named(config_file):
    line = error_line_with_a_limit(20, config_file(num_synthetic_posts=8))
    assert re.match(
        r"mmre train: error: \S+/mmre-posts-\w+/\w+\.arrow cannot be written, for the disk is full", line
    ), line
    assert "TMPDIR names another folder" in line


def test_a_training_that_is_stopped_says_how_to_go_on(config_file, monkeypatch, capsys):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(module.RelationTrainer, "train", stop)
    assert main(["train", config_file(num_synthetic_posts=8)]) == 130
    assert "mmre train: stopped; `--resume_from_checkpoint true` goes on from" in capsys.readouterr().err


def test_a_training_that_fails_keeps_its_traceback(config_file, monkeypatch):
    def fail(*_, **__):
        raise ValueError("a shape")

    monkeypatch.setattr(module.RelationTrainer, "train", fail)
    with pytest.raises(RuntimeError, match="run failed after 0 steps: a shape"):
        main(["train", config_file(num_synthetic_posts=8)])


def test_help_lists_the_arguments_of_all_systems(capsys):
    with pytest.raises(SystemExit, match="^0$"):
        main(["train", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "usage: mmre train [CONFIG] [--any_argument value ...]" in shown
    for text in ("--learning_rate", "--use_gate true|false", "model, of tgdi:", "quickstart", "(default: none)"):
        assert text in shown
    assert "default: None" not in shown
