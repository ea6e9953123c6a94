"""The checkpoint that a run goes on from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from .arguments import RelationTrainingArguments
from .record import read_settings


def find_checkpoint(
    output_dir: Path, training: RelationTrainingArguments, sections: Mapping[str, dict[str, Any]]
) -> str | None:
    """Find the checkpoint to go on from, by `resume_from_checkpoint`.

    Args:
        output_dir: the output folder of the run.
        training: `resume_from_checkpoint`: true for the last one of the folder, or a path; `do_train`.
        sections: the run's settings, see [`~mmre.training.record.sections_of`].

    Returns:
        The checkpoint's path; None to start anew.

    Raises:
        FileNotFoundError: there is none to go on from.
        ValueError: the checkpoint belongs to another run, or a new run would mix with an old one.
    """
    asked = training.resume_from_checkpoint
    asked = None if asked is None or str(asked).lower() in ("false", "") else str(asked)
    # A checkpoint that was stopped while it was written has no state yet.
    whole = [path for path in output_dir.glob("checkpoint-*") if (path / "trainer_state.json").is_file()]
    if asked is None:
        if whole and training.do_train:
            raise ValueError(
                f"{output_dir} holds the checkpoints of an earlier run: go on with it by --resume_from_checkpoint "
                "true, or set another --output_dir."
            )
        return None
    if asked.lower() != "true":
        return asked
    if not whole:
        raise FileNotFoundError(f"there is no checkpoint in {output_dir} to go on from.")
    before, now = read_settings(output_dir), yaml.safe_load(yaml.safe_dump(dict(sections)))
    for section in now:
        for name in sorted({*before[section], *now[section]}):
            if before[section].get(name) != now[section].get(name):
                raise ValueError(
                    f"the run in {output_dir} has {name}: {before[section].get(name)!r}, not "
                    f"{now[section].get(name)!r}: repeat its arguments, or set another --output_dir."
                )
    return str(max(whole, key=lambda path: int(path.name.split("-")[1])))


__all__ = ["find_checkpoint"]
