"""A search for the values of a recipe: each combination is a run, and those on the validation split decide."""

import itertools
from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

import yaml

from mmre.evaluation.run_record import read_metrics
from mmre.modeling import MODELS
from mmre.processing.suggestions import unknown
from mmre.training.arguments import ModelArguments
from mmre.training.settings import SECTIONS, read_config, resolve

from .arguments import BenchmarkArguments
from .plan import Row, plan_rows
from .suite import OWN_ARGUMENTS, Cell, Suite

# A search never looks at the test split.
BLIND = {"do_predict": False}
# What posts the runs read.
DATA_ARGUMENTS = ("dataset", "data_dir", "image_dir", "regions", "captions", "use_images")


def plan_search(
    config: str, values: Mapping[str, Sequence[Any]], args: BenchmarkArguments, model_type: str | None = None
) -> list[Row]:
    """Plan the runs of a search.

    Args:
        config: path or name of the recipe to start from.
        values: the values to try of each argument of `mmre train`.
        args: of the benchmark: data, seeds, protocol, captions, folder, further arguments.
        model_type: the system, if not the recipe's.

    Returns:
        A row for each combination, with its runs.

    Raises:
        ValueError: if a value cannot be right or stands twice, an argument is both tried and given, or is one that
            another option of the search sets.
        OSError: if the recipe or data are missing.
    """
    recipe = read_config(config)
    model_type = model_type or recipe.get("model_type", ModelArguments.model_type)
    if model_type not in MODELS:
        raise ValueError(unknown("model_type", model_type, MODELS))
    for name, tried in values.items():
        if name in OWN_ARGUMENTS | {*DATA_ARGUMENTS}:
            known = "--model_type, --data, --protocol, --regions, --captions, --seeds"
            raise ValueError(f"--try {name}: it is the same for all runs: see {known}")
        twice = next((value for value in tried if tried.count(value) > 1), None)
        if twice is not None:
            raise ValueError(f"--try {name}: each value once, got {twice} {tried.count(twice)} times")
    cells = [
        Cell(", ".join(f"{name} {value}" for name, value in tried.items()) or "as it is", model_type, tried | BLIND)
        for tried in (dict(zip(values, chosen)) for chosen in itertools.product(*values.values()))
    ]
    suite = Suite(title="the search", cells=tuple(cells))
    return plan_rows(suite, args, {model_type: (str(config), recipe)})


def ranking(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Rank the combinations by the mean of their best validation F1 over the seeds, the best first.

    Args:
        rows: of [`plan_search`], whose runs were done; those without any finished run are last.

    Returns:
        Of each combination its `name`, the `values` tried, the means `f1`, `precision` and `recall` in per cent, and by
        seed the F1 (`seeds`) and the address (`runs`).
    """
    found = []
    for row in rows:
        done = [run for run in row.runs if run.state == "done"]
        metrics = [read_metrics(run.folder) for run in done]
        line = {"name": row.name, "values": {n: v for n, v in row.cell.arguments.items() if n not in BLIND}}
        line["seeds"] = {run.seed: 100 * each["validation"]["f1"] for run, each in zip(done, metrics)}
        for name in ("f1", "precision", "recall"):
            line[name] = mean(100 * each["validation"][name] for each in metrics) if metrics else None
        line["runs"] = {run.seed: run.address for run in done}
        found.append(line)
    return sorted(found, key=lambda line: -1 if line["f1"] is None else line["f1"], reverse=True)


def search_table(lines: Sequence[Mapping[str, Any]], title: str) -> str:
    """Format a ranking in Markdown."""
    seeds = sorted({seed for line in lines for seed in line["seeds"]})
    header = ["tried", "validation P", "R", "F1", *(f"F1, seed {seed}" for seed in seeds if len(seeds) > 1)]
    text = [f"### Search: {title}", "", f"| {' | '.join(header)} |", f"|---|{'--:|' * (len(header) - 1)}"]
    for line in lines:
        cells = [f"{line[name]:.2f}" if line[name] is not None else "" for name in ("precision", "recall", "f1")]
        if len(seeds) > 1:
            cells += [f"{line['seeds'][seed]:.2f}" if seed in line["seeds"] else "" for seed in seeds]
        text.append(f"| {line['name']} | {' | '.join(cells)} |")
    return "\n".join([*text, "", "The test split was not looked at.", ""])


def best_recipe(
    config: str,
    row: Mapping[str, Any],
    train: Mapping[str, Any],
    data: Mapping[str, Any],
    model_type: str | None = None,
) -> str:
    """Return the recipe with the best values, in YAML, to be given to `mmre train` and `mmre benchmark --config`.

    Args:
        config: path or name of the recipe that the search began with.
        row: of [`ranking`].
        train: further arguments that all runs had.
        data: the section `data` of the settings of a run: the recipe is for the posts that were searched on.
        model_type: the system, if not the recipe's.
    """
    recipe = read_config(config) | {name: data[name] for name in DATA_ARGUMENTS}
    settings = resolve(recipe, row["values"] | train | ({"model_type": model_type} if model_type else {}))
    found = {section: {} for section in SECTIONS}
    for name in ("model_type", *recipe, *row["values"], *train):
        if name in settings.values:
            found["model"][name] = settings.values[name]
        for section in SECTIONS:
            value = getattr(getattr(settings, section), name, None)
            if value is not None:
                found[section][name] = getattr(value, "value", value)
    return yaml.safe_dump(found, sort_keys=False)


__all__ = ["best_recipe", "plan_search", "ranking", "search_table"]
