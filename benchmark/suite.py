"""A suite: the cells of a table or a figure of a paper."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

F1 = "test F1 (%)"
# In place of a `model_type`: large language models, asked with examples in the prompt.
PROMPT = "mmre prompt"
# Arguments of `mmre train` that a cell, a seed or an option of the benchmark sets.
OWN_ARGUMENTS = {"model_type", "dataset", "data_dir", "regions", "captions", "seed", "output_dir", "push_to_hub"}
OWN_ARGUMENTS |= {"resume_from_checkpoint", "do_train", "do_eval", "do_predict"}


class Cell(NamedTuple):
    """One line of a table: a system, what is changed of its recipe, and what the paper reports.

    Args:
        name: as in the paper.
        model_type: the system. A cell whose system is not among `MODELS` is listed and not run.
        arguments: of `mmre train`, in place of the recipe's.
        paper: the paper's figures in per cent, in the order of the suite's `paper_metrics`; empty if it prints none.
        needs_regions: whether the cell means nothing without regions.
        point: where it stands in the plot, if there is one: the name of its line, and its place on the x axis.
        recipe: the shipped recipe on MNRE, if not the paper's, `MODEL_TYPE_mnre`.
        needs_grounded_regions: whether the cell means nothing with detected regions alone.
    """

    name: str
    model_type: str
    arguments: dict[str, Any] = {}  # noqa: RUF012, never changed
    paper: tuple[float, ...] = ()
    needs_regions: bool = False
    point: tuple[str, float | str] | None = None
    recipe: str | None = None
    needs_grounded_regions: bool = False


class Suite(NamedTuple):
    """A table or a figure.

    Args:
        title: the subject.
        source: where the paper has it; empty if no paper does.
        cells: its lines.
        paper_metrics: what the paper reports; the interval is of the last.
        per_relation: the paper's F1 by relation, of each cell: a line for each relation and each cell.
        statistics: the paper's counts: a line for each, of the data; there is nothing to train.
        axes: labels of the plot's axes, if there is one.
        compares: whether the cells are systems with one budget: the table has their cost, and tests each pair.
    """

    title: str
    source: str = ""
    cells: tuple[Cell, ...] = ()
    paper_metrics: tuple[str, ...] = ("precision", "recall", "f1")
    per_relation: dict[str, tuple[float, ...]] | None = None
    statistics: dict[str, int] | None = None
    axes: tuple[str, str] | None = None
    compares: bool = False

    @property
    def has_chat_models(self) -> bool:
        """Return whether a line is of a chat model, and the lines are systems."""
        return self.per_relation is None and any(cell.model_type == PROMPT for cell in self.cells)


def varied(
    systems: Sequence[Cell],
    figures: Mapping[float, Sequence[tuple[float, ...]]],
    arguments: Callable[[float], dict[str, Any]],
    label: str,
    kind: str = "",
    needs_regions: bool = False,
) -> tuple[Cell, ...]:
    """Make a cell for each value of an argument and each system.

    Args:
        systems: the systems, in the order of the paper.
        figures: of each value on the x axis, what the paper prints of each system.
        arguments: gives the arguments of `mmre train` for a value.
        label: of a value, which takes the place of `{:g}`.
        kind: of what is varied, where a plot has several.
        needs_regions: whether the cells mean nothing without regions.
    """
    cells = []
    for value, printed in figures.items():
        for system, paper in zip(systems, printed, strict=True):
            line = f"{system.name}, {kind}" if kind else system.name
            name = f"{line}{' ' if kind else ', '}{label.format(value)}"
            own = system.arguments | arguments(value)
            cells.append(Cell(name, system.model_type, own, paper, needs_regions, (line, value)))
    return tuple(cells)


__all__ = ["F1", "OWN_ARGUMENTS", "PROMPT", "Cell", "Suite", "varied"]
