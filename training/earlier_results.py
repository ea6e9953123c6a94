"""Results that a checkpoint has already: a test of the checkpoint adds to them, and takes nothing away."""

import os
from pathlib import Path
from typing import Any

from mmre.evaluation.run_record import METRICS_FILE, read_metrics

from .settings import Settings

# Facts of `posts` in `metrics.json` that are of each split, and those of the training posts alone.
OF_SPLITS = ("samples", "samples_without_image")
OF_TRAINING = ("train_share", "samples_per_relation")


def earlier_results(settings: Settings, output_dir: Path) -> dict[str, Any]:
    """Return the results in the output folder, where the run only tests the checkpoint that is there.

    Raises:
        ValueError: the results there are those of another run.
    """
    if settings.training.do_train or not (output_dir / METRICS_FILE).is_file():
        return {}
    tested = settings.model.model_name_or_path
    if tested is None or not os.path.isdir(tested) or not os.path.samefile(tested, output_dir):
        raise ValueError(f"{output_dir} holds the results of another run: set another --output_dir.")
    return read_metrics(output_dir)


def add_facts(earlier: dict[str, Any], facts: dict[str, Any], output_dir: Path) -> dict[str, Any]:
    """Add the facts of a test to earlier results.

    Args:
        earlier: from [`earlier_results`].
        facts: what the test is on, see [`~mmre.evaluation.protocol.describe_posts`].
        output_dir: the output folder, for the message.

    Returns:
        The earlier results, with `posts` of all splits; `posts` alone if there are none.

    Raises:
        ValueError: the test is on other posts, or under another protocol.
    """
    if not earlier:
        return {"posts": facts}
    before, posts = earlier["posts"], dict(earlier["posts"])
    for name, fact in facts.items():
        if name in OF_SPLITS:
            known = before.get(name, {})
            posts[name] = {**known, **fact}
            is_same = all(known.get(split, count) == count for split, count in fact.items())
        else:
            is_same = name in OF_TRAINING or before.get(name, fact) == fact
        if not is_same:
            raise ValueError(
                f"{output_dir} holds results with {name} {before[name]!r}, not {fact!r}: set another --output_dir for "
                "those."
            )
    return {**earlier, "posts": posts}


__all__ = ["add_facts", "earlier_results"]
