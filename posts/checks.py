"""One collector of problems in data, and how found values are shown."""

import json
import os
import re
import reprlib
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from .lookalikes import escaped
from .post_files import shown_address

NAMES_IN_REPORT = 10
LINES_PER_FIELD = 5

short = reprlib.Repr()
short.maxstring = short.maxother = 100


def show(value: Any) -> str:
    """Return a short `repr` of a value, with the code points of what is not seen; "nothing" for None."""
    return "nothing" if value is None else escaped(short.repr(value))


def some(items: Iterable[str]) -> str:
    """Join the first ten items, with the code points of what is not seen, and count the others."""
    items = list(map(escaped, items))
    more = len(items) - NAMES_IN_REPORT
    return ", ".join(items[:NAMES_IN_REPORT]) + (f" and {more} more" if more > 0 else "")


class Problems:
    """Collects problems in data: the first places of each file and field, and the number of the others."""

    def __init__(self):
        self.lines = defaultdict(list)  # (file, field) -> lines of the report

    def __len__(self) -> int:
        """Return the number of problems."""
        return sum(map(len, self.lines.values()))

    def add(self, file: str | os.PathLike, where: str | os.PathLike, field: str, found: str, expected: str) -> None:
        """Note a problem.

        Args:
            file: the file, or what stands for it; places in one file are counted together, per field.
            where: the place: the file alone, or with line or row.
            field: the field that is bad there.
            found: what is there.
            expected: what is accepted.
        """
        self.note(file, where, field, f"{field}: {found}; expected {expected}")

    def note(self, file: str | os.PathLike, where: str | os.PathLike, field: str, clause: str) -> None:
        """Note a problem that a clause says whole, as `unknown` writes it; problems of a field are counted together."""
        self.lines[shown_address(file), field].append(f"{shown_address(where)}: {clause}")

    def extend(self, others: "Problems") -> None:
        """Note the problems of another collector too."""
        for place, lines in others.lines.items():
            self.lines[place] += lines

    def report(self) -> str:
        """Return the number of problems, and below it a line for each of the first of every file and field."""
        report = [f"{len(self)} problem(s) in the data:"]
        for (file, field), lines in self.lines.items():
            report += lines[:LINES_PER_FIELD]
            if len(lines) > LINES_PER_FIELD:
                report.append(f"{file}: {field}: and {len(lines) - LINES_PER_FIELD} more")
        return "\n  ".join(report)

    def raise_if_any(self, hint: str = "") -> None:
        """Raise `ValueError` with the report, and a hint on a line of its own, if there is a problem."""
        if self:
            raise ValueError(self.report() + (f"\n{hint}" if hint else ""))


def as_id(value: Any) -> Any:
    """Return an id as text: a whole number is one, as databases and JSON have them; other values stay as they are."""
    return str(value) if type(value) is int else value


def is_numbers(value: Any, length: int) -> bool:
    """Tell whether a value is a list of so many numbers."""
    return isinstance(value, (list, tuple)) and len(value) == length and all(type(v) in (int, float) for v in value)


def is_text(value: Any) -> bool:
    """Tell whether a value is a string that can be stored: JSON can hold half of a pair of surrogates."""
    return isinstance(value, str) and not re.search("[\ud800-\udfff]", value)


def told_text(value: Any, expected: str) -> str:
    """Return what is expected in place of a value: of a text with half of a pair of surrogates, a text without."""
    texts = value if isinstance(value, list) else [value]
    broken = any(isinstance(text, str) and not is_text(text) for text in texts)
    return "characters: half of a pair of surrogates is none" if broken else expected


class _KeyTwiceError(ValueError):
    """Raised for a JSON object that has a key twice: one of its values would be lost."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise _KeyTwiceError(name)
    return dict(pairs)


def read_json(raw: bytes) -> Any:
    """Parse JSON in UTF-8; None for what is malformed, or has a key twice."""
    try:
        return json.loads(raw.decode("utf-8-sig"), object_pairs_hook=_once)
    except (ValueError, RecursionError):
        return None


def key_twice(raw: bytes) -> str | None:
    """Return the first key that an object in JSON has twice."""
    try:
        json.loads(raw.decode("utf-8-sig"), object_pairs_hook=_once)
    except _KeyTwiceError as error:
        return str(error)
    except (ValueError, RecursionError):
        pass
    return None


__all__ = [
    "NAMES_IN_REPORT",
    "Problems",
    "as_id",
    "is_numbers",
    "is_text",
    "key_twice",
    "read_json",
    "short",
    "show",
    "some",
    "told_text",
]
