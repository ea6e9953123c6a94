"""The comparison of systems: a suite of any of them, with one budget."""

import re
from collections.abc import Sequence

from mmre.modeling import MODELS
from mmre.processing.suggestions import unknown
from mmre.training.settings import read_value

from .suite import OWN_ARGUMENTS, Cell, Suite
from .suites_focalmre import FOCALMRE_SYSTEMS
from .suites_tgdi import TGDI_SYSTEMS

# On MNRE, in place of what a system's own recipe says of it: as large as the largest that the papers' systems have.
MNRE_BUDGET = {
    "num_train_epochs": 20,
    "per_device_train_batch_size": 16,
    "gradient_accumulation_steps": 1,
    "per_device_eval_batch_size": 32,
}


def systems_suite(names: Sequence[str]) -> Suite:
    """Make the suite that compares systems.

    Args:
        names: of the systems: of `MODELS`, as `cnn`; of a system of the papers' main tables, as `PCNN`; or of one of
            `MODELS` with arguments of `mmre train` that make it a variant of it, as `cnn:pooling=piecewise` or
            `tgdi:use_caption=false,dropout=0.1`. All of `MODELS` if there are none.

    Returns:
        The suite: a cell for each, by the name that was given.

    Raises:
        ValueError: if a name is unknown, stands twice, or is of a chat model, which is not trained.
    """
    names = names or sorted(MODELS)
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"--systems: each system once, got {twice} {names.count(twice)} times")
    cells = tuple(_cell(name)._replace(point=("F1", name)) for name in names)
    return Suite(
        title=f"{len(cells)} systems with one budget",
        cells=cells,
        paper_metrics=("f1",),
        axes=("", "test F1 (%)"),
        compares=True,
    )


def _cell(name: str) -> Cell:
    system, has_arguments, words = name.partition(":")
    if system in MODELS:
        return Cell(name, system, _arguments(name, words) if has_arguments else {})
    of_papers = (*FOCALMRE_SYSTEMS, *TGDI_SYSTEMS)
    cell = next((cell for cell in of_papers if _plain(system) in (_plain(cell.name), _plain(cell.model_type))), None)
    if cell is not None and cell.model_type not in MODELS:
        raise ValueError(f"--systems: {system} is a chat model, which `mmre prompt` asks; expected are trained systems")
    if cell is None or has_arguments:
        known = [*sorted(MODELS), *dict.fromkeys(cell.name for cell in of_papers if cell.model_type in MODELS)]
        raise ValueError(f"--systems: {unknown('system', system, [*MODELS] if has_arguments else known)}")
    return Cell(name, cell.model_type, cell.arguments)


def _plain(name: str) -> str:
    """Return a name in lower case without spaces, hyphens and underscores, by which people's spellings differ."""
    return re.sub(r"[\s_-]", "", name).casefold()


def _arguments(name: str, words: str) -> dict:
    """Read `name=value,name=value`."""
    pairs = [word.partition("=") for word in words.split(",")]
    for argument, has_value, value in pairs:
        if not (argument.isidentifier() and has_value and value):
            raise ValueError(f"--systems {name}: expected SYSTEM:ARGUMENT=VALUE,ARGUMENT=VALUE")
        if argument in OWN_ARGUMENTS | {"use_images"}:
            raise ValueError(
                f"--systems {name}: {argument} is set for each run, the same for all systems: leave it out"
            )
    return {argument: read_value(argument, value) for argument, _, value in pairs}


__all__ = ["MNRE_BUDGET", "systems_suite"]
