"""Pictures of a run: its learning curve and its confusion matrix."""

from collections.abc import Sequence
from pathlib import Path

# Not pyplot: it would keep each figure open, and choose a backend for the whole process.
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from sklearn.metrics import ConfusionMatrixDisplay, confusion_matrix

INCHES_PER_RELATION = 0.42
INCHES_FOR_NAMES = 3.0
DOTS_PER_INCH = 150


def plot_learning_curve(log_history: list[dict[str, float]], path: str | Path) -> Figure | None:
    """Draw the loss and the validation F1 over the epochs of a training.

    Args:
        log_history: `trainer.state.log_history`: `loss` where the Trainer logged, `eval_loss` and `eval_f1` where it
            evaluated, each with its `epoch`.
        path: the PNG file to write.

    Returns:
        The figure, with one plot for the losses and one for F1 in per cent; a plot without a point is left out. `None`,
        and no file, if the history has neither: a training shorter than `logging_steps` that was never evaluated.
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
    figure.savefig(path, format="png")
    return figure


def _points(log_history: list[dict[str, float]], name: str) -> list[tuple[float, float]]:
    return [(entry["epoch"], entry[name]) for entry in log_history if name in entry]


def plot_confusion_matrix(
    references: Sequence[int], predictions: Sequence[int], relations: Sequence[str], path: str | Path
) -> Figure:
    """Draw which relation is taken for which.

    Args:
        references: ids of the true relations.
        predictions: ids of the predicted relations.
        relations: names of all relations, in the order of their ids.
        path: the PNG file to write.

    Returns:
        The figure: a row for each true relation, named with its number of posts, and in it the shares of these posts
        that each relation was predicted for, in per cent. The row of a relation without posts is empty.
    """
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
    axes.set(xlabel="predicted relation", ylabel="true relation (posts)")
    figure.colorbar(display.im_, ax=axes, shrink=0.6, label="% of the row")
    figure.savefig(path, format="png")
    return figure


__all__ = ["plot_confusion_matrix", "plot_learning_curve"]
