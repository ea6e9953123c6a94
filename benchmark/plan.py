"""The plan of a benchmark: the runs that its suites need, each with its settings and its address."""

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mmre.modeling import MODELS
from mmre.posts.mnre import MNRE_REGIONS
from mmre.processing.dependency_trees import load_parser
from mmre.processing.suggestions import unknown
from mmre.training.arguments import MODALITIES, ModelArguments, encoder_arguments, encoders_of
from mmre.training.record import sections_of
from mmre.training.settings import WORD_ARGUMENTS, read_config, resolve, shipped_configurations
from mmre.training.system_values import config_names, make_config, processor_names

from .addresses import digest, file_digest, sources_digest
from .arguments import SHARED_RECIPES, SYSTEMS, BenchmarkArguments
from .post_counts import number_of_training_posts, read_content
from .runs import Run
from .suite import PROMPT, Cell, Suite
from .systems import MNRE_BUDGET

# A chat model is asked, not trained: its result is of its own checkpoint and prompt, and no run of this plan.
PROMPTED = "not trained: asked by mmre prompt"
# What a system reads that has to do with the picture.
PICTURE_INPUTS = {"image", "regions", "boxes"}


@dataclass
class Row:
    """A cell of a suite with its runs, one for each seed; or the reason why it has none.

    Args:
        cell: the cell.
        name: of the cell, with the source of its captions where there are several.
        runs: one for each seed.
        reason: of a cell without runs: `PROMPTED`, or what the protocol lacks.
    """

    cell: Cell
    name: str
    runs: list[Run]
    reason: str = ""


def plan_benchmark(args: BenchmarkArguments) -> dict[str, list[Row]]:
    """Plan the runs of all suites. Recipes and data are read before anything is run.

    Args:
        args: of the benchmark.

    Returns:
        The rows of each suite, by its name.

    Raises:
        ValueError: if a recipe, an argument or the data is wrong, an argument would undo what a cell is, captions are
            missing, no cell has the system of a given recipe, or two systems to compare are the same.
        OSError: if a recipe, data or word vectors are missing.
    """
    recipes = read_recipes(args.config, args.suite == SYSTEMS)
    measured = {cell.model_type for suite in args.suites.values() for cell in suite.cells}
    for model_type, (name, _) in recipes.items():
        if model_type is not None and model_type not in measured:
            raise ValueError(f"--config: {name} is a recipe of {model_type}, which is not measured here: leave it out.")
    return {name: plan_rows(suite, args, recipes) for name, suite in args.suites.items()}


def different_runs(plan: dict[str, list[Row]], seeds: list[int]) -> list[Run]:
    """List the runs of a plan: each address once, and all cells with their first seed before any with its second."""
    runs = {run.address: run for rows in plan.values() for row in rows for run in row.runs}
    return sorted(runs.values(), key=lambda run: seeds.index(run.seed))


def load_parsers(runs: list[Run]) -> None:
    """Load the spaCy models of the runs that read dependency trees: one that is missing is found before the first run.

    Args:
        runs: the runs; those that are done need none.

    Raises:
        ImportError, OSError, ValueError: as [`load_spacy`].
    """
    for run in runs:
        if run.state != "done" and "structure" in MODELS[run.model_type].config_class.inputs:
            load_parser(run.settings["model"].get("spacy_model") or "en_core_web_sm")


def read_recipes(paths: list[str], is_shared: bool = False) -> dict[str | None, tuple[str, dict[str, Any]]]:
    """Read recipes that take the place of the shipped ones.

    Args:
        paths: of the files.
        is_shared: whether one that names no `model_type` is for all systems, not for the one that `mmre train` takes.

    Returns:
        Of each system, or of `None` for all, the recipe's name and its values.

    Raises:
        ValueError: if one is of an unknown system, or two are of one.
    """
    recipes, given = {}, {}
    for path in paths:
        values = read_config(path)
        model_type = values.get("model_type", None if is_shared else ModelArguments.model_type)
        if model_type not in (None, *MODELS):
            raise ValueError(f"--config {path}: {unknown('model_type', model_type, MODELS)}")
        if model_type in given:
            whose = model_type or "all systems"
            raise ValueError(f"--config: {given[model_type]} and {path} are both recipes of {whose}: give one.")
        given[model_type] = path
        recipes[model_type] = Path(path).stem, values
    return recipes


def recipe_of(
    cell: Cell, suite: Suite, data: str, recipes: dict[str | None, tuple[str, dict[str, Any]]]
) -> tuple[str, dict[str, Any]]:
    """Choose the recipe of a cell.

    Args:
        cell: the cell.
        suite: its suite. Systems that are compared share the recipe on data that are made, and on MNRE the budget.
        data: a folder of MNRE's files, or one of `SHARED_RECIPES`.
        recipes: given ones, see [`read_recipes`], which are taken as they are.

    Returns:
        Its name and its values.
    """
    given = recipes.get(cell.model_type, recipes.get(None))
    if given is not None:
        return given
    if data in SHARED_RECIPES:
        own = f"{cell.model_type}_{SHARED_RECIPES[data]}"
        name = own if own in shipped_configurations() and not suite.compares else SHARED_RECIPES[data]
        return name, read_config(name)
    name = cell.recipe or f"{cell.model_type}_mnre"
    return name, read_config(name) | (MNRE_BUDGET if suite.compares else {})


def plan_rows(
    suite: Suite, args: BenchmarkArguments, recipes: dict[str | None, tuple[str, dict[str, Any]]]
) -> list[Row]:
    """Plan the runs of a suite; for the arguments see [`plan_benchmark`]."""
    rows = []
    for cell in suite.cells:
        reason = PROMPTED if cell.model_type == PROMPT else lacking(cell, args.protocol)
        if reason:
            rows.append(Row(cell, cell.name, [], reason))
            continue
        train = arguments_of_system(cell.model_type, args.train)
        undone = sorted({*train} & {*cell.arguments})
        if undone:
            raise ValueError(f"--{undone[0]} is what {cell.name!r} of {suite.title!r} is about: leave it out.")
        recipe, values = recipe_of(cell, suite, args.data, recipes)
        values = values | cell.arguments
        train |= place_of_word_vectors(cell, suite, values | train)
        reads = inputs_of(cell, values | train)
        if not reads & PICTURE_INPUTS:
            train.pop("picture_cache", None)
        captions = [None]
        if args.data not in SHARED_RECIPES and "caption" in reads:
            captions = args.captions or [values.get("captions")]
            if captions == [None]:
                raise ValueError(f"{cell.name!r} of {suite.title!r} reads captions of the pictures: give --captions.")
        for files in captions:
            name = cell.name if len(captions) == 1 else f"{cell.name} ({_common_name(files)})"
            runs = plan_runs(cell, name, recipe, values | data_arguments(cell, reads, args, files), train, args)
            rows.append(Row(cell, name, runs))
    if suite.compares:
        _check_different(rows)
    if "picture_cache" in args.train and not any(r.settings["data"]["picture_cache"] for row in rows for r in row.runs):
        raise ValueError(f"--picture_cache keeps pictures, and no system of {suite.title!r} reads any: leave it out.")
    return rows


def _check_different(rows: list[Row]) -> None:
    """Refuse to compare a system with itself."""
    names = {}
    for row in rows:
        other = names.setdefault(row.runs[0].address, row.name)
        if other != row.name:
            raise ValueError(f"--systems: {other} and {row.name} are the same system with the same recipe: give one.")


def place_of_word_vectors(cell: Cell, suite: Suite, values: dict[str, Any]) -> dict[str, str]:
    """Return the argument with the absolute path of a cell's word vectors; none for a system that reads none.

    Args:
        cell: the cell.
        suite: its suite, for the message.
        values: of its run.

    Raises:
        FileNotFoundError: if they are not there.
    """
    path = values.get("word_vectors")
    if path is None or "text" in encoders_of(MODELS[cell.model_type].config_class):
        return {}
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f"{cell.name!r} of {suite.title!r} reads word vectors, and there is no file {path}: give --word_vectors "
            "FILE, in GloVe's text format."
        )
    return {"word_vectors": os.path.abspath(path)}


def lacking(cell: Cell, protocol: str) -> str:
    """Say which regions a cell needs that a protocol does not have; return "" for none."""
    if cell.needs_regions and protocol == "none":
        return "means nothing without regions"
    return "means nothing without grounded regions" if cell.needs_grounded_regions and protocol == "detected" else ""


def arguments_of_system(model_type: str, train: dict[str, Any]) -> dict[str, Any]:
    """Leave out the arguments about encoders, word vectors and spaCy that a system of the suite does not have."""
    encoders = encoders_of(MODELS[model_type].config_class)
    others = {name for modality in MODALITIES if modality not in encoders for name in encoder_arguments(modality)}
    others |= {*WORD_ARGUMENTS} if "text" in encoders else set()
    others |= {"spacy_model"} - processor_names(model_type)
    return {name: value for name, value in train.items() if name not in others}


def inputs_of(cell: Cell, values: dict[str, Any]) -> set[str]:
    """Return the inputs that a cell reads; no pictures where the number of regions takes their place.

    Args:
        cell: the cell.
        values: of its run, of which those of the model's configuration count; words of a command line do.
    """
    names = config_names(cell.model_type)
    values = {name: yaml.safe_load(v) if isinstance(v, str) else v for name, v in values.items() if name in names}
    reads = {*make_config(cell.model_type, values).reads()}
    return reads - {"caption"} - PICTURE_INPUTS if cell.arguments.get("region_count_as_caption") else reads


def _common_name(files: list[str]) -> str:
    """Name caption files: `blip2` for `blip2_train.txt`, `blip2_val.txt` and `blip2_test.txt`."""
    stems = [Path(path).stem for path in files]
    return (os.path.commonprefix(stems) if len(stems) > 1 else "").rstrip("_-. ") or stems[0]


def data_arguments(cell: Cell, reads: set[str], args: BenchmarkArguments, captions: list[str] | None) -> dict[str, Any]:
    """Return the data that a cell is trained and tested on, in place of the recipe's.

    Args:
        cell: the cell.
        reads: what the cell reads, see [`inputs_of`].
        args: of the benchmark.
        captions: the caption files, if the cell reads captions.
    """
    use_images = bool(reads & PICTURE_INPUTS)
    if args.data in SHARED_RECIPES:
        places = dict.fromkeys(["data_dir", "image_dir", "regions", "captions"])
        return {"dataset": args.data, "use_images": use_images, **places}
    regions = os.path.abspath(args.regions) if args.protocol == "label_free" else args.protocol
    if not (use_images or cell.arguments.get("region_count_as_caption")):
        regions = "none"
    return {
        "dataset": "mnre",
        "data_dir": os.path.abspath(args.data),
        "regions": regions,
        "captions": [os.path.abspath(path) for path in captions] if captions else None,
        "use_images": use_images,
    }


def plan_runs(
    cell: Cell, name: str, recipe: str, values: dict[str, Any], train: dict[str, Any], args: BenchmarkArguments
) -> list[Run]:
    """Plan the runs of a cell, one for each seed.

    Args:
        cell: the cell.
        name: of the cell, with the source of its captions where there are several.
        recipe: name of its recipe.
        values: of the run's arguments.
        train: arguments that win over them.
        args: of the benchmark.
    """
    values = values | {"output_dir": str(args.out.absolute())}
    settings = resolve(values, {"model_type": cell.model_type} | train)
    sections, training = sections_of(settings), settings.training
    data = sections["data"]
    found = read_content(data)
    # Where the data lie is no part of what they are: their fingerprint is of their content.
    content = {
        "model": sections["model"],
        "data": data | dict.fromkeys(["data_dir", "image_dir", "picture_cache"]) | {"captions": bool(data["captions"])},
        "fingerprint": found.fingerprint,
        "sources": sources_digest(cell.model_type),
    }
    if sections["model"]["word_vectors"] is not None:
        content["model"] = sections["model"] | {"word_vectors": file_digest(sections["model"]["word_vectors"])}
    if data["regions"] not in (*MNRE_REGIONS, "drawn"):
        content["data"]["regions"] = "annotation file"
    posts = number_of_training_posts(data, found)
    batch = training.train_batch_size * training.gradient_accumulation_steps
    steps, epochs = training.max_steps, training.num_train_epochs
    if steps > 0:
        epochs = steps * batch / posts
    else:
        steps = math.ceil(math.ceil(posts / batch) * epochs)
    runs = []
    for seed in args.seeds:
        content["training"] = sections["training"] | {"seed": seed, "output_dir": None}
        address = digest(content)
        folder = args.out.absolute() / "cells" / address
        of_seed = sections | {"training": sections["training"] | {"seed": seed, "output_dir": str(folder)}}
        runs.append(Run(name, cell.model_type, recipe, of_seed, address, folder, posts, epochs, steps))
    return runs


__all__ = ["Row", "different_runs", "load_parsers", "plan_benchmark", "plan_rows", "read_recipes"]
