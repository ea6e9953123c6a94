"""Triples of a knowledge graph, written as JSON lines, CSV or N-Triples."""

import csv
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO
from urllib.parse import quote

from mmre.annotation.unfinished import read_batches
from mmre.posts.checks import NAMES_IN_REPORT
from mmre.posts.lookalikes import escaped
from mmre.posts.whole_file import whole_file

from .arguments import PredictionArguments
from .entity_names import graph_name

CSV_HEADER = ("id", "head", "head_type", "relation", "tail", "tail_type", "score", "ruled_out")
FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
# What is decided over all pairs of a post, see `decision.py`.
LEFT_OUT = {
    "types": "relations that do not fit the types of their entities",
    "loops": "pairs of one name",
    "symmetric": "symmetric relations the other way round",
    "reversed": "others the other way round",
    "repeated": "of other mentions of the same names",
}
RDFS_LABEL = "http://www.w3.org/2000/01/rdf-schema#label"


class PredictionReport(NamedTuple):
    """Report of a prediction: a few lines, the number of posts, and the number of those that failed."""

    text: str
    posts: int
    failed: int


def write_triples(part: Path, header: dict, args: PredictionArguments) -> PredictionReport:
    """Turn an unfinished file into the output, and the posts that failed into a file beside it.

    Args:
        part: the unfinished file, with all batches in it.
        header: its header.
        args: name and format of the output, and the lowest score.

    Returns:
        What there was.
    """
    out, failed = Path(args.out), Path(f"{args.out}.errors.jsonl")
    counts, reasons = Counter(), []
    with whole_file(failed) as errors, whole_file(out) as file:

        def triples() -> Iterator[dict]:
            for row in in_order(part, header):
                if "error" in row:
                    counts["failed"] += 1
                    if len(reasons) < NAMES_IN_REPORT:
                        reasons.append(escaped(f"{row['id']} ({row['error']})"))
                    errors.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")
                    continue
                counts.update(row["left_out"])
                counts["without"] += not row["relations"] and not any(row["left_out"].values())
                for found in row["relations"]:
                    if found["score"] < args.min_score:
                        counts["low"] += 1
                    else:
                        counts["triples"] += 1
                        yield row | found

        if args.format == "nt":
            file.writelines(line for triple in triples() for line in ntriples(triple, args.base_iri))
        else:
            {"jsonl": write_jsonl, "csv": write_csv}[args.format](triples(), file, args.keep)
    report = [
        f"{out}: {counts['triples']} triples of {header['posts']} posts",
        f"left out: {counts['none']} pairs of entities without a relation, {counts['low']} relations with a score "
        f"below {args.min_score:g}; {counts['without']} posts have no pair of entities",
    ]
    if args.decision == "post":
        reasons_left_out = (f"{counts[name]} {meaning}" for name, meaning in LEFT_OUT.items())
        report.append(f"left out by one decision for each post: {', '.join(reasons_left_out)}")
    if reasons:
        if counts["failed"] > len(reasons):
            reasons.append(f"and {counts['failed'] - len(reasons)} more")
        report.append(f"failed: {counts['failed']} posts, all of them in {failed}: {', '.join(reasons)}")
    else:
        failed.unlink()
    return PredictionReport("\n".join(report), header["posts"], counts["failed"])


def in_order(part: Path, header: dict) -> Iterator[dict]:
    """Read the rows of an unfinished file in the order of their `place`, without it; few of them wait for others."""
    waiting, place = {}, 0
    for _, rows, _ in read_batches(part, header):
        waiting |= {row.pop("place"): row for row in rows}
        while place in waiting:
            yield waiting.pop(place)
            place += 1


def write_jsonl(triples: Iterable[dict], file: TextIO, keep: Sequence[str] = ()) -> None:
    """Write a line of JSON for each triple, with the fields of its post that are kept.

    The `text` of the spans stands on the line where the post was given as words.
    """
    for triple in triples:
        line = {name: triple[name] for name in ("id", "text", "head") if name in triple}
        line |= {"relation": triple["label"]}
        line |= {name: triple[name] for name in ("tail", "score", "ruled_out", "fusion") if name in triple}
        line |= {name: triple["kept"][name] for name in keep if name in triple["kept"]}
        file.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")


def write_csv(triples: Iterable[dict], file: TextIO, keep: Sequence[str] = ()) -> None:
    """Write a row of CSV for each triple, below a header, with the fields of its post that are kept."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*CSV_HEADER, *keep])
    for triple in triples:
        head, tail = ((graph_name(triple[name]["text"]), triple[name].get("type")) for name in ("head", "tail"))
        scores = triple["score"], triple.get("ruled_out")
        cells = [triple["id"], *head, triple["label"], *tail, *scores, *(triple["kept"].get(name) for name in keep)]
        writer.writerow([as_csv_cell(value) for value in cells])


def as_csv_cell(value: Any) -> Any:
    """Return what a cell of CSV holds: JSON of what is no text; `'` before what a spreadsheet would compute.

    A spreadsheet takes a text that begins with `=`, `+`, `-` or `@`, also full-width ones and behind white space, for a
    formula; and some take one that begins with a tab or a carriage return.
    """
    if isinstance(value, (list, dict, bool)):
        value = json.dumps(value, ensure_ascii=False)
    is_formula = isinstance(value, str) and (value.startswith(("\t", "\r")) or value.lstrip().startswith(FORMULA))
    return f"'{value}" if is_formula else value


def ntriples(triple: dict, base_iri: str) -> list[str]:
    """Say a triple in N-Triples.

    Args:
        triple: `head` and `tail` with their `text`, and the `label` of the relation.
        base_iri: what the names begin with.

    Returns:
        Three lines: the relation between `{base_iri}entity/...` and another such name, by `{base_iri}relation/...`; and
        the `rdfs:label` of both entities.
    """
    names = [graph_name(triple[entity]["text"]) for entity in ("head", "tail")]
    head, tail = (f"<{base_iri}entity/{quote(name, safe='')}>" for name in names)
    relation = f"<{base_iri}relation/{quote(triple['label'].removeprefix('/'), safe='/')}>"
    labels = [f"{node} <{RDFS_LABEL}> {literal(name)} .\n" for node, name in zip((head, tail), names)]
    return [f"{head} {relation} {tail} .\n", *labels]


def literal(text: str) -> str:
    """Write a string as a literal of N-Triples (W3C, section 2.4)."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return '"' + re.sub("[\x00-\x1f\x7f]", lambda match: f"\\u{ord(match[0]):04X}", escaped) + '"'


__all__ = ["PredictionReport", "in_order", "write_triples"]
