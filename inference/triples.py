"""Triples of a knowledge graph, written as JSON lines, CSV, parquet, RDF, or CSV for Neo4j: one file, or a folder."""

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import IO, NamedTuple, TextIO

from mmre.annotation.unfinished import read_batches
from mmre.evaluation.thresholds import Thresholds
from mmre.posts.checks import NAMES_IN_REPORT
from mmre.posts.lookalikes import escaped
from mmre.posts.whole_file import whole_file, whole_folder

from .arguments import PredictionArguments
from .csv_cells import as_csv_cell
from .entity_links import read_links
from .entity_names import graph_name
from .graph_nodes import Nodes
from .neo4j import nodes_path, write_nodes, write_relationships
from .parquet_triples import write_parquet
from .rdf import RDF_FORMATS, RdfWriter

CSV_HEADER = ("id", "head", "head_type", "relation", "tail", "tail_type", "score", "ruled_out")
# What is decided over all pairs of a post, see `decision.py`.
LEFT_OUT = {
    "types": "relations that do not fit the types of their entities",
    "loops": "pairs of one name",
    "symmetric": "symmetric relations the other way round",
    "reversed": "others the other way round",
    "repeated": "of other mentions of the same names",
}


class PredictionReport(NamedTuple):
    """Report of a prediction: a few lines, the number of posts, and the number of those that failed."""

    text: str
    posts: int
    failed: int


def write_triples(
    part: Path, header: dict, args: PredictionArguments, thresholds: Thresholds | None = None
) -> PredictionReport:
    """Turn an unfinished file into the output, and the posts that failed into a file beside it.

    Args:
        part: the unfinished file, with all batches in it.
        header: its header.
        args: name and format of the output, and the lowest score.
        thresholds: the lowest score of each relation; None to keep all.

    Returns:
        What there was.
    """
    out, failed = Path(args.out), errors_path(args.out)
    counts, unreached, reasons = Counter(), Counter(), []
    with ExitStack() as stack:
        errors = stack.enter_context(whole_file(failed))
        folder = None if args.triples_per_file is None else stack.enter_context(whole_folder(out))

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
                    elif thresholds is not None and not thresholds.keeps(found["label"], found["score"]):
                        unreached[found["label"]] += 1
                    else:
                        counts["triples"] += 1
                        yield row | found

        groups = [triples()] if folder is None else in_groups(triples(), args.triples_per_file)
        opened = partial(open_output, args, folder)
        writers = {"jsonl": write_jsonl, "csv": write_csv, "parquet": write_parquet}
        if args.format in writers:
            for counts["files"], group in enumerate(groups, start=1):
                with opened(counts["files"]) as file:
                    writers[args.format](group, file, args.keep)
        else:
            counts["files"], counts["nodes"], counts["linked"] = write_graph(groups, opened, header, args)
    nodes = f" between {counts['nodes']} entities" if counts["nodes"] else ""
    if nodes and args.link is not None:
        nodes += f" ({counts['linked']} have an identifier of --link)"
    files = "" if folder is None else f" in {counts['files']} files"
    report = [
        f"{out}: {counts['triples']} triples{nodes} of {header['posts']} posts{files}",
        f"left out: {counts['none']} pairs of entities without a relation, {counts['low']} relations with a score "
        f"below {args.min_score:g}; {counts['without']} posts have no pair of entities",
    ]
    if thresholds is not None:
        report.append(threshold_line(thresholds, unreached))
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


def errors_path(out: str) -> Path:
    """Return the path of the file, beside an output, with the posts that failed."""
    return Path(f"{out}.errors.jsonl")


def threshold_line(thresholds: Thresholds, unreached: Counter) -> str:
    """Say how many relations the thresholds left out.

    Args:
        thresholds: the thresholds.
        unreached: of each relation how many were left out.
    """
    none = {"that reach it at no threshold": thresholds.out_of_reach}
    none[f"that have none, of fewer than {thresholds.min_posts} posts"] = thresholds.too_few
    below = unreached.total() - sum(unreached[name] for names in none.values() for name in names)
    line = f"left out by --thresholds, for precision {thresholds.precision:g}: {below} relations below their threshold"
    for reason, names in none.items():
        if names:
            line += f", and those {reason}: " + ", ".join(f"{escaped(name)} ({unreached[name]})" for name in names)
    return line


def in_order(part: Path, header: dict) -> Iterator[dict]:
    """Read the rows of an unfinished file in the order of their `place`, without it; few of them wait for others.

    Workers finish their batches in any order, and a run that goes on appends what a killed one has left out.
    """
    starts, start = {}, 0
    for number, _, end in read_batches(part, header):
        starts[number], start = start, end
    del starts[None]  # the header
    waiting, place = {}, 0
    with open(part, "rb") as file:
        for number in sorted(starts):
            file.seek(starts[number])
            waiting |= {row.pop("place"): row for row in json.loads(file.readline())["rows"]}
            while place in waiting:
                yield waiting.pop(place)
                place += 1


def write_jsonl(triples: Iterable[dict], file: TextIO, keep: Sequence[str] = ()) -> None:
    """Write a line of JSON for each triple, with the fields of its post that are kept.

    The `text` of the spans stands on the line where the post was given as words.
    """
    for triple in triples:
        file.write(json.dumps(triple_line(triple, keep), ensure_ascii=False, allow_nan=False) + "\n")


def triple_line(triple: dict, keep: Sequence[str] = ()) -> dict:
    """Return what is written of a triple: of a row of the predictor with one of its relations."""
    line = {name: triple[name] for name in ("id", "text", "head") if name in triple}
    line |= {"relation": triple["label"]}
    line |= {name: triple[name] for name in ("tail", "score", "ruled_out", "fusion") if name in triple}
    return line | {name: triple["kept"][name] for name in keep if name in triple["kept"]}


def write_csv(triples: Iterable[dict], file: TextIO, keep: Sequence[str] = ()) -> None:
    """Write a row of CSV for each triple, below a header, with the fields of its post that are kept."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*CSV_HEADER, *keep])
    for triple in triples:
        head, tail = ((graph_name(triple[name]["text"]), triple[name].get("type")) for name in ("head", "tail"))
        scores = triple["score"], triple.get("ruled_out")
        cells = [triple["id"], *head, triple["label"], *tail, *scores, *(triple["kept"].get(name) for name in keep)]
        writer.writerow([as_csv_cell(value) for value in cells])


def in_groups(triples: Iterable[dict], size: int) -> Iterator[Iterator[dict]]:
    """Yield triples in groups, each to be read before the next is asked for; one without triples if there is none."""
    triples = iter(triples)
    group = list(islice(triples, 1))
    yield chain(group, islice(triples, size - 1))
    while group := list(islice(triples, 1)):
        yield chain(group, islice(triples, size - 1))


def open_output(args: PredictionArguments, folder: Path | None, part: int | str) -> AbstractContextManager[IO]:
    """Open the file of a part to write: the output, or a file in its folder.

    Args:
        args: name and format of the output.
        folder: to write to; None where the output is one file.
        part: number of the file, from 1, or `"nodes"`.
    """
    mode = "wb" if args.format == "parquet" else "w"
    if folder is not None:
        name = part if isinstance(part, str) else f"triples-{part - 1:05}"
        return whole_file(folder / f"{name}.{'csv' if args.format == 'neo4j' else args.format}", mode)
    return whole_file(nodes_path(args.out) if part == "nodes" else args.out, mode)


def write_graph(
    groups: Iterable[Iterable[dict]],
    opened: Callable[[int | str], AbstractContextManager[TextIO]],
    header: dict,
    args: PredictionArguments,
) -> tuple[int, int, int]:
    """Write triples as RDF or for Neo4j, with one node for each name and type in all files together.

    Args:
        groups: the triples of each file.
        opened: opens the file of a number, or of the `"nodes"`.
        header: of the prediction: the model, its revision, and the schema.
        args: format, names, links, and the fields of posts that are kept.

    Returns:
        The numbers of files with triples, of nodes, and of those among these that have an identifier of `args.link`.
    """
    # No path of this machine goes into a graph.
    name = Path(header["model"]).resolve().name if Path(header["model"]).is_dir() else header["model"]
    model = {"name": name, "revision": header["revision"], "files_sha256": header["files_sha256"]}
    links = None if args.link is None else read_links(args.link)
    is_symmetric, number = symmetric_relations(header), 0
    with Nodes(f"{args.out}.nodes", args.base_iri, links) as nodes:
        if args.format in RDF_FORMATS:
            rdf = partial(RdfWriter, format=args.format, base_iri=args.base_iri, model=model)
            for number, group in enumerate(groups, start=1):
                with opened(number) as file:
                    writer = rdf(file, is_symmetric=is_symmetric, keep=args.keep)
                    writer.write_statements(group, nodes)
                    if args.triples_per_file is None:
                        writer.write_nodes(nodes)
            if args.triples_per_file is not None:
                with opened("nodes") as file:
                    rdf(file).write_nodes(nodes)
        else:
            for number, group in enumerate(groups, start=1):
                with opened(number) as file:
                    write_relationships(group, file, nodes, model, is_symmetric, args.keep)
            with opened("nodes") as file:
                write_nodes(nodes, file)
        own = f"{args.base_iri}entity/"
        linked = Counter(not node.iri.startswith(own) for node in nodes)
        return number, linked.total(), linked[True]


def symmetric_relations(header: dict) -> Callable[[str], bool]:
    """Return what tells whether a relation is symmetric by the schema of a prediction."""
    return {row["relation"] for row in header["schema"] or () if row["symmetric"]}.__contains__


__all__ = ["PredictionReport", "errors_path", "in_order", "triple_line", "write_triples"]
