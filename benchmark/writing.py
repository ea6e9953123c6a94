"""Output of a benchmark: tables as Markdown, CSV, JSON and plot, the cost of a plan, the comparison of two runs."""

import csv
import json
from pathlib import Path
from typing import Any

from mmre.evaluation.plots import plot_results
from mmre.evaluation.relation_f1 import METRICS
from mmre.evaluation.significance import BOOTSTRAP_SAMPLES
from mmre.posts.whole_file import whole_file

from .plan import Row
from .runs import Run, seconds_per_visit
from .suite import Suite
from .tables import COSTS, F1_HEAD_FIRST

LABELS = {
    **{"accuracy": "accuracy", "precision": "P", "recall": "R", "f1": "F1", "count": "number"},
    F1_HEAD_FIRST: "F1, head first",
    **{"parameters": "parameters", "trained_parameters": "trained", "peak_memory": "peak memory, MiB"},
    **{"train_seconds_per_post": "training, ms per post", "test_seconds_per_post": "testing, ms per post"},
}


def markdown(table: dict[str, Any]) -> str:
    """Format a table in Markdown, with what a reader has to know of it."""
    source = f" ({table['source']})" if table["source"] else ""
    lines = [f"### {table['suite']}: {table['title']}{source}", "", f"Protocol: {table['protocol_note']}"]
    facts = [f"Data: {table['data']}"]
    facts += [f"{table['test_posts']:,} test posts"] if table["test_posts"] else []
    for label in ("recipes", "captions", "seeds"):
        facts += [f"{label} {', '.join(map(str, table[label]))}"] if table[label] else []
    facts += [f"regions {table['regions']}"] if table["regions"] else []
    lines += ["", f"{'; '.join(facts)}; code {_code(table['code'])}."]
    without = [row["name"] for row in table["rows"] if row["regions"] == "none"]
    if without and table["protocol"] != "none":
        lines.append(f"Without regions, under each protocol: {', '.join(without)}.")
    if table["markers_in_text_order"]:
        lines.append("Markers in text order: no model was told which entity is the head.")
    if table["test_posts_without_picture"]:
        lines.append(f"{table['test_posts_without_picture']:,} of the test posts had no picture.")
    lines += _budget(table["budget"]) if table["budget"] else []
    by_relation = any(row["system"] for row in table["rows"])
    has_runs = bool(table["seeds"]) or any(row["not_run"] for row in table["rows"])
    metrics = [metric for metric in table["measured"] if metric not in COSTS]
    costs = [metric for metric in table["measured"] if metric in COSTS]
    names = ["relation", "system"] if by_relation else [""]
    header = names + (["test posts"] if by_relation else []) + (["seeds"] if has_runs else [])
    header += [LABELS[metric] for metric in metrics]
    header += [f"{LABELS[table['interval_of']]}, 95 % interval"] if table["interval_of"] else []
    header += [LABELS[metric] for metric in costs] + [f"paper: {LABELS[metric]}" for metric in table["paper_metrics"]]
    lines += ["", f"| {' | '.join(header)} |{' source |' if table['source'] else ''}"]
    lines.append(f"|{'---|' * len(names)}{'--:|' * (len(header) - len(names))}{'---|' if table['source'] else ''}")
    for row in table["rows"]:
        cells = [row["name"]] + ([row["system"], str(row["test_posts"])] if by_relation else [])
        cells += [row["not_run"] or str(len(row["runs"]))] if has_runs else []
        cells += [_measured(metric, row["measured"].get(metric)) for metric in metrics]
        if table["interval_of"]:
            cells.append("{:.2f} to {:.2f}".format(*row["interval"]) if row["interval"] else "")
        cells += [_measured(metric, row["measured"].get(metric)) for metric in costs]
        cells += [_number(metric, row["paper"].get(metric)) for metric in table["paper_metrics"]]
        cells += [row["source"]] if table["source"] else []
        lines.append(f"| {' | '.join(cells)} |")
    if table["interval_of"]:
        lines += [
            "",
            "±: sample standard deviation over the seeds. Interval: bootstrap over the test posts "
            f"({BOOTSTRAP_SAMPLES:,} samples; each scores all seeds on the same posts and takes their mean): it says "
            "what other test posts could give, not what other seeds could. Head first: on the test posts whose head "
            "comes first in the text." + (" Paper: on MNRE with the released regions." if table["source"] else ""),
        ]
    lines += _costs_and_pairs(table) if table["budget"] else []
    lines += ["", *(f"- Missing: {problem}" for problem in table["missing"])] if table["missing"] else []
    return "\n".join(lines) + "\n"


def _budget(budgets: list[dict[str, Any]]) -> list[str]:
    """Say what each system may spend; one by one where they differ."""
    words = [
        f"{budget['epochs']:g} epochs of {budget['posts']:,} posts in batches of {budget['batch']}, "
        f"{budget['steps']:,} steps"
        for budget in budgets
    ]
    if len({*words}) == 1:
        return [f"Budget of each system and seed: {words[0]}; the best epoch by validation F1 is tested."]
    named = [f"{budget['name']} {spent}" for budget, spent in zip(budgets, words)]
    return [f"**The budgets differ**: {'; '.join(named)}."]


def _costs_and_pairs(table: dict[str, Any]) -> list[str]:
    """Say what the costs are of, and list the pairs of systems."""
    lines = [
        "Parameters: all, and those that the training changes. Times: of whole steps, with the reading of the posts, "
        "without evaluations and checkpoints; a post counts as often as it was seen. Memory: the most that the process "
        "of a run held in main memory, or on a GPU allocated there. All are means over the seeds, measured by the runs "
        f"themselves, on: {'; '.join(table['devices']) or 'not recorded'}.",
    ]
    pairs = table["pairs"]
    if not pairs:
        return lines
    lines += [
        "",
        "| A | B | seeds | F1 of A minus F1 of B | 95 % interval | p | p, corrected |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    for pair in pairs:
        numbers = [
            f"{len(pair['seeds'])}",
            f"{pair['difference']:+.2f}",
            "{:+.2f} to {:+.2f}".format(*pair["interval"]),
        ]
        numbers += [f"{pair['p_value']:.4f}", f"{pair['corrected_p_value']:.4f}"]
        lines.append(f"| {pair['a']} | {pair['b']} | {' | '.join(numbers)} |")
    return [
        *lines,
        "",
        f"p: paired bootstrap over the test posts ({BOOTSTRAP_SAMPLES:,} samples; each scores both systems on the same "
        "posts, with the mean F1 over the seeds that both have), two-sided: whether the difference would last on other "
        "test posts, with these seeds. Corrected: by Holm, for the "
        f"{len(pairs)} comparison{'s' if len(pairs) > 1 else ''} of this table. Intervals are not corrected.",
    ]


def _code(code: dict[str, Any]) -> str:
    return code["commit"][:12] if code["commit"] else f"of mmre {code['version']}"


def _measured(metric: str, found: dict[str, Any] | None) -> str:
    if found is None:
        return ""
    deviation = found["std"] is not None and metric not in COSTS
    return _number(metric, found["mean"]) + (f" ± {found['std']:.2f}" if deviation else "")


def _number(metric: str, value: float | None) -> str:
    if value is None:
        return ""
    if metric in ("count", "parameters", "trained_parameters"):
        return f"{value:,.0f}"
    if metric == "peak_memory":
        return f"{value / 2**20:,.0f}"
    return f"{1000 * value:,.2f}" if metric.endswith("_seconds_per_post") else f"{value:.2f}"


def write_table(table: dict[str, Any], suite: Suite, stem: Path) -> list[Path]:
    """Write a table as Markdown, CSV and JSON, and its plot if it has one.

    Args:
        table: the table.
        suite: the suite, which names the axes of the plot.
        stem: path of the files without their endings.

    Returns:
        The files.
    """
    files = [stem.with_name(stem.name + ending) for ending in (".md", ".csv", ".json", ".png")]
    with whole_file(files[0]) as file:
        file.write(markdown(table))
    columns = [
        {
            "suite": table["suite"],
            "protocol": table["protocol"],
            "name": row["name"],
            "system": row["system"],
            "test_posts": table["test_posts"] if row["test_posts"] is None else row["test_posts"],
            "seeds": " ".join(map(str, row["runs"])),
            "not_run": row["not_run"],
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
    with whole_file(files[1], newline="") as file:
        writer = csv.DictWriter(file, list(columns[0]))
        writer.writeheader()
        writer.writerows(columns)
    with whole_file(files[2]) as file:
        file.write(json.dumps(table, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    metric = table["interval_of"]
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


def cost_table(plan: dict[str, list[Row]], runs: list[Run], out: Path) -> str:
    """List what would be run, and what it costs, in Markdown.

    Args:
        plan: the rows of each suite.
        runs: the different runs of the plan.
        out: the folder of the benchmark: the runs that are done there say how long others take.
    """
    per_visit = seconds_per_visit(out)
    lines = [
        "| suite | cell | recipe | training posts | epochs | steps per seed | seeds done | hours to go |",
        "|---|---|---|--:|--:|--:|--:|--:|",
    ]
    for name, rows in plan.items():
        if not rows:
            lines.append(f"| {name} | (counts posts, nothing to train) | | | | | | |")
        for row in rows:
            if not row.runs:
                lines.append(f"| {name} | {row.name} | ({row.reason}) | | | | | |")
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
    """Estimate what runs take, going by finished ones of the same model, else of the same recipe."""
    known = [per_visit.get(run.kind, per_visit.get(run.recipe)) for run in runs]
    if None in known:
        return ""
    return f"{sum(run.visits * seconds for run, seconds in zip(runs, known)) / 3600:.2f}"


def comparison(result: dict[str, Any], name_a: str, name_b: str) -> str:
    """Format the comparison of two runs in Markdown.

    Args:
        result: see [`~mmre.evaluation.significance.compare`].
        name_a: name of run A.
        name_b: name of run B.
    """
    lines = [
        f"{result['posts']:,} test posts.",
        "",
        "| run | accuracy | P | R | F1 | F1, head first | F1, tail first | F1, 95 % interval |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for key, name in (("a", name_a), ("b", name_b)):
        values = [f"{100 * result[key][metric]:.2f}" for metric in METRICS]
        by_order = result[key]["by_order"] or {}
        for order in ("head_first", "tail_first"):
            values.append(f"{100 * by_order[order]['f1']:.2f}" if by_order.get(order, {}).get("samples") else "")
        interval = "{:.2f} to {:.2f}".format(*(100 * end for end in result[key]["interval"]))
        lines.append(f"| {key.upper()}: {name} | {' | '.join(values)} | {interval} |")
    difference, test = result["f1_difference"], result["mcnemar"]
    low, high = (100 * end for end in difference["interval"])
    p_value = "p < 0.0001" if test["p_value"] < 1e-4 else f"p = {test['p_value']:.4f}"
    lines += [
        "",
        f"F1 of A minus F1 of B: {100 * difference['value']:+.2f}, 95 % interval {low:+.2f} to {high:+.2f}, "
        f"p = {difference['p_value']:.4f} (paired bootstrap, {BOOTSTRAP_SAMPLES:,} samples of the posts).",
        f"Only A is right on {test['only_a']} posts, only B on {test['only_b']}: {p_value} (McNemar's exact test).",
    ]
    return "\n".join(lines) + "\n"


__all__ = ["comparison", "cost_table", "markdown", "write_table"]
