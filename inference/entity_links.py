"""A table of names and identifiers, for example of Wikidata, which entities of a graph have."""

import os
import re
from typing import NamedTuple

from mmre.posts.checks import Problems, show
from mmre.posts.row_readers import read_csv

from .arguments import IRI
from .entity_names import node_name

LINK_COLUMNS = ("name", "identifier", "type")
WIKIDATA = "http://www.wikidata.org/entity/"


class EntityLinks(NamedTuple):
    """Identifiers of entities.

    Args:
        identifiers: the IRI of each name, as [`node_name`] has it, and type; of any type where that is None.
    """

    identifiers: dict[tuple[str, str | None], str]

    def find(self, name: str, kind: str | None) -> str | None:
        """Return the identifier of a name of a type, or else the one of the name of any type; None if there is none."""
        kind = kind and kind.casefold()
        return self.identifiers.get((name, kind)) or self.identifiers.get((name, None))


def read_links(path: str | os.PathLike) -> EntityLinks:
    """Read a CSV file with the columns `name` and `identifier`, and if need be `type`.

    Args:
        path: of the file. An identifier is an IRI, or one of Wikidata's, as Q10132.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is bad, or gives one name two identifiers; one report names the bad places.
    """
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise FileNotFoundError(f"--link {path}: there is no such file")
    problems, identifiers = Problems(), {}
    for where, row in read_csv(path, problems, needed=LINK_COLUMNS[:2], columns=LINK_COLUMNS):
        if row is None:
            continue
        name, identifier, kind = (row.get(column) for column in LINK_COLUMNS)
        if not name or not name.strip():
            problems.add(path, where, "name", show(name), "the name of an entity")
            continue
        if identifier and re.fullmatch(r"Q[1-9]\d*", identifier, re.ASCII):
            identifier = WIKIDATA + identifier
        if not identifier or not IRI.fullmatch(identifier):
            expected = "an IRI, as http://www.wikidata.org/entity/Q10132, or Q10132"
            problems.add(path, where, "identifier", show(identifier), expected)
            continue
        key = node_name(name), kind and kind.casefold()
        if identifiers.setdefault(key, identifier) != identifier:
            problems.add(path, where, "identifier", show(identifier), f"{identifiers[key]}, as above for the same name")
    problems.raise_if_any()
    return EntityLinks(identifiers)


__all__ = ["EntityLinks", "read_links"]
