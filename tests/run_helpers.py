"""What tests of runs share: runs started by the words of a command line, and what they leave."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from mmre.cli import train as command
from mmre.cli.parser import Parser
from mmre.training.run import RunReport, run_experiment
from mmre.training.settings import Settings, read_config, resolve

ROOT = Path(__file__).resolve().parents[1]
CPU = ROOT / "configs" / "accelerate" / "cpu.yaml"
TINY = yaml.safe_load(Path(__file__).with_name("tiny_training.yaml").read_text("utf-8"))


def launch(*arguments) -> subprocess.CompletedProcess:
    """Run `accelerate launch` with these arguments, in the root of the repository."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "accelerate.commands.launch", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)


def settings_of(words: list[str]) -> Settings:
    """Return the settings of `mmre train WORDS`."""
    parser = Parser(prog="mmre train")
    command.add_arguments(parser)
    args = vars(parser.parse_args(words))
    config = args.pop("config")
    return resolve(read_config(config) if config else {}, args)


def train(words: list[str]) -> RunReport | None:
    """Do what `mmre train WORDS` does, with its errors as they are raised."""
    return run_experiment(settings_of(words))


def predictions(folder: Path) -> list[dict[str, Any]]:
    """Return the lines of `predictions.jsonl`."""
    return [json.loads(line) for line in (folder / "predictions.jsonl").read_text("utf-8").splitlines()]


def metrics(folder: Path) -> dict[str, Any]:
    """Return the content of `metrics.json`."""
    return json.loads((folder / "metrics.json").read_text("utf-8"))
