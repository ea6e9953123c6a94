"""Nodes of a knowledge graph: one for each name and type, or identifier, with all the forms in which posts write it."""

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from .entity_links import EntityLinks
from .entity_names import graph_name, node_name


def as_iri_part(name: str) -> str:
    """Return a name as a part of an IRI, which no character of it can end or leave.

    A reader that resolves `.` and `..`, as RFC 3986 has it, would make another IRI of these.
    """
    return quote(name, safe="") if name not in (".", "..") else name.replace(".", "%2E")


class Node(NamedTuple):
    """Node of a graph.

    Args:
        iri: what identifies it.
        types: the types of its mentions, in the order in which they came.
        labels: the forms in which posts write it, in the order in which they came.
    """

    iri: str
    types: list[str]
    labels: list[str]


class Nodes:
    """Collects the nodes of a graph in a file on the disk: those of ten million posts would fill the memory.

    Args:
        path: of the file, which is there while the graph is written.
        base_iri: what the names of entities begin with.
        links: identifiers of entities; none if not given.
    """

    def __init__(self, path: str | os.PathLike, base_iri: str, links: EntityLinks | None = None):
        self.path, self.base_iri, self.links = Path(path), base_iri, links

    def __enter__(self) -> "Nodes":
        self.path.unlink(missing_ok=True)
        self.base = sqlite3.connect(self.path, isolation_level=None)
        # It is thrown away if the run ends: nothing has to be safe on the disk.
        self.base.execute("PRAGMA journal_mode = OFF")
        self.base.execute("PRAGMA synchronous = OFF")
        self.base.execute("CREATE TABLE words (iri TEXT, kind TEXT, word TEXT, PRIMARY KEY (iri, kind, word))")
        self.base.execute("CREATE TABLE statements (line TEXT PRIMARY KEY) WITHOUT ROWID")
        self.base.execute("BEGIN")
        return self

    def __exit__(self, *error: object) -> None:
        self.base.close()
        self.path.unlink(missing_ok=True)

    def add(self, entity: dict) -> str:
        """Add a mention of an entity (`text`, and `type` if it is known), and return the IRI of its node."""
        name, kind = node_name(entity["text"]), entity.get("type")
        iri = (self.links and self.links.find(name, kind)) or self.base_iri + "entity/" + "/".join(
            map(as_iri_part, (name,) if kind is None else (kind, name))
        )
        self._add(iri, "label", graph_name(entity["text"]))
        if kind is not None:
            self._add(iri, "type", kind)
        return iri

    def _add(self, iri: str, kind: str, word: str) -> None:
        self.base.execute("INSERT OR IGNORE INTO words VALUES (?, ?, ?)", (iri, kind, word))

    def is_new(self, line: str) -> bool:
        """Tell whether a line was not asked about before."""
        return self.base.execute("INSERT OR IGNORE INTO statements VALUES (?)", (line,)).rowcount > 0

    def __iter__(self) -> Iterator[Node]:
        """Yield the nodes, in the order of their IRIs."""
        node = None
        for iri, kind, word in self.base.execute("SELECT iri, kind, word FROM words ORDER BY iri, rowid"):
            if node is None or node.iri != iri:
                if node is not None:
                    yield node
                node = Node(iri, [], [])
            (node.labels if kind == "label" else node.types).append(word)
        if node is not None:
            yield node


__all__ = ["Node", "Nodes", "as_iri_part"]
