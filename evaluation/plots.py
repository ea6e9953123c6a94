"""Plots of results: learning curve, confusion matrix, and what is measured over what is varied."""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from textwrap import wrap
from typing import Any

import numpy as np

# Not pyplot: it would keep each figure open, and choose a backend for the whole process.
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.ticker import MaxNLocator
from sklearn.metrics import ConfusionMatrixDisplay, confusion_matrix

from mmre.posts.whole_file import whole_file

INCHES_PER_RELATION = 0.42
INCHES_FOR_NAMES = 3.0
INCHES_PER_BAR = 0.3
INCHES_PER_LINE = 0.12
DOTS_PER_INCH = 150
# More would be a picture of thousands of dots a side, and gigabytes to draw.
MAX_RELATIONS = 40
MAX_NAME = 40  # characters


def plot_learning_curve(log_history: list[dict[str, float]], path: str | Path) -> Figure | None:
    """Draw the loss and the validation F1 over the epochs of a training.

    Args:
        log_history: `trainer.state.log_history`: `loss` where the Trainer logged, `eval_loss` and `eval_f1` where it
            evaluated, each with its `epoch`.
        path: the PNG file to write.

    Returns:
        The figure, with one plot for the losses and one for F1 in per cent, whose best epoch is marked; a plot without
        a point is left out. `None`, and no file, if the history has neither: a training shorter than `logging_steps`
        that was never evaluated.
    """
    curves = {
        "loss": {"training": _points(log_history, "loss"), "validation": _points(log_history, "eval_loss")},
        "validation F1 (%)": {"validation": [(epoch, 100 * value) for epoch, value in _points(log_history, "eval_f1")]},
    }
    plots = {name: lines for name, lines in curves.items() if any(lines.values())}
    if not plots:
        return None
    figure = Figure(figsize=(5 * len(plots), 3.6), layout="constrained", dpi=DOTS_PER_INCH)
    for axes, (name, lines) in zip(figure.subplots(1, len(plots), squeeze=False)[0], plots.items()):
        for label, points in lines.items():
            if points:
                axes.plot(*zip(*points), marker=".", label=label, color="C0" if label == "training" else "C1")
        axes.set(xlabel="epoch", ylabel=name)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        if name == "loss":
            axes.legend()
        else:
            epoch, best = max(lines["validation"], key=lambda point: (point[1], -point[0]))
            axes.scatter([epoch], [best], marker="*", s=140, color="C1", zorder=3)
            axes.set_title(f"best: {best:.2f} % at epoch {epoch:g}", fontsize="medium")
    _save(figure, path)
    return figure


def _save(figure: Figure, path: str | Path) -> None:
    with whole_file(path, "wb") as file:
        figure.savefig(file, format="png")


def _points(log_history: list[dict[str, float]], name: str) -> list[tuple[float, float]]:
    return [(entry["epoch"], entry[name]) for entry in log_history if name in entry]


def plot_confusion_matrix(
    references: Sequence[int],
    predictions: Sequence[int],
    relations: Sequence[str],
    path: str | Path,
    title: str | None = None,
) -> Figure:
    """Draw which relation is taken for which.

    Args:
        references: ids of the true relations.
        predictions: ids of the predicted relations.
        relations: names of all relations, in the order of their ids.
        path: the PNG file to write.
        title: a line above the picture, such as the F1.

    Returns:
        The figure: a row for each true relation, named with its number of posts, and in it the shares of these posts
        that each relation was predicted for, in per cent. The row of a relation without posts is empty. Of more than
        `MAX_RELATIONS` relations, those with the fewest posts stand together in the last row and column. What the font
        lacks of a name is written as code points.
    """
    references, predictions, relations = _with_others(references, predictions, [drawable(name) for name in relations])
    ids = range(len(relations))
    shares = 100 * confusion_matrix(references, predictions, labels=ids, normalize="true")
    side = INCHES_PER_RELATION * len(relations) + INCHES_FOR_NAMES
    figure = Figure(figsize=(side, side - 0.8), layout="constrained", dpi=DOTS_PER_INCH)
    axes = figure.subplots()
    display = ConfusionMatrixDisplay(shares, display_labels=list(relations)).plot(
        ax=axes,
        cmap="Blues",
        colorbar=False,
        xticks_rotation="vertical",
        values_format=".0f",
        im_kw={"vmin": 0, "vmax": 100},
        text_kw={"fontsize": 8},
    )
    # Zeros would hide the rest: with 23 relations most cells are empty.
    for text, share in zip(display.text_.flat, shares.flat):
        text.set_visible(share > 0)
    counts = [sum(int(reference) == label for reference in references) for label in ids]
    axes.set_yticklabels([f"{name} ({count})" for name, count in zip(relations, counts)])
    axes.set(xlabel="predicted relation", ylabel="true relation (posts)", title=title)
    figure.colorbar(display.im_, ax=axes, shrink=0.6, label="% of the row")
    _save(figure, path)
    return figure


def plot_reliability(calibration: dict[str, Any], path: str | Path) -> Figure:
    """Draw the reliability diagrams of a run: how often the answers of each bin of scores are right.

    Args:
        calibration: of `metrics.json`, see [`~mmre.evaluation.calibration.compare_calibration`].
        path: the PNG file to write.

    Returns:
        The figure: a row for each split, without and with the temperature. A bar for each bin, the darker the more
        posts are in it, a dot at their mean score, and the diagonal, on which the dots of a calibrated model lie.
    """
    splits = calibration["splits"]
    figure = Figure(figsize=(7.2, 3.4 * len(splits)), layout="constrained", dpi=DOTS_PER_INCH)
    for row, (split, measured) in zip(figure.subplots(len(splits), 2, squeeze=False), splits.items()):
        for axes, (name, temperature) in zip(row, (("before", 1.0), ("after", calibration["temperature"]))):
            bins, error = measured[name]["bins"], measured[name]["ece"]
            most = max(each["posts"] for each in bins)
            axes.plot([0, 1], [0, 1], linestyle="--", color="0.5", linewidth=1)
            for number, each in enumerate(bins):
                if each["posts"]:
                    left, shade = number / len(bins), 0.2 + 0.8 * (each["posts"] / most)
                    axes.bar(left, each["accuracy"], 1 / len(bins), align="edge", color="C0", alpha=shade)
                    axes.plot(each["score"], each["accuracy"], marker=".", color="C3")
            axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="score", ylabel="share of right answers")
            axes.set_title(f"{split}, temperature {temperature:.4g}: ECE {100 * error:.2f} %", fontsize="medium")
    _save(figure, path)
    return figure


def _with_others(
    references: Sequence[int], predictions: Sequence[int], names: list[str]
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Put all but the `MAX_RELATIONS` - 1 relations with the most posts together, if there are more than fit."""
    references, predictions = np.asarray(references), np.asarray(predictions)
    if len(names) <= MAX_RELATIONS:
        return references, predictions, names
    counts = np.bincount(references, minlength=len(names))
    kept = np.sort(np.argsort(-counts, kind="stable")[: MAX_RELATIONS - 1])
    new = np.full(len(names), len(kept))
    new[kept] = np.arange(len(kept))
    shown = [*(names[number] for number in kept), f"{len(names) - len(kept)} others"]
    return new[references], new[predictions], shown


def drawable(name: str, font: str = "DejaVu Sans") -> str:
    """Return a name without what the font lacks, what begins a formula, and what is too long."""
    name = name if len(name) <= MAX_NAME else name[: MAX_NAME - 1] + "…"
    known = _font_characters(font)
    drawn = (character if ord(character) in known else f"\\u{{{ord(character):x}}}" for character in name)
    return "".join(drawn).replace("$", r"\$")


@cache
def _font_characters(font: str) -> frozenset[int]:
    """Return the code points that a font of matplotlib draws."""
    return frozenset(get_font(findfont(font)).get_charmap()) - frozenset(range(32))


def plot_results(points: Sequence[dict[str, Any]], xlabel: str, ylabel: str, path: str | Path, title: str) -> Figure:
    """Draw what was measured over what was varied, beside a paper's figures.

    Args:
        points: each with its `line` (a name), its `x` (a number; or a name, which makes a bar from left to right), the
            `mean` and the `std` over the seeds (`None` for one seed; both `None` for what is not measured), and the
            figure of the `paper` (`None` if it prints none).
        xlabel: what was varied.
        ylabel: what was measured, with its unit.
        path: the PNG file to write.
        title: what is shown, under which protocol.

    Returns:
        The figure: the means with error bars of one standard deviation, and the paper's figures dashed.
    """
    names = [name for name in dict.fromkeys(point["x"] for point in points) if isinstance(name, str)]
    lines = ["\n".join(map(drawable, wrap(re.sub(r",(?=\S)", ", ", name), MAX_NAME))) for name in names]
    height = 1.2 + sum(INCHES_PER_BAR + INCHES_PER_LINE * line.count("\n") for line in lines)
    figure = Figure(figsize=(6.4, max(4.2, height)), layout="constrained", dpi=DOTS_PER_INCH)
    axes = figure.subplots()
    for index, name in enumerate(dict.fromkeys(point["line"] for point in points)):
        of_line = [point for point in points if point["line"] == name]
        measured = [point for point in of_line if point["mean"] is not None]
        xs, means = [point["x"] for point in measured], [point["mean"] for point in measured]
        errors = [point["std"] or 0 for point in measured]
        of_paper = [(point["x"], point["paper"]) for point in of_line if point["paper"] is not None]
        if names:
            axes.barh([names.index(x) for x in xs], means, xerr=errors, capsize=3, color=f"C{index}", label=name)
            of_paper = [(paper, names.index(x)) for x, paper in of_paper]
        else:
            axes.errorbar(xs, means, yerr=errors, capsize=3, marker="o", color=f"C{index}", label=name)
        if of_paper:
            line = "" if names else "--"  # between systems there is nothing to be joined
            axes.plot(*zip(*of_paper), marker="x", linestyle=line, color=f"C{index}", alpha=0.6, label=f"{name}, paper")
    axes.set(xlabel=xlabel, ylabel=ylabel)
    if names:
        axes.set(xlabel=ylabel, ylabel=xlabel)
        axes.set_yticks(range(len(names)), lines, fontsize="small")
        axes.invert_yaxis()  # the first system stands at the top, as in the table
    axes.set_title(title, fontsize="small")
    axes.grid(alpha=0.3)
    axes.legend()
    _save(figure, path)
    return figure


__all__ = ["drawable", "plot_confusion_matrix", "plot_learning_curve", "plot_reliability", "plot_results"]
