"""The checkpoint that a run goes on from."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from .arguments import RelationTrainingArguments
from .record import read_environment, read_settings

STATE_FILE = "trainer_state.json"
# Parts of a checkpoint besides the weights, each with the files that may hold it; of several processes, or of FSDP.
PARTS = {
    "the state of the training": (STATE_FILE,),
    "the optimizer": ("optimizer.pt", "optimizer.bin", "optimizer_*", "rank*optimizer.pt"),
    "the scheduler": ("scheduler.pt",),
    "the state of the random numbers": ("rng_state*.pth",),
}
# Where the posts lie, which are compared by their content, and where the run itself does.
PLACES = (
    "output_dir",
    "data_dir",
    "train_file",
    "validation_file",
    "test_file",
    "image_dir",
    "captions",
    "logging_dir",
)
# What is shown, logged or kept of a training, and how fast it is; none of it decides the result.
NO_MATTER = (
    *("disable_tqdm", "log_level", "logging_steps", "logging_strategy", "logging_first_step", "report_to", "run_name"),
    *(
        "picture_cache",
        "save_total_limit",
        "dataloader_num_workers",
        "dataloader_pin_memory",
        "push_to_hub",
        "hub_model_id",
    ),
)


def find_checkpoint(
    output_dir: Path, training: RelationTrainingArguments, sections: Mapping[str, dict[str, Any]]
) -> str | None:
    """Find the checkpoint to go on from, by `resume_from_checkpoint`.

    Args:
        output_dir: the output folder of the run.
        training: `resume_from_checkpoint`: true for the last whole one of the folder, or a path; `do_train`.
        sections: the run's settings, see [`~mmre.training.record.sections_of`].

    Returns:
        The checkpoint's path; None to start anew.

    Raises:
        FileNotFoundError: there is none to go on from, or a part of it is missing.
        ValueError: the checkpoint belongs to another run, or a new run would mix with an old one.
    """
    asked = training.resume_from_checkpoint
    asked = None if asked is None or str(asked).lower() in ("false", "") else str(asked)
    found = sorted(output_dir.glob("checkpoint-*[0-9]"), key=lambda path: int(path.name.split("-")[-1]))
    if asked is None:
        if training.do_train and any((path / STATE_FILE).is_file() for path in found):
            raise ValueError(
                f"{output_dir} holds the checkpoints of an earlier run: go on with it by --resume_from_checkpoint "
                "true, or set another --output_dir."
            )
        return None
    if asked.lower() != "true":
        missing = missing_parts(Path(asked))
        if missing:
            raise FileNotFoundError(f"{asked} cannot be gone on from: it lacks {', '.join(missing)}.")
        return asked
    whole = [path for path in found if not missing_parts(path)]
    if not whole:
        lacking = "".join(f"; {path.name} lacks {', '.join(missing_parts(path))}" for path in found[-1:])
        raise FileNotFoundError(f"there is no whole checkpoint in {output_dir} to go on from{lacking}.")
    before, now = read_settings(output_dir), yaml.safe_load(yaml.safe_dump(dict(sections)))
    for section in now:
        for name in sorted({*before[section], *now[section]} - {*PLACES, *NO_MATTER}):
            if not _is_same(before[section].get(name), now[section].get(name)):
                raise ValueError(
                    f"the run in {output_dir} has {name}: {before[section].get(name)!r}, not "
                    f"{now[section].get(name)!r}: repeat its arguments, or set another --output_dir."
                )
    return str(whole[-1])


def missing_parts(checkpoint: Path) -> list[str]:
    """List the parts that a checkpoint lacks: it was stopped while it was written, or files were deleted."""
    if not checkpoint.is_dir():
        return ["everything: there is no such folder"]
    if any(checkpoint.glob("global_step*")):  # DeepSpeed keeps optimizer and scheduler in a folder of its own
        return [] if _parses(checkpoint / STATE_FILE) else ["the state of the training"]
    missing = [part for part, patterns in PARTS.items() if not any(any(checkpoint.glob(name)) for name in patterns)]
    if not missing and not _parses(checkpoint / STATE_FILE):
        missing = [f"the state of the training ({STATE_FILE} is cut)"]
    return missing


def check_posts(output_dir: Path, fingerprint: str) -> None:
    """Refuse to go on with a run whose posts were others.

    Args:
        output_dir: the output folder of the run.
        fingerprint: of the posts that the run would go on with, see [`~mmre.posts.fingerprint.posts_fingerprint`].

    Raises:
        ValueError: the posts differ.
    """
    before = read_environment(output_dir).get("posts_sha256")
    if before is not None and before != fingerprint:
        raise ValueError(
            f"the run in {output_dir} was on other posts: their content is not that of its start (SHA-256 "
            f"{before[:12]}, now {fingerprint[:12]}). Give it the posts of then, or set another --output_dir."
        )


def _parses(path: Path) -> bool:
    try:
        return isinstance(json.loads(path.read_text("utf-8")), dict)
    except (OSError, ValueError):
        return False


def _is_same(before: Any, now: Any) -> bool:
    """Tell whether two values are the same, or paths of one file or folder."""
    if before == now:
        return True
    if not isinstance(before, str) or not isinstance(now, str):
        return False
    if os.path.isfile(now):  # an annotation: what it says is in the posts
        return True
    return os.path.exists(before) and os.path.exists(now) and os.path.samefile(before, now)


__all__ = ["check_posts", "find_checkpoint", "missing_parts"]
