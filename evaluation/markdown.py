"""Names from data, such as those of relations, written into Markdown so that they stay names."""

import re


def as_cell(name: str) -> str:
    """Write a name into a cell of a table: no table, no code, no HTML and no link comes of it."""
    return re.sub(r"([\\`*|<&\[])", r"\\\1", _one_line(name))


def as_code(name: str) -> str:
    """Write a name as a code span, in more backticks than the name has in a row."""
    name = _one_line(name)
    fence = "`" * (max(map(len, re.findall("`+", name)), default=0) + 1)
    space = " " if "`" in name else ""
    return f"{fence}{space}{name}{space}{fence}"


def _one_line(name: str) -> str:
    """Return a name with control characters and the ends of lines as escapes."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in name)


__all__ = ["as_cell", "as_code"]
