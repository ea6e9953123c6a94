"""The plan of a benchmark: the runs that its suites need, each with its settings and its address."""

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mmre.modeling import MODELS
from mmre.posts.sources import MADE_DATA
from mmre.training.arguments import MODALITIES, encoder_arguments, encoders_of
from mmre.training.record import sections_of
from mmre.training.settings import WORD_ARGUMENTS, read_config, resolve, shipped_configurations
from mmre.training.system_values import config_names

from .addresses import digest, sources_digest
from .arguments import BenchmarkArguments
from .post_counts import number_of_training_posts, read_content
from .runs import Run
from .suites import Cell, Suite

# What a system reads that has to do with the picture.
PICTURE_INPUTS = {"image", "regions", "boxes"}
# The recipe that all systems share, of each data set that the code makes.
SHARED_RECIPES = {"synthetic": "quickstart", "digits": "digits"}


@dataclass
class Row:
    """A cell of a suite with its runs, one for each seed; none under a protocol where the cell means nothing."""

    cell: Cell
    name: str
    runs: list[Run]


def plan_benchmark(args: BenchmarkArguments) -> dict[str, list[Row]]:
    """Plan the runs of all suites. Recipes and data are read before anything is run.

    Args:
        args: of the benchmark.

    Returns:
        The rows of each suite, by its name.

    Raises:
        ValueError: if a recipe, an argument or the data is wrong, an argument would undo what a cell is, or captions
            are missing.
        OSError: if a recipe or data are missing.
    """
    recipes = read_recipes(args.config)
    return {name: plan_rows(suite, args, recipes) for name, suite in args.suites.items()}


def different_runs(plan: dict[str, list[Row]], seeds: list[int]) -> list[Run]:
    """List the runs of a plan: each address once, and all cells with their first seed before any with its second."""
    runs = {run.address: run for rows in plan.values() for row in rows for run in row.runs}
    return sorted(runs.values(), key=lambda run: seeds.index(run.seed))


def read_recipes(paths: list[str]) -> dict[str, tuple[str, dict[str, Any]]]:
    """Read recipes that take the place of the shipped ones.

    Returns:
        Of each system, the recipe's name and its values.

    Raises:
        ValueError: if two are of one system.
    """
    recipes, given = {}, {}
    for path in paths:
        values = read_config(path)
        model_type = values.get("model_type", "focalmre")
        if model_type in given:
            raise ValueError(f"--config: {given[model_type]} and {path} are both recipes of {model_type}: give one.")
        given[model_type] = path
        recipes[model_type] = Path(path).stem, values
    return recipes


def shipped_recipe(cell: Cell, data: str) -> str:
    """Name the shipped recipe of a cell: on made posts its system's own, else the one that all share."""
    if data not in SHARED_RECIPES:
        return cell.recipe or f"{cell.model_type}_mnre"
    own = f"{cell.model_type}_{SHARED_RECIPES[data]}"
    return own if own in shipped_configurations() else SHARED_RECIPES[data]


def plan_rows(suite: Suite, args: BenchmarkArguments, recipes: dict[str, tuple[str, dict[str, Any]]]) -> list[Row]:
    """Plan the runs of a suite; for the arguments see [`plan_benchmark`]."""
    is_mnre = args.data not in MADE_DATA
    rows = []
    for cell in suite.cells:
        if cell.needs_regions and args.protocol == "none":
            rows.append(Row(cell, cell.name, []))
            continue
        train = arguments_of_system(cell.model_type, args.train)
        undone = sorted({*train} & {*cell.arguments})
        if undone:
            raise ValueError(f"--{undone[0]} is what {cell.name!r} of {suite.title!r} is about: leave it out.")
        shipped = shipped_recipe(cell, args.data)
        recipe, values = recipes.get(cell.model_type) or (shipped, read_config(shipped))
        values = values | cell.arguments
        reads = inputs_of(cell, values | train)
        captions = [None]
        if is_mnre and "caption" in reads:
            captions = args.captions or [values.get("captions")]
            if captions == [None]:
                raise ValueError(f"{cell.name!r} of {suite.title!r} reads captions of the pictures: give --captions.")
        for files in captions:
            name = cell.name if len(captions) == 1 else f"{cell.name} ({_common_name(files)})"
            runs = plan_runs(cell, name, recipe, values | data_arguments(cell, reads, args, files), train, args)
            rows.append(Row(cell, name, runs))
    return rows


def arguments_of_system(model_type: str, train: dict[str, Any]) -> dict[str, Any]:
    """Leave out what is said of encoders and word vectors that this system of a suite does not have."""
    encoders = encoders_of(MODELS[model_type].config_class)
    others = {name for modality in MODALITIES if modality not in encoders for name in encoder_arguments(modality)}
    others |= {*WORD_ARGUMENTS} if "text" in encoders else set()
    return {name: value for name, value in train.items() if name not in others}


def inputs_of(cell: Cell, values: dict[str, Any]) -> set[str]:
    """Tell what a cell reads of a post, and of its pictures: nothing is read where a number takes their place.

    Args:
        cell: the cell.
        values: of its run, of which those of the model's configuration count; words of a command line do.
    """
    names = config_names(cell.model_type)
    values = {name: yaml.safe_load(v) if isinstance(v, str) else v for name, v in values.items() if name in names}
    reads = {*MODELS[cell.model_type].config_class(**values).reads()}
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
    if args.data in MADE_DATA:
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
        "data": data | dict.fromkeys(["data_dir", "image_dir"]) | {"captions": bool(data["captions"])},
        "fingerprint": found.fingerprint,
        "sources": sources_digest(cell.model_type),
    }
    if data["regions"] not in ("released", "none", "drawn"):
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


__all__ = ["Row", "different_runs", "plan_benchmark", "plan_rows", "read_recipes"]
