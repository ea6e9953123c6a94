"""Thresholds: for each relation the lowest score from which on a wanted share of its answers is right."""

import json
import math
import os
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from mmre.posts.checks import read_json, show
from mmre.posts.lookalikes import escaped
from mmre.posts.schema import NEGATIVE_RELATION
from mmre.posts.whole_file import whole_file
from mmre.processing.suggestions import unknown

from .markdown import as_cell
from .run_record import Predictions

THRESHOLD_DECIMALS = 6
# A share of fewer answers says little: where 10 of 10 are right, the true share may be 0.69 (95 % interval).
MIN_POSTS = 10


class Thresholds(NamedTuple):
    """Thresholds of the relations of one model.

    Args:
        precision: the share of right answers that is wanted, in (0, 1].
        temperature: of the model's scores.
        relations: of each relation the lowest score, in [0, 1]; None where no score is enough.
        min_posts: so many answers at least a threshold rests on.
        posts: of each relation how many answers there were.
    """

    precision: float
    temperature: float
    relations: dict[str, float | None]
    min_posts: int = MIN_POSTS
    posts: Mapping[str, int] = MappingProxyType({})

    @property
    def too_few(self) -> list[str]:
        """Return the relations without a threshold because there were too few answers."""
        none = (name for name, threshold in self.relations.items() if threshold is None)
        return [name for name in none if self.posts.get(name, self.min_posts) < self.min_posts]

    @property
    def out_of_reach(self) -> list[str]:
        """Return the other relations without one: they reach the precision at no threshold."""
        few = self.too_few
        return [name for name, threshold in self.relations.items() if threshold is None and name not in few]

    def keeps(self, relation: str, score: float) -> bool:
        """Tell whether a relation reaches its threshold."""
        threshold = self.relations[relation]
        return threshold is not None and score >= threshold


class KeptCount(NamedTuple):
    """Numbers of posts of a relation: predicted and kept, right among these, and all that have it in truth."""

    kept: int
    right: int
    gold: int


def fit_thresholds(
    predictions: Predictions, precision: float, temperature: float = 1.0, min_posts: int = MIN_POSTS
) -> Thresholds:
    """Find for each relation the lowest score from which on enough of its answers are right.

    Args:
        predictions: of the validation posts, with their `scores`.
        precision: the share that is wanted, in (0, 1].
        temperature: of the model's scores, which is kept with the thresholds.
        min_posts: so many answers at least a threshold keeps; a relation with fewer has none.

    Returns:
        The thresholds: each is the score of an answer. Answers of one score are kept or left out together.
    """
    found, posts = {}, {}
    for number, name in enumerate(predictions.relations):
        if name == NEGATIVE_RELATION:
            continue
        of_relation = predictions.predicted == number
        scores, right = predictions.scores[of_relation], predictions.gold[of_relation] == number
        posts[name] = len(scores)
        order = np.argsort(scores)
        # Ascending: the first score that is enough keeps the most. From its first answer on, all are kept.
        candidates, first = np.unique(scores[order], return_index=True)
        kept, kept_right = len(scores) - first, right[order][::-1].cumsum()[::-1][first]
        enough = (kept >= min_posts) & (kept_right / kept >= precision)
        lowest = candidates[enough.argmax()] if enough.any() else None
        # Down to the decimals that `mmre predict` writes, so that it keeps the answer whose score this is.
        found[name] = None if lowest is None else math.floor(lowest * 10**THRESHOLD_DECIMALS) / 10**THRESHOLD_DECIMALS
    return Thresholds(precision, temperature, found, min_posts, posts)


def count_kept(predictions: Predictions, thresholds: Thresholds) -> dict[str, KeptCount]:
    """Count what the thresholds keep of some predictions, and how much of that is right, for each relation."""
    counts = {}
    for name in thresholds.relations:
        number, threshold = predictions.relations.index(name), thresholds.relations[name]
        reached = predictions.scores >= (math.inf if threshold is None else threshold)
        kept = (predictions.predicted == number) & reached
        gold = predictions.gold == number
        counts[name] = KeptCount(int(kept.sum()), int((kept & gold).sum()), int(gold.sum()))
    return counts


def thresholds_report(thresholds: Thresholds, counts: Mapping[str, Mapping[str, KeptCount]]) -> str:
    """Format thresholds and what they keep, in Markdown.

    Args:
        thresholds: the thresholds.
        counts: from [`count_kept`], by split.
    """
    columns = [f"{split} {name}" for split in counts for name in ("kept", "precision", "recall")]
    lines = [f"| relation | threshold | {' | '.join(columns)} |", f"|---|{'--:|' * (len(columns) + 1)}"]
    for name, threshold in thresholds.relations.items():
        cells = [cell for of_split in counts.values() for cell in _cells(of_split[name])]
        shown = "none" if threshold is None else f"{threshold:.4f}"
        lines.append(f"| {as_cell(name)} | {shown} | {' | '.join(cells)} |")
    totals = (KeptCount(*map(sum, zip(*of_split.values()))) for of_split in counts.values())
    lines.append(f"| all |  | {' | '.join(cell for total in totals for cell in _cells(total))} |")
    if thresholds.out_of_reach:
        names, wanted = ", ".join(map(escaped, thresholds.out_of_reach)), f"{thresholds.precision:g} of the answers"
        least = f"that keeps {thresholds.min_posts} posts or more"
        lines.append(f"\nAt no threshold {least} {wanted} are right, so that all are left out: {names}")
    if thresholds.too_few:
        counts = ", ".join(f"{escaped(name)} ({thresholds.posts[name]})" for name in thresholds.too_few)
        lines.append(
            f"\nToo few posts for a threshold, below {thresholds.min_posts}, so that all are left out: {counts}"
        )
    return "\n".join(lines)


def _cells(count: KeptCount) -> list[str]:
    shares = ((count.right, count.kept), (count.right, count.gold))
    return [str(count.kept), *(f"{100 * part / whole:.1f}" if whole else "" for part, whole in shares)]


def write_thresholds(path: str | os.PathLike, thresholds: Thresholds) -> None:
    """Write thresholds as JSON that [`read_thresholds`] reads."""
    with whole_file(path) as file:
        file.write(json.dumps(thresholds._asdict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_thresholds(path: str | os.PathLike) -> Thresholds:
    """Read thresholds, of any model; see [`check_model`].

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no file of thresholds, or a value is out of range.
    """
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise FileNotFoundError(f"thresholds {path}: there is no such file")
    with open(path, "rb") as file:
        content = read_json(file.read())
    is_whole = isinstance(content, Mapping) and {*content} == {*Thresholds._fields}
    if not is_whole or not all(isinstance(content[name], Mapping) for name in ("relations", "posts")):
        fields = ", ".join(Thresholds._fields)
        raise ValueError(f"thresholds {path}: no JSON with {fields}; expected a file that mmre thresholds wrote")
    _check_number(path, "precision", content["precision"], above=0)
    _check_number(path, "temperature", content["temperature"], above=0, most=math.inf)
    for name, value in content["relations"].items():
        if value is not None:
            _check_number(path, f"threshold of {show(name)}", value)
    _check_count(path, "min_posts", content["min_posts"], least=1)
    for name in content["relations"]:
        _check_count(path, f"posts of {show(name)}", content["posts"].get(name))
    return Thresholds(**content)


def read_thresholds_of(path: str | os.PathLike, config: Any) -> Thresholds:
    """Read the thresholds of a model.

    Args:
        path: of the file.
        config: the model's configuration.

    Raises:
        FileNotFoundError, ValueError: as of [`read_thresholds`] and [`check_model`].
    """
    thresholds = read_thresholds(path)
    check_model(path, thresholds, config.id2label.values(), config.score_temperature)
    return thresholds


def check_model(path: str | os.PathLike, thresholds: Thresholds, relations: Iterable[str], temperature: float) -> None:
    """Refuse the thresholds of another model.

    Args:
        path: of the file, for the message.
        thresholds: from [`read_thresholds`].
        relations: all relations of the model.
        temperature: of the model's scores.

    Raises:
        ValueError: the relations are others, or the scores have another temperature.
    """
    known, mend = [name for name in relations if name != NEGATIVE_RELATION], "make it anew by mmre thresholds"
    for name in thresholds.relations:
        if name not in known:
            problem = unknown("relation", name, known)
            raise ValueError(f"thresholds {path}: {problem} (known are the model's); {mend}")
    missing = [name for name in known if name not in thresholds.relations]
    if missing:
        raise ValueError(f"thresholds {path}: the model's relation {show(missing[0])} has none; {mend}")
    if not math.isclose(thresholds.temperature, temperature, rel_tol=1e-6):
        raise ValueError(
            f"thresholds {path}: it is for scores of temperature {thresholds.temperature:g}, and the model's have "
            f"{temperature:g}, so that it is of another model; {mend}"
        )


def _check_number(path: str, name: str, value: Any, above: float | None = None, most: float = 1) -> None:
    """Refuse what is no number from 0 (or above it) to `most`."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or value < 0 or value > most or value == above:
        first, last = "from 0" if above is None else "above 0", f" to {most:g}" if math.isfinite(most) else ""
        raise ValueError(f"thresholds {path}: {name}: {show(value)}; expected a number {first}{last}")


def _check_count(path: str, name: str, value: Any, least: int = 0) -> None:
    """Refuse what is no whole number from `least`."""
    if type(value) is not int or value < least:
        raise ValueError(f"thresholds {path}: {name}: {show(value)}; expected a whole number from {least}")


__all__ = [
    "MIN_POSTS",
    "KeptCount",
    "Thresholds",
    "check_model",
    "count_kept",
    "fit_thresholds",
    "read_thresholds",
    "read_thresholds_of",
    "thresholds_report",
    "write_thresholds",
]
