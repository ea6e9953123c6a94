"""The command `mmre-benchmark`: the papers' tables and figures by name, what they report beside what is measured.

    mmre-benchmark SUITE --data FOLDER|synthetic [options] [--any_argument_of_train.py value ...]
    mmre-benchmark compare RUN_A RUN_B

A suite is a table of cells. Each cell is a run of `train.py` for each seed, in a process of its own. Its address is a
hash of what its result comes from: the recipe, the content of the data, the code. A run that is there is not done
again, one that was stopped goes on, and one that fails is recorded while the rest goes on.
"""

import argparse
import csv
import json
import signal
import sys
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from mmre.evaluation.plots import plot_results
from mmre.evaluation.protocol import region_protocol
from mmre.evaluation.run_record import read_metrics, read_predictions
from mmre.evaluation.significance import (
    BOOTSTRAP_SAMPLES,
    bootstrap_interval,
    check_same_posts,
    compare,
)
from mmre.posts.checks import Problems
from mmre.posts.fingerprint import picture_keys
from mmre.posts.mnre import find_texts, index_files, read_posts
from mmre.posts.schema import NEGATIVE_RELATION
from mmre.posts.synthetic import make_synthetic_posts

from .runs import (
    Row,
    Run,
    code_version,
    do_run,
    find_train_script,
    given_names,
    load_script,
    plan_rows,
    seconds_per_visit,
)
from .suites import SUITES, Suite

# Beside results of synthetic posts.
PAPERS_FIGURES = "The papers' figures, of MNRE, stand here for orientation only."
METRICS = ("accuracy", "precision", "recall", "f1")
LABELS = {"accuracy": "accuracy", "precision": "P", "recall": "R", "f1": "F1", "count": "number"}
# What a cell, a seed and the options here decide.
OWN_ARGUMENTS = {"model_type", "dataset", "data_dir", "regions", "captions", "seed", "output_dir", "push_to_hub"}
OWN_ARGUMENTS |= {"resume_from_checkpoint", "do_train", "do_eval", "do_predict"}


def main(arguments: list[str] | None = None) -> int:
    """The command `mmre-benchmark`; its exit status is 1 if a run is missing at the end."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["compare"]:
        return compare_command(arguments[1:])
    options, extra = parse_options(arguments)
    suites = SUITES if options.suite == "all" else {options.suite: SUITES[options.suite]}
    try:
        train_script = find_train_script(options.train_script)
        train, code = load_script(train_script), code_version(train_script)
        configs = train_script.parent / "configs"
        plan = {
            name: plan_rows(suite, options, extra, train, configs, code["sources"]) for name, suite in suites.items()
        }
        has_counts = any(suite.statistics for suite in suites.values()) and not options.dry_run
        counts = count_posts(options.data) if has_counts else {}
    except (OSError, ValueError) as error:
        raise SystemExit(f"mmre-benchmark: {error}") from error
    # A run that stands in several tables is done once; all cells get their first seed before any gets its second.
    runs = {run.address: run for rows in plan.values() for row in rows for run in row.runs}
    runs = sorted(runs.values(), key=lambda run: options.seeds.index(run.seed))
    if options.dry_run:
        print(cost_table(plan, runs, options), end="")
        return 0
    stopped = False
    default = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # not without the run's process
    try:
        for number, run in enumerate(runs, start=1):
            print(f"[{number}/{len(runs)}] {run.name}, seed {run.seed}: ", end="", flush=True)
            print(do_run(run, train_script, code), flush=True)
    except KeyboardInterrupt:
        stopped = True
    finally:  # what is there is shown, also if the rest is stopped
        signal.signal(signal.SIGTERM, default)
        options.out.mkdir(parents=True, exist_ok=True)
        for name, suite in suites.items():
            table = make_table(name, suite, plan[name], options, code, counts)
            stem = options.out / f"{name}_{options.protocol}"
            print(f"\n{markdown(table)}\nWritten: {', '.join(map(str, write_table(table, suite, stem)))}")
    if stopped:
        print("\nStopped. The same command goes on.")
        return 128 + signal.SIGINT
    return int(any(run.state != "done" for run in runs))


def parse_options(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """The command line: the options here, and the arguments for `train.py`."""
    listing = "\n".join(f"  {name:16} {suite.source or 'no paper'}: {suite.title}" for name, suite in SUITES.items())
    parser = argparse.ArgumentParser(
        prog="mmre-benchmark",
        usage="mmre-benchmark SUITE --data FOLDER|synthetic [options] [--any_argument_of_train.py value ...]\n"
        "       mmre-benchmark compare RUN_A RUN_B [--json FILE]",
        description=__doc__.split("\n\n")[0],
        epilog=f"suites:\n{listing}\n  {'all':16} all of them\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("suite", choices=[*SUITES, "all"], metavar="SUITE", help="what to measure, see below")
    parser.add_argument("--data", required=True, help="a folder of MNRE files, or 'synthetic'")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="default: 1 2 3")
    parser.add_argument(
        "--protocol",
        choices=["released", "label_free", "none"],
        help="of MNRE, whose regions: 'released' (the default and the papers'; they leak the label), 'label_free' "
        "(those of --regions), or 'none'",
    )
    parser.add_argument("--regions", metavar="FILE", help="annotation file of mmre-annotate, for label_free")
    parser.add_argument(
        "--captions",
        nargs="+",
        action="append",
        metavar="FILE",
        help="of MNRE: caption files, or an annotation file; given twice, cells with captions are measured with each",
    )
    parser.add_argument(
        "--config",
        type=Path,
        nargs="+",
        default=[],
        metavar="YAML",
        help="recipe in place of the papers': of FocalMRE, of TGDI (and the baselines), or one of each",
    )
    parser.add_argument("--out", type=Path, default=Path("outputs/benchmark"), help="default: %(default)s")
    parser.add_argument("--dry_run", action="store_true", help="only list the cells and what they cost")
    parser.add_argument("--train_script", type=Path, metavar="FILE", help="train.py, if not in the current folder")
    options, extra = parser.parse_known_args(arguments)
    taken = sorted(given_names(extra) & OWN_ARGUMENTS)
    if taken:
        parser.error(f"--{taken[0]} is set for each run: see --data, --protocol, --regions, --captions, --seeds, --out")
    if options.data == "synthetic":
        wrong = [name for name in ("protocol", "regions", "captions") if getattr(options, name)]
        if wrong:
            parser.error(f"--{wrong[0]}: synthetic posts have their own regions and captions: leave it out")
        options.protocol = "drawn"
    else:
        options.protocol = options.protocol or "released"
        if (options.protocol == "label_free") != (options.regions is not None):
            parser.error("--protocol label_free and --regions FILE, an annotation file, belong together")
    if len(set(options.seeds)) < len(options.seeds):
        parser.error(f"--seeds: each seed once, got {options.seeds}")
    return options, extra


def count_posts(data: str) -> dict[str, int]:
    """The statistics of TGDI's Table 1: pictures, sentences, posts, entities and relations of all splits."""
    if data == "synthetic":
        splits = make_synthetic_posts().values()
        pictures = {key for rows in splits for key in picture_keys(rows)}
        posts = [row for rows in splits for row in rows.select_columns(["text", "relation"])]
    else:
        problems = Problems()
        posts = [
            post
            for split, path in find_texts(index_files(data), data).items()
            for post in read_posts(path, split, problems).values()
        ]
        problems.raise_if_any()
        pictures = {post["img_id"] for post in posts}
    return {
        "Image": len(pictures),
        "Sentence": len({post["text"] for post in posts}),
        "Instance": len(posts),
        "Entity": 2 * len(posts),
        "Relation": len({post["relation"] for post in posts}),
    }


def make_table(
    name: str,
    suite: Suite,
    rows: list[Row],
    options: argparse.Namespace,
    code: dict[str, str | None],
    counts: dict[str, int],
) -> dict[str, Any]:
    """What is measured of a suite, beside what the paper reports.

    Args:
        name: of the suite.
        suite: the suite.
        rows: its cells and their runs, of which some may be missing.
        options: of the command line.
        code: version of the code.
        counts: the statistics of the data, if the suite shows them.

    Returns:
        A table that JSON can say. All figures are per cent but counts. `rows` have `measured`: for each metric the
        `mean` over the seeds that are there, the sample standard deviation `std` (null for one seed) and the `values`;
        `interval`: the 95 % bootstrap interval of `interval_of` (see [`bootstrap_interval`]); `paper` and its `source`;
        and of a cell the `regions` that it is given: none where it sees no picture.
    """
    protocol = region_protocol(options.regions or options.protocol)
    missing = [problem for row in rows for problem in _missing(row)]
    if suite.statistics is not None:
        lines = [
            _line(key, suite, (value,), {"count": [counts[key]]}, [], None) for key, value in suite.statistics.items()
        ]
        measured, paper_metrics = ["count"], ["count"]
    elif suite.per_relation is not None:
        lines = [line for row in rows for line in _relation_lines(suite, row)]
        measured, paper_metrics = ["precision", "recall", "f1"], ["f1"]
    else:
        lines = [_cell_line(suite, row) for row in rows]
        measured, paper_metrics = list(METRICS), list(suite.paper_metrics)
    runs = [run for row in rows for run in row.runs]
    done = [run for run in runs if run.state == "done"]
    facts = [read_metrics(run.folder)["posts"] for run in done]
    no_picture = sorted(
        {fact["samples_without_image"]["test"] for fact in facts if fact["images"] == "used"} - {0}, reverse=True
    )
    return {
        "suite": name,
        "title": suite.title,
        "source": suite.source,
        "protocol": options.protocol,
        "protocol_note": f"{protocol.name}. {protocol.note}"
        + (f" {PAPERS_FIGURES}" if protocol.name == "drawn" else ""),
        "protocol_title": protocol.title,
        "data": Path(options.data).name,
        "test_posts": max((fact["samples"]["test"] for fact in facts), default=None),
        "test_posts_without_picture": no_picture[0] if no_picture else 0,
        "regions": Path(options.regions).name if options.regions else None,
        "captions": sorted({Path(path).name for run in runs for path in run.settings["data"]["captions"] or []}),
        "recipes": sorted({run.recipe for run in runs}),
        "seeds": options.seeds if runs else [],
        "code": code,
        "measured": measured,
        "interval_of": None if suite.statistics else paper_metrics[-1],
        "paper_metrics": paper_metrics,
        "rows": lines,
        "missing": missing,
    }


def _missing(row: Row) -> list[str]:
    """Which runs of a cell are not there, and why."""
    if not row.runs:
        return [f"{row.name}: means nothing without regions"]
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
    point: tuple[str, float | str] | None = None,
    test_posts: int | None = None,
) -> dict[str, Any]:
    """One row of a table."""
    paper_metrics = ("count",) if suite.statistics else suite.paper_metrics
    source = f"{suite.source}, {name}" if paper else f"{suite.source}: not printed" if suite.source else ""
    return {
        "name": name,
        "test_posts": test_posts,
        "runs": {run.seed: run.address for run in runs},
        "measured": {
            metric: {"mean": mean(found), "std": stdev(found) if len(found) > 1 else None, "values": found}
            for metric, found in values.items()
            if found
        },
        "interval": interval and [100 * end for end in interval],
        "paper": dict(zip(paper_metrics, paper)),
        "source": source,
        "point": point,
        "regions": None,
    }


def _cell_line(suite: Suite, row: Row) -> dict[str, Any]:
    runs = [run for run in row.runs if run.state == "done"]
    scores = [read_metrics(run.folder)["test"] for run in runs]
    values = {metric: [100 * score[metric] for score in scores] for metric in METRICS}
    interval = None
    if runs:
        predictions = [read_predictions(run.folder) for run in runs]
        check_same_posts(predictions, [run.folder for run in runs])
        interval = bootstrap_interval(predictions, suite.paper_metrics[-1])
    line = _line(row.cell.name, suite, row.cell.paper, values, runs, interval, row.cell.point)
    if row.name != row.cell.name and row.cell.point:  # a line of the plot for each source of captions
        line["point"] = (row.name.replace(row.cell.name, row.cell.point[0]), row.cell.point[1])
    regions = Path(row.runs[0].settings["data"]["regions"]).name if row.runs else None
    return line | {"name": row.name, "regions": regions}


def _relation_lines(suite: Suite, row: Row) -> list[dict[str, Any]]:
    """A row for each relation that the paper lists or the test posts have."""
    runs = [run for run in row.runs if run.state == "done"]
    scores = [read_metrics(run.folder)["test"]["per_relation"] for run in runs]
    predictions = [read_predictions(run.folder) for run in runs]
    support = {name: score["support"] for name, score in scores[0].items()} if scores else {}
    if runs:
        check_same_posts(predictions, [run.folder for run in runs])
    others = sorted((name for name in support if support[name]), key=lambda name: -support[name])
    lines = []
    for name in dict.fromkeys([*suite.per_relation, *others]):
        if name == NEGATIVE_RELATION:
            continue
        tested = runs if support.get(name) else []
        values = {metric: [100 * score[name][metric] for score in scores] if tested else [] for metric in METRICS[1:]}
        interval = bootstrap_interval(predictions, "f1", name) if tested else None
        paper = (suite.per_relation[name],) if name in suite.per_relation else ()
        lines.append(_line(name, suite, paper, values, tested, interval, test_posts=support.get(name, 0)))
        if len(row.name) > len(row.cell.name):
            lines[-1]["name"] = name + row.name.removeprefix(row.cell.name)
    return lines


def markdown(table: dict[str, Any]) -> str:
    """A table as Markdown, with all that one has to know to read it."""
    source = f" ({table['source']})" if table["source"] else ""
    lines = [f"### {table['suite']}: {table['title']}{source}", "", f"Protocol: {table['protocol_note']}"]
    facts = [f"Data: {table['data']}"]
    facts += [f"{table['test_posts']:,} test posts"] if table["test_posts"] else []
    for label in ("recipes", "captions", "seeds"):
        facts += [f"{label} {', '.join(map(str, table[label]))}"] if table[label] else []
    facts += [f"regions {table['regions']}"] if table["regions"] else []
    lines += ["", f"{'; '.join(facts)}; code {(table['code']['commit'] or table['code']['sources'])[:12]}."]
    without = [row["name"] for row in table["rows"] if row["regions"] == "none"]
    if without and table["protocol"] != "none":
        lines.append(f"Without regions, under each protocol: {', '.join(without)}.")
    if table["test_posts_without_picture"]:
        lines.append(f"{table['test_posts_without_picture']:,} of the test posts had no picture.")
    by_relation = any(row["test_posts"] is not None for row in table["rows"])
    header = ["relation" if by_relation else ""] + (["test posts"] if by_relation else [])
    header += ["seeds"] if table["seeds"] else []
    header += [LABELS[metric] for metric in table["measured"]]
    header += [f"{LABELS[table['interval_of']]}, 95 % interval"] if table["interval_of"] else []
    header += [f"paper: {LABELS[metric]}" for metric in table["paper_metrics"]] + ["source"]
    lines += ["", f"| {' | '.join(header)} |", f"|---|{'--:|' * (len(header) - 2)}---|"]
    for row in table["rows"]:
        cells = [row["name"]] + ([str(row["test_posts"])] if by_relation else [])
        cells += [str(len(row["runs"]))] if table["seeds"] else []
        cells += [_measured(metric, row["measured"].get(metric)) for metric in table["measured"]]
        if table["interval_of"]:
            cells.append("{:.2f} to {:.2f}".format(*row["interval"]) if row["interval"] else "")
        cells += [_number(metric, row["paper"].get(metric)) for metric in table["paper_metrics"]]
        lines.append(f"| {' | '.join([*cells, row['source']])} |")
    if table["interval_of"]:
        lines += [
            "",
            "±: sample standard deviation over the seeds. Interval: bootstrap over the test posts "
            f"({BOOTSTRAP_SAMPLES:,} samples; each scores all seeds on the same posts and takes their mean): it says "
            "what other test posts could give, not what other seeds could. Paper: on MNRE with the released regions.",
        ]
    lines += ["", *(f"- Missing: {problem}" for problem in table["missing"])] if table["missing"] else []
    return "\n".join(lines) + "\n"


def _measured(metric: str, found: dict[str, Any] | None) -> str:
    if found is None:
        return ""
    return _number(metric, found["mean"]) + (f" ± {found['std']:.2f}" if found["std"] is not None else "")


def _number(metric: str, value: float | None) -> str:
    return "" if value is None else f"{value:,}" if metric == "count" else f"{value:.2f}"


def write_table(table: dict[str, Any], suite: Suite, stem: Path) -> list[Path]:
    """Write a table as Markdown, CSV and JSON, and its plot if it has one.

    Args:
        table: the table.
        suite: whose axes the plot has.
        stem: path of the files without their endings.

    Returns:
        The files.
    """
    files = [stem.with_name(stem.name + ending) for ending in (".md", ".csv", ".json", ".png")]
    files[0].write_text(markdown(table), "utf-8")
    columns = [
        {
            "suite": table["suite"],
            "protocol": table["protocol"],
            "name": row["name"],
            "test_posts": table["test_posts"] if row["test_posts"] is None else row["test_posts"],
            "seeds": " ".join(map(str, row["runs"])),
            **{
                f"{metric}_{part}": row["measured"].get(metric, {}).get(part)
                for metric in table["measured"]
                for part in ("mean", "std")
            },
            "interval_of": table["interval_of"],
            **dict(zip(("low", "high"), row["interval"] or (None, None))),
            **{f"paper_{metric}": row["paper"].get(metric) for metric in table["paper_metrics"]},
            "source": row["source"],
            "regions": row["regions"],
        }
        for row in table["rows"]
    ]
    with files[1].open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(columns[0]))
        writer.writeheader()
        writer.writerows(columns)
    files[2].write_text(json.dumps(table, indent=2, ensure_ascii=False) + "\n", "utf-8")
    metric = table["paper_metrics"][-1]
    points = [
        {
            "line": row["point"][0],
            "x": row["point"][1],
            **{part: row["measured"].get(metric, {}).get(part) for part in ("mean", "std")},
            "paper": row["paper"].get(metric),
        }
        for row in table["rows"]
        if row["point"]
    ]
    if all(point["mean"] is None for point in points):
        return files[:3]
    # A picture gets about without its table: it says itself what it shows.
    title = f"{table['suite']}: {table['title']}\n{table['data']}, {table['protocol_title']}"
    plot_results(points, *suite.axes, files[3], title)
    return files


def cost_table(plan: dict[str, list[Row]], runs: list[Run], options: argparse.Namespace) -> str:
    """What would be run, and what it costs, in Markdown."""
    per_visit = seconds_per_visit(options.out)
    lines = [
        "| suite | cell | recipe | training posts | epochs | steps per seed | seeds done | hours to go |",
        "|---|---|---|--:|--:|--:|--:|--:|",
    ]
    for name, rows in plan.items():
        if not rows:
            lines.append(f"| {name} | (counts posts, nothing to train) | | | | | | |")
        for row in rows:
            if not row.runs:
                lines.append(f"| {name} | {row.name} | (means nothing without regions) | | | | | |")
                continue
            run, to_do = row.runs[0], [run for run in row.runs if run.state != "done"]
            lines.append(
                f"| {name} | {row.name} | {run.recipe} | {run.posts:,} | {run.epochs:g} | {run.steps:,} | "
                f"{len(row.runs) - len(to_do)} of {len(row.runs)} | {_hours(to_do, per_visit)} |"
            )
    to_do = [run for run in runs if run.state != "done"]
    hours = _hours(to_do, per_visit)
    lines += [
        "",
        f"{len(runs)} different runs, {len(to_do)} to do: {sum(run.steps for run in to_do):,} steps, "
        f"{sum(run.visits for run in to_do):,} times a training post"
        + (f", {hours} hours, going by the runs that are done." if hours else ". Hours: when a run is done."),
    ]
    return "\n".join(lines) + "\n"


def _hours(runs: list[Run], per_visit: dict[str, float]) -> str:
    """What runs take, going by those of the same model that are done, else by those of the same recipe."""
    known = [per_visit.get(run.kind, per_visit.get(run.recipe)) for run in runs]
    if None in known:
        return ""
    return f"{sum(run.visits * seconds for run, seconds in zip(runs, known)) / 3600:.2f}"


def compare_command(arguments: list[str]) -> int:
    """The command `mmre-benchmark compare`."""
    parser = argparse.ArgumentParser(
        prog="mmre-benchmark compare",
        description="Paired bootstrap and McNemar's test between two runs on the same test posts.",
    )
    for name in ("a", "b"):
        parser.add_argument(name, metavar=f"RUN_{name.upper()}", help="predictions.jsonl, or the folder that holds it")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    args = parser.parse_args(arguments)
    if args.json and not args.json.absolute().parent.is_dir():
        parser.error(f"--json {args.json}: there is no folder {args.json.parent}")
    try:
        result = compare(read_predictions(args.a), read_predictions(args.b))
    except (OSError, ValueError) as error:
        parser.error(str(error))
    if args.json:
        args.json.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", "utf-8")
    difference, test = result["f1_difference"], result["mcnemar"]
    print(f"{result['posts']:,} test posts.\n\n| run | accuracy | P | R | F1 | F1, 95 % interval |")
    print("|---|--:|--:|--:|--:|--:|")
    for name in ("a", "b"):
        values = [f"{100 * result[name][metric]:.2f}" for metric in METRICS]
        interval = "{:.2f} to {:.2f}".format(*(100 * end for end in result[name]["interval"]))
        print(f"| {name.upper()}: {getattr(args, name)} | {' | '.join(values)} | {interval} |")
    low, high = (100 * end for end in difference["interval"])
    print(
        f"\nF1 of A minus F1 of B: {100 * difference['value']:+.2f}, 95 % interval {low:+.2f} to {high:+.2f}, "
        f"p = {difference['p_value']:.4f} (paired bootstrap, {BOOTSTRAP_SAMPLES:,} samples of the posts).\n"
        f"Only A is right on {test['only_a']} posts, only B on {test['only_b']}: p = {test['p_value']:.4f} "
        "(McNemar's exact test)."
    )
    return 0


__all__ = ["count_posts", "main", "make_table", "markdown", "parse_options", "write_table"]


if __name__ == "__main__":
    raise SystemExit(main())
