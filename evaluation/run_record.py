"""The record of a run: the one file that writes and reads `metrics.json`, `predictions.jsonl` and `results.md`."""

import json
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import numpy as np

from mmre.posts.whole_file import whole_file

from .calibration import calibration_lines
from .markdown import as_cell
from .protocol import file_names, protocol_title, region_protocol
from .relation_f1 import NO_ANSWER

METRICS_FILE = "metrics.json"
PREDICTIONS_FILE = "predictions.jsonl"
VALIDATION_FILE = "validation_predictions.jsonl"
RESULTS_FILE = "results.md"
ENVIRONMENT_FILE = "environment.json"
SETTINGS_FILE = "resolved_config.yaml"
PACKAGES = ("mmre", "torch", "transformers", "datasets", "accelerate", "evaluate", "pillow", "numpy", "tokenizers")


class Predictions(NamedTuple):
    """Content of `predictions.jsonl`: ids of the posts, names of all relations, and ids of relations, (N,) each.

    A predicted relation is `NO_ANSWER` where an answer named none. `head_first`, (N,), is of each post whether the head
    comes first in the text; `None` of runs of earlier versions. `scores`, (N,), are the probabilities of the predicted
    relations, zero for `NO_ANSWER`.
    """

    post_ids: list[str]
    relations: list[str]
    gold: np.ndarray
    predicted: np.ndarray
    head_first: np.ndarray | None = None
    scores: np.ndarray | None = None


def write_metrics(folder: str | Path, results: dict[str, Any]) -> None:
    """Write `metrics.json`.

    Args:
        folder: the output folder of the run.
        results: `posts`, see [`~mmre.evaluation.protocol.describe_posts`]; `train`, the Trainer's metrics of the
            training; `validation` and `test`, see [`~mmre.evaluation.scores.score_split`]; `calibration`, the
            `temperature` and the `splits`, see [`~mmre.evaluation.calibration.compare_calibration`]; `cost`, see
            [`~mmre.evaluation.cost.measure_cost`]; those of them that the run has.
    """
    _write(Path(folder) / METRICS_FILE, json.dumps(results, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_metrics(folder: str | Path) -> dict[str, Any]:
    """Read `metrics.json`, as [`write_metrics`] takes its content.

    Raises:
        FileNotFoundError: if the folder has no such file.
        ValueError: if the file is not the record of a run.
    """
    path = Path(folder) / METRICS_FILE
    try:
        results = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}; expected the metrics.json of a run") from error
    if not isinstance(results, dict) or "posts" not in results:
        raise ValueError(f"{path}: no `posts`; expected the metrics.json of a run")
    return results


def is_prompt_run(folder: str | Path) -> bool:
    """Return whether a folder has the record of `mmre prompt`: of a chat model that was asked, not trained."""
    return (Path(folder) / METRICS_FILE).is_file() and "prompt" in read_metrics(folder)


def write_predictions(
    folder: str | Path,
    post_ids: Sequence[str],
    relations: Sequence[str],
    gold: Sequence[int],
    probabilities: Sequence[Sequence[float]],
    head_first: Sequence[bool],
    posts: Sequence[Mapping[str, Any]] | None = None,
    file_name: str = PREDICTIONS_FILE,
) -> None:
    """Write `predictions.jsonl`, a line per post.

    A line has `id`, `gold`, `predicted`, `head_first`, the `probabilities` of the relations, and what a person reads
    the errors by: `text`, `head` and `tail` (each with `start`, `end` and its `text`), and `image`, the picture's name.

    Args:
        folder: the output folder of the run.
        post_ids: ids of the N posts.
        relations: names of the R relations, in the order of their ids.
        gold: ids of the true relations, (N,).
        probabilities: of each relation, (N, R); the most probable relation is the predicted one. A row of zeros is of
            an answer that names no relation: its predicted one is null.
        head_first: whether the head comes first in the text, (N,).
        posts: the posts, see [`posts_in_short`]; without them a line has no text, entities and picture.
        file_name: of the file; the one of the test posts by default.
    """
    lines = []
    posts = [{}] * len(post_ids) if posts is None else posts
    for post_id, label, row, is_first, post in zip(post_ids, gold, probabilities, head_first, posts, strict=True):
        line = {
            "id": post_id,
            "gold": relations[label],
            "predicted": relations[int(np.argmax(row))] if any(row) else None,
            "head_first": is_first,
            "probabilities": dict(zip(relations, row, strict=True)),
            **post,
        }
        lines.append(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")
    _write(Path(folder) / file_name, "".join(lines))


def posts_in_short(posts: datasets.Dataset) -> list[dict[str, Any]]:
    """Return of each post its text, its entities and the name of its picture: `None` without one, or without a name.

    Args:
        posts: with the columns `text`, `head`, `tail` and, if the posts have pictures, `image`; these stay unread.
    """
    rows = posts.select_columns([name for name in ("text", "head", "tail", "image") if name in posts.column_names])
    if "image" in rows.column_names and isinstance(rows.features["image"], datasets.Image):
        rows = rows.cast_column("image", datasets.Image(decode=False))
    short = []
    for row in rows:
        spans = {name: row[name] for name in ("head", "tail")}
        entities = {name: span | {"text": row["text"][span["start"] : span["end"]]} for name, span in spans.items()}
        image = row.get("image")
        path = image.get("path") if isinstance(image, dict) else None
        short.append({"text": row["text"], **entities, "image": path and Path(path).name})
    return short


def read_predictions(path: str | Path) -> Predictions:
    """Read `predictions.jsonl`.

    Args:
        path: the file, or the output folder of the run.

    Returns:
        The posts in the order of their ids, so that those of two runs stand side by side.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no file of predictions, or a post stands there twice.
    """
    path = Path(path)
    path = path / PREDICTIONS_FILE if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; expected {PREDICTIONS_FILE}, or the output folder of a run")
    rows = {}
    # Not splitlines: to it, characters that may stand in an id end a line too.
    for number, line in enumerate(path.read_text("utf-8").rstrip("\n").split("\n"), start=1):
        if not line:
            continue
        try:
            row = json.loads(line)
            post_id, gold, predicted, relations = row["id"], row["gold"], row["predicted"], [*row["probabilities"]]
            answer = NO_ANSWER if predicted is None else relations.index(predicted)
            score = 0.0 if predicted is None else float(row["probabilities"][predicted])
            values = relations.index(gold), answer, row.get("head_first"), score
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path}:{number}: {type(error).__name__}: {error}; expected a line of predictions.jsonl: id, gold, "
                "predicted, probabilities"
            ) from error
        if post_id in rows:
            raise ValueError(f"{path}:{number}: the post {post_id!r} stands there twice; expected each post once")
        rows[post_id] = values
    if not rows:
        raise ValueError(f"{path} has no predictions; expected a line for each post")
    post_ids = sorted(rows)
    gold, predicted, head_first, scores = zip(*(rows[post_id] for post_id in post_ids))
    known = None if None in head_first else np.array(head_first)
    return Predictions(post_ids, relations, np.array(gold), np.array(predicted), known, np.array(scores))


def write_environment(
    folder: str | Path,
    *,
    seed: int,
    posts_sha256: str,
    device: str,
    processes: int,
    base_models: Sequence[str],
) -> None:
    """Write `environment.json`: what a result was obtained with, beside its settings.

    Args:
        folder: the output folder of the run.
        seed: of the run.
        posts_sha256: of the posts, see [`~mmre.posts.fingerprint.posts_fingerprint`].
        device: that the model runs on.
        processes: how many share the work.
        base_models: names on the Hub of the models that the run began with.
    """
    environment = {
        "seed": seed,
        "posts_sha256": posts_sha256,
        "device": device,
        "processes": processes,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "base_models": list(base_models),
        "packages": {name: metadata.version(name) for name in PACKAGES},
    }
    _write(Path(folder) / ENVIRONMENT_FILE, json.dumps(environment, indent=2, ensure_ascii=False) + "\n")


def write_results(folder: str | Path, results: dict[str, Any]) -> str:
    """Write `results.md`: the tables of [`results_tables`], which it returns."""
    tables = results_tables(results)
    _write(Path(folder) / RESULTS_FILE, tables)
    return tables


def results_tables(results: dict[str, Any]) -> str:
    """Format the protocol, the scores of both splits and by the order of the entities, and those of each relation.

    The relations are those of the last split. Records of earlier versions have no scores by order.

    Args:
        results: the content of `metrics.json`, see [`write_metrics`].
    """
    posts = results["posts"]
    captions = file_names(posts["captions"]) or "none"
    lines = [
        f"Data set {posts['dataset']} ({protocol_title(posts)}), captions: {captions}.",
        region_protocol(posts["regions"]).note,
    ]
    if "prompt" in results:
        lines.append(prompt_line(results["prompt"]))
    splits = [split for split in ("validation", "test") if split in results]
    if splits:
        lines += ["", "| split | samples | accuracy | precision | recall | F1 |", "|---|--:|--:|--:|--:|--:|"]
        for split in splits:
            values = [f"{100 * results[split][name]:.2f}" for name in ("accuracy", "precision", "recall", "f1")]
            lines.append(f"| {split} | {results[split]['samples']} | {' | '.join(values)} |")
        lines += order_lines({split: results[split] for split in splits})
        lines += ["", f"| relation ({splits[-1]}) | support | precision | recall | F1 |", "|---|--:|--:|--:|--:|"]
        for name, row in results[splits[-1]]["per_relation"].items():
            values = [f"{100 * row[column]:.2f}" for column in ("precision", "recall", "f1")]
            lines.append(f"| {as_cell(name)} | {row['support']} | {' | '.join(values)} |")
        lines += calibration_lines(results)
    return "\n".join(lines) + "\n"


def prompt_line(asked: dict[str, Any]) -> str:
    """Say in a line how a chat model was asked; for `asked` see [`~mmre.inference.prompt_run.prompt`]."""
    drawn = "stratified" if asked["stratified"] else "random"
    shots = f"{asked['shots']} {drawn} shots" if asked["shots"] else "0 shots"
    return (
        f"A chat model that was not trained for it, asked by {asked['answer']} with {shots}, seed {asked['seed']}: "
        f"{100 * asked['unparsable']:.2f} % of the answers name no relation, {asked['prompt_tokens_per_post']:.1f} "
        f"tokens and {asked['seconds_per_post']:.2f} s a post."
    )


def order_lines(results: dict[str, dict[str, Any]]) -> list[str]:
    """Format the scores by the order of the entities, in Markdown.

    Args:
        results: the scores of each split, see [`~mmre.evaluation.scores.score_split`].

    Returns:
        The lines of the table, a blank one before; none if no split has such scores.
    """
    rows = []
    for split, scores in results.items():
        for name, row in scores.get("by_order", {}).items():
            values = [f"{100 * row[metric]:.2f}" if row["samples"] else "" for metric in ("precision", "recall", "f1")]
            rows.append(f"| {split}, {name.replace('_', ' ')} | {row['samples']} | {' | '.join(values)} |")
    header = ["", "| order of the entities in the text | samples | precision | recall | F1 |", "|---|--:|--:|--:|--:|"]
    return [*header, *rows] if rows else []


def _write(path: Path, text: str) -> None:
    with whole_file(path) as file:
        file.write(text)


__all__ = [
    "ENVIRONMENT_FILE",
    "METRICS_FILE",
    "PREDICTIONS_FILE",
    "RESULTS_FILE",
    "SETTINGS_FILE",
    "VALIDATION_FILE",
    "Predictions",
    "is_prompt_run",
    "order_lines",
    "posts_in_short",
    "read_metrics",
    "read_predictions",
    "results_tables",
    "write_environment",
    "write_metrics",
    "write_predictions",
    "write_results",
]
