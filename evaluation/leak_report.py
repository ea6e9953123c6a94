"""The report of a leak audit, in Markdown."""

from typing import Any

from .leak_audit import SHUFFLES
from .leak_features import ENTITY_ORDER


def audit_report(result: dict[str, Any]) -> str:
    """Format the findings of an audit.

    Args:
        result: what [`~mmre.evaluation.leak_audit.audit`] returns.

    Returns:
        A table of the features, the rules of those that leak, what else was counted, and the names of those that leak.
    """
    leaks = [row for row in result["features"] if row["leaks"]]
    lines = [*_head(result), "", *_table(result), *_chance(result), ""]
    lines += [*_rules(leaks), *_type_queries(result), *_repeated_pairs(result)]
    if any(row["feature"] == ENTITY_ORDER for row in leaks):
        lines += _entity_order(result)
    if result["left_out"]:
        lines.append(f"- Left out, since most pictures are not there: {', '.join(result['left_out'])}.")
    names = f": {', '.join(row['feature'] for row in leaks)}" if leaks else ""
    return "\n".join([*lines, "", f"{len(leaks)} of {len(result['features'])} features leak{names}."]) + "\n"


def _head(result: dict[str, Any]) -> list[str]:
    relation, related = (
        f"{row['label']}, accuracy {_percent(row['accuracy'])}, F1 {_percent(row['f1'])}"
        for row in (result["majority"]["relation"], result["majority"]["related"])
    )
    return [
        ", ".join(f"{split}: {number:,} posts" for split, number in result["posts"].items()) + ".",
        f"Always the majority of train, on test: {relation}; asked only whether there is a relation: {related}.",
        "MI: mutual information with the label over train, normalised by the mean entropy, corrected for chance. "
        "Accuracy, P, R, F1: a rule of at most 8 intervals, fitted on train, scored on test. Gain: the share of the "
        f"majority's errors that the rule avoids. A feature leaks if MI or gain reaches {result['threshold']:g}.",
    ]


def _table(result: dict[str, Any]) -> list[str]:
    lines = [
        "| | | which relation? | | | | a relation at all? | | | | | |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|",
        "| source | feature | MI | accuracy | F1 | gain | MI | P | R | F1 | gain | verdict |",
    ]
    for row in result["features"]:
        relation, related = row["relation"], row["related"]
        name = row["feature"] + (f" ({row['shared']} posts)" if "shared" in row else "")
        values = [_share(relation["mutual_information"]), _percent(relation["accuracy"]), _percent(relation["f1"])]
        values += [_share(relation["gain"]), _share(related["mutual_information"])]
        values += [_percent(related[column]) for column in ("precision", "recall", "f1")] + [_share(related["gain"])]
        lines.append(f"| {row['source']} | {name} | {' | '.join(values)} | {'**leaks**' if row['leaks'] else 'no'} |")
    return lines


def _chance(result: dict[str, Any]) -> list[str]:
    if result["chance"] is None:
        return []
    return [
        "",
        f"With so few test posts, values up to {result['chance']:.3f} happen by chance (the highest of all features "
        f"under {SHUFFLES} shuffles of the labels): here, a feature leaks if it is also above that.",
    ]


def _rules(leaks: list[dict[str, Any]]) -> list[str]:
    lines = []
    for row in leaks:
        related = row["related"]
        if "rule" in related and related["gain"] > 0:
            scores = f"precision {related['precision']:.3f}, recall {related['recall']:.3f}"
            lines.append(f"- {row['feature']}: rule for whether there is a relation: {related['rule']} ({scores}).")
    return lines


def _type_queries(result: dict[str, Any]) -> list[str]:
    return [
        f"- {split}: grounded regions number 2 + the types in the gold relation other than misc in "
        f"{found['counts_fit']:,} of {found['posts']:,} posts; two boxes are identical in "
        f"{found['equal_types_identical']:,} of {found['equal_types']:,} posts with two entities of one type, "
        f"{found['different_types_identical']:,} of {found['different_types']:,} of other types."
        for split, found in (result["type_queries"] or {}).items()
    ]


def _repeated_pairs(result: dict[str, Any]) -> list[str]:
    return [
        f"- {split}: {found['listed_twice']} pairs are listed more than once, "
        f"{found['with_different_relations']} of them with different relations."
        for split, found in result["repeated_pairs"].items()
    ]


def _entity_order(result: dict[str, Any]) -> list[str]:
    lines = [
        f"- {split}: the head comes first in {found['unrelated_head_first']:,} of {found['unrelated']:,} posts without "
        f"a relation, in {found['related_head_first']:,} of {found['related']:,} with one."
        for split, found in result["entity_order"].items()
    ]
    return [
        *lines,
        "- A model that is told which entity is the head can read this order: look at its F1 on the posts whose head "
        "comes first, or do not tell, by `mmre train --markers_in_text_order true`.",
    ]


def _percent(value: float) -> str:
    return f"{100 * value:.2f}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value + 0:.3f}".replace("-0.000", "0.000")


__all__ = ["audit_report"]
