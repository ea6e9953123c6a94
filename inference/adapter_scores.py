"""Scores of a LoRA adapter: the values of a model's configuration that come of its training, in a file beside it.

The configuration that an adapter is loaded with is that of the model below it, which may be somebody else's.
"""

import json
import os
from pathlib import Path

from peft import PeftModel
from transformers import PreTrainedModel
from transformers.utils import cached_file

from mmre.posts.whole_file import whole_file

SCORES_FILE = "scores_config.json"
SCORE_VALUES = ("score_temperature", "trained_without_none")


def save_score_values(model: PreTrainedModel | PeftModel, folder: str | os.PathLike) -> None:
    """Write the values about scores to a saved model: into its `config.json`, or a file of their own of an adapter.

    Args:
        model: the model, whose configuration has the values.
        folder: where it was saved.
    """
    values = {name: getattr(model.config, name) for name in SCORE_VALUES}
    if isinstance(model, PeftModel):
        path = Path(folder) / SCORES_FILE
    else:
        path = Path(folder) / "config.json"
        values = json.loads(path.read_text("utf-8")) | values
    with whole_file(path) as file:
        file.write(json.dumps(values, indent=2, sort_keys=True) + "\n")


def load_score_values(model: PeftModel, folder: str | os.PathLike, revision: str | None = None) -> None:
    """Put the values of an adapter in place of those of the model below it; an adapter of an earlier version has none.

    Args:
        model: the adapter on its model.
        folder: a folder of the adapter, or its name on the Hub.
        revision: revision of the adapter on the Hub.

    Raises:
        ValueError: the file is bad.
    """
    path = cached_file(
        os.fspath(folder),
        SCORES_FILE,
        revision=revision,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    values = {"score_temperature": 1.0, "trained_without_none": False}
    if path is not None:
        try:
            values |= {name: json.loads(Path(path).read_text("utf-8"))[name] for name in SCORE_VALUES}
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{path}: {error!r}; expected JSON with {', '.join(SCORE_VALUES)}") from error
    for name, value in values.items():
        setattr(model.config, name, value)


__all__ = ["SCORES_FILE", "load_score_values", "save_score_values"]
