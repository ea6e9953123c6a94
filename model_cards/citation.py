"""BibTeX entries of the papers."""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmre.modeling.configuration_relation_extraction import Paper


def bibtex(key: str, paper: "Paper") -> str:
    """Format a paper as a BibTeX entry.

    Args:
        key: the key by which the entry is cited.
        paper: the paper; an entry of an anonymous one has no authors.

    Returns:
        The entry, one field a line, without a line break at its end.
    """
    fields = {
        "author": _escaped(" and ".join(paper.authors)),
        "title": f"{{{_escaped(paper.title)}}}",  # in braces of its own: styles keep the capitals
        "booktitle": _escaped(paper.venue),
        "year": str(paper.year),
        "url": paper.address,
    }
    lines = [f"  {name:9} = {{{value}}}" for name, value in fields.items() if value]
    return "\n".join([f"@inproceedings{{{key},", ",\n".join(lines), "}"])


def _escaped(text: str) -> str:
    return re.sub(r"([&%$#_])", r"\\\1", text)


__all__ = ["bibtex"]
