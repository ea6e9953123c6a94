"""What tests of runs share: runs started by the words of a command line, and what they leave."""

import json
from pathlib import Path
from typing import Any

import yaml

from mmre.cli import train as command
from mmre.cli.parser import Parser
from mmre.training.run import Report, run_experiment
from mmre.training.settings import Settings, read_config, resolve

TINY = yaml.safe_load(Path(__file__).with_name("tiny_training.yaml").read_text("utf-8"))


def settings_of(words: list[str]) -> Settings:
    """Return the settings of `mmre train WORDS`."""
    parser = Parser(prog="mmre train")
    command.add_arguments(parser)
    args = vars(parser.parse_args(words))
    config = args.pop("config")
    return resolve(read_config(config) if config else {}, args)


def train(words: list[str]) -> Report | None:
    """Do what `mmre train WORDS` does, with its errors as they are raised."""
    return run_experiment(settings_of(words))


def predictions(folder: Path) -> list[dict[str, Any]]:
    """Return the lines of `predictions.jsonl`."""
    return [json.loads(line) for line in (folder / "predictions.jsonl").read_text("utf-8").splitlines()]


def metrics(folder: Path) -> dict[str, Any]:
    """Return the content of `metrics.json`."""
    return json.loads((folder / "metrics.json").read_text("utf-8"))
