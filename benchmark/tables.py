"""The tables of a benchmark: what is measured of a suite, beside what the paper reports."""

from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from mmre.evaluation.protocol import region_protocol
from mmre.evaluation.relation_f1 import METRICS
from mmre.evaluation.run_record import read_metrics, read_predictions
from mmre.evaluation.significance import bootstrap_interval, check_same_posts
from mmre.posts.schema import NEGATIVE_RELATION

from .addresses import code_version
from .arguments import BenchmarkArguments
from .pairs import compare_pairs
from .plan import PROMPTED, Row
from .post_counts import count_posts
from .prompted import PromptedSystem
from .runs import Run
from .suite import Suite

# Of the record of a run, see `mmre.evaluation.cost`.
COSTS = ("parameters", "trained_parameters", "train_seconds_per_post", "test_seconds_per_post", "peak_memory")
F1_HEAD_FIRST = "f1_head_first"  # F1 on the posts whose head comes first in the text
PAPERS_FIGURES = "The papers' figures are of MNRE and stand here for orientation only."


def make_table(
    name: str,
    suite: Suite,
    rows: list[Row],
    args: BenchmarkArguments,
    prompted: Sequence[PromptedSystem] = (),
) -> dict[str, Any]:
    """Collect what is measured of a suite, beside what the paper reports.

    Args:
        name: of the suite.
        suite: the suite.
        rows: its cells and their runs, of which some may be missing.
        args: of the benchmark.
        prompted: chat models that were asked, each a row of its own below those of a suite that has such models.

    Returns:
        A table in JSON's types. All figures are per cent but counts and costs. `rows` have `measured`: for each metric
        the `mean` over the seeds that are there, the sample standard deviation `std` (null for one seed) and the
        `values`; `interval`: the 95 % bootstrap interval of `interval_of` (see [`bootstrap_interval`]); `paper` and its
        `source`; `not_run`, why there are no runs; of a cell the `regions` that it is given: none where it sees no
        picture; and in a table by relation the `system`. A comparison of systems has the `budget` of each, the
        `devices` of the runs, and `pairs`, see [`~mmre.benchmark.pairs.compare_pairs`].
    """
    protocol = region_protocol(args.regions or args.protocol)
    missing = [problem for row in rows for problem in _missing(row)]
    if suite.statistics is not None:
        counts = count_posts(args.data)
        lines = [
            _line(key, suite, (value,), {"count": [counts[key]]}, [], None) for key, value in suite.statistics.items()
        ]
        measured, paper_metrics = ["count"], ["count"]
    elif suite.per_relation is not None:
        lines = _relation_lines(suite, rows)
        measured, paper_metrics = ["precision", "recall", "f1", F1_HEAD_FIRST], ["f1"]
    else:
        lines = [_cell_line(suite, row) for row in rows]
        if suite.has_chat_models:
            lines += [_prompted_line(suite, system) for system in prompted]
        measured, paper_metrics = [*METRICS, F1_HEAD_FIRST], list(suite.paper_metrics)
        measured += COSTS if suite.compares else []
    runs = [run for row in rows for run in row.runs]
    done = [run for run in runs if run.state == "done"]
    records = [read_metrics(run.folder) for run in done]
    facts = [record["posts"] for record in records]
    no_picture = sorted(
        {fact["samples_without_image"]["test"] for fact in facts if fact["images"] == "used"} - {0}, reverse=True
    )
    return {
        "suite": name,
        "title": suite.title,
        "source": suite.source,
        "protocol": args.protocol,
        "protocol_note": f"{protocol.name}. {protocol.note}"
        + (f" {PAPERS_FIGURES}" if protocol.name == "drawn" and suite.source else ""),
        "protocol_title": protocol.title,
        "data": Path(args.data).name,
        "test_posts": max((fact["samples"]["test"] for fact in facts), default=None),
        "test_posts_without_picture": no_picture[0] if no_picture else 0,
        "markers_in_text_order": bool(facts) and all(fact.get("markers_in_text_order") for fact in facts),
        "regions": Path(args.regions).name if args.regions else None,
        "captions": sorted({Path(path).name for run in runs for path in run.settings["data"]["captions"] or []}),
        "recipes": sorted({run.recipe for run in runs}),
        "seeds": args.seeds if runs else [],
        "code": code_version({run.model_type for run in runs}),
        "measured": measured,
        "interval_of": None if suite.statistics else paper_metrics[-1],
        "paper_metrics": paper_metrics if suite.source else [],
        "rows": lines,
        "missing": missing,
        "budget": [_budget(row) for row in rows] if suite.compares else None,
        "devices": sorted({record["cost"]["device"] for record in records if "cost" in record}),
        "pairs": compare_pairs(rows) if suite.compares else None,
    }


def _budget(row: Row) -> dict[str, Any]:
    run = row.runs[0]
    training = run.settings["training"]
    batch = training["per_device_train_batch_size"] * training["gradient_accumulation_steps"]
    return {"name": row.name, "posts": run.posts, "epochs": run.epochs, "batch": batch, "steps": run.steps}


def _missing(row: Row) -> list[str]:
    """List the runs of a cell that are not there, and why; of a chat model, its line says so."""
    if row.reason:
        return [] if row.reason == PROMPTED else [f"{row.name}: {row.reason}"]
    states = {"failed": "failed: {}", "interrupted": "stopped before its end", "missing": "not run"}
    return [
        f"{row.name}, seed {run.seed}: {states[run.state].format(run.record.get('error'))}"
        for run in row.runs
        if run.state != "done"
    ]


def _line(
    name: str,
    suite: Suite,
    paper: tuple[float, ...],
    values: dict[str, list[float]],
    runs: list[Run],
    interval: tuple[float, float] | None,
) -> dict[str, Any]:
    """Make one row of a table."""
    paper_metrics = ("count",) if suite.statistics else suite.paper_metrics
    source = f"{suite.source}, {name}" if paper else f"{suite.source}: not printed" if suite.source else ""
    return {
        "name": name,
        "system": None,
        "test_posts": None,
        "runs": {run.seed: run.address for run in runs},
        "not_run": None,
        "measured": {
            metric: {"mean": mean(found), "std": stdev(found) if len(found) > 1 else None, "values": found}
            for metric, found in values.items()
            if found
        },
        "interval": interval and [100 * end for end in interval],
        "paper": dict(zip(paper_metrics, paper)),
        "source": source,
        "point": None,
        "regions": None,
    }


def _cell_line(suite: Suite, row: Row) -> dict[str, Any]:
    runs = [run for run in row.runs if run.state == "done"]
    records = [read_metrics(run.folder) for run in runs]
    values = {metric: [100 * record["test"][metric] for record in records] for metric in METRICS}
    values[F1_HEAD_FIRST] = _head_first([record["test"] for record in records])
    for name in COSTS if suite.compares else ():
        # Records of earlier versions have none.
        found = [record.get("cost", {}).get(name) for record in records]
        values[name] = [value for value in found if value is not None]
    interval = None
    if runs:
        predictions = [read_predictions(run.folder) for run in runs]
        check_same_posts(predictions, [run.folder for run in runs])
        interval = bootstrap_interval(predictions, suite.paper_metrics[-1])
    line = _line(row.cell.name, suite, row.cell.paper, values, runs, interval)
    point = row.cell.point
    if row.name != row.cell.name and point:  # a line of the plot for each source of captions
        point = (row.name.replace(row.cell.name, point[0]), point[1])
    regions = Path(row.runs[0].settings["data"]["regions"]).name if row.runs else None
    return line | {"name": row.name, "point": point, "regions": regions, "not_run": row.reason or None}


def _prompted_line(suite: Suite, system: PromptedSystem) -> dict[str, Any]:
    """Make the row of a chat model. It is never the paper's, whose prompt and parser nobody knows."""
    tests = [record["test"] for record in system.records]
    values = {metric: [100 * test[metric] for test in tests] for metric in METRICS}
    values[F1_HEAD_FIRST] = _head_first(tests)
    line = _line(system.name, suite, (), values, [], bootstrap_interval(system.predictions, suite.paper_metrics[-1]))
    runs = {seed: folder.name for seed, folder in system.folders.items()}
    return line | {"runs": runs, "source": "asked by mmre prompt, not trained", "regions": "none"}


def _head_first(tests: list[dict[str, Any]], relation: str | None = None) -> list[float]:
    """Return F1 on the posts whose head comes first, of each run; none if a run is older than these scores.

    Args:
        tests: scores of the test split of each run.
        relation: F1 of this relation alone; none if no such post has it.
    """
    found = [test.get("by_order", {}).get("head_first", {}) for test in tests]
    if relation is not None:
        rows = [scores.get("per_relation", {}).get(relation, {}) for scores in found]
        found = [row if row.get("support") else {} for row in rows]
    return [100 * scores["f1"] for scores in found] if all("f1" in scores for scores in found) else []


def _relation_lines(suite: Suite, rows: list[Row]) -> list[dict[str, Any]]:
    """Make a row for each relation that the paper lists or the test posts have, and each cell."""
    done = [[run for run in row.runs if run.state == "done"] for row in rows]
    tests = [[read_metrics(run.folder)["test"] for run in runs] for runs in done]
    scores = [[test["per_relation"] for test in found] for found in tests]
    predictions = [[read_predictions(run.folder) for run in runs] for runs in done]
    for runs, found in zip(done, predictions):
        if runs:
            check_same_posts(found, [run.folder for run in runs])
    first = next((found[0] for found in scores if found), {})
    support = {name: score["support"] for name, score in first.items()}
    others = sorted((name for name in support if support[name]), key=lambda name: -support[name])
    lines = []
    for name in dict.fromkeys([*suite.per_relation, *others]):
        if name == NEGATIVE_RELATION:
            continue
        for row, runs, found, whole, predicted in zip(rows, done, scores, tests, predictions):
            tested = runs if support.get(name) else []
            values = {
                metric: [100 * score[name][metric] for score in found] if tested else [] for metric in METRICS[1:]
            }
            values[F1_HEAD_FIRST] = _head_first(whole, name) if tested else []
            interval = bootstrap_interval(predicted, "f1", name) if tested else None
            paper = suite.per_relation.get(name)
            if paper is None and not tested:
                continue
            figure = (paper[suite.cells.index(row.cell)],) if paper else ()
            line = _line(name, suite, figure, values, tested, interval)
            line |= {"system": row.name, "test_posts": support.get(name, 0), "not_run": row.reason or None}
            lines.append(line)
    return lines


__all__ = ["COSTS", "F1_HEAD_FIRST", "make_table"]
