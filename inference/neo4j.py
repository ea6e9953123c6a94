"""Triples as two CSV files that Neo4j's import takes: nodes, and relationships with their sources.

neo4j-admin database import full --nodes=graph.nodes.csv --relationships=graph.csv
"""

import csv
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TextIO

from .csv_cells import as_csv_cell
from .graph_nodes import Nodes

NODE_HEADER = ("iri:ID", "name", "forms:string[]", ":LABEL")
RELATIONSHIP_HEADER = (
    *(":START_ID", ":END_ID", ":TYPE", "score:double", "ruled_out:double", "post"),
    *("head_start:long", "head_end:long", "tail_start:long", "tail_end:long", "model", "revision"),
)
# Neo4j takes this for the end of an item of a list, and knows no way to write it within one.
BETWEEN, INSTEAD = ";", "\uff1b"


def nodes_path(out: str) -> Path:
    """Return the path of the file of nodes beside that of relationships."""
    return Path(out).with_suffix(f".nodes{Path(out).suffix}")


def write_relationships(
    triples: Iterable[dict],
    file: TextIO,
    nodes: Nodes,
    model: dict,
    is_symmetric: Callable[[str], bool],
    keep: Sequence[str] = (),
) -> None:
    """Write a relationship for each triple of each post.

    Args:
        triples: the triples.
        file: where to write.
        nodes: gets the entities.
        model: `name` and `revision` of the model, or the `files_sha256` of one that has no revision.
        is_symmetric: tells whether a relation means the same in both directions.
        keep: names of further fields of posts, each a property.
    """
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*RELATIONSHIP_HEADER, *map(_cell, keep)])
    revision = model["revision"] or model["files_sha256"]
    for triple in triples:
        ends = [nodes.add(triple[entity]) for entity in ("head", "tail")]
        mentions = [triple["head"], triple["tail"]]
        if is_symmetric(triple["label"]) and ends[0] > ends[1]:
            ends.reverse()
            mentions.reverse()
        spans = (mention[bound] for mention in mentions for bound in ("start", "end"))
        said = [triple["label"], triple["score"], triple.get("ruled_out"), triple["id"]]
        kept = (triple["kept"].get(name) for name in keep)
        writer.writerow(map(_cell, [*ends, *said, *spans, model["name"], revision, *kept]))


def write_nodes(nodes: Nodes, file: TextIO) -> None:
    """Write the nodes: name, all forms of it, and `Entity` and the types as labels."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(NODE_HEADER)
    for node in nodes:
        forms, labels = (
            BETWEEN.join(word.replace(BETWEEN, INSTEAD) for word in words)
            for words in (node.labels, ["Entity", *node.types])
        )
        writer.writerow(map(_cell, [node.iri, node.labels[0], forms, labels]))


def _cell(value: Any) -> Any:
    """Return a cell on one line: the import reads a line break within a cell only where it is told to."""
    value = as_csv_cell(value)
    return " ".join(value.splitlines()) if isinstance(value, str) else value


__all__ = ["nodes_path", "write_nodes", "write_relationships"]
