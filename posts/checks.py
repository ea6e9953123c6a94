"""How bad data is found and shown, whatever files it comes from."""

import io
import json
import os
import reprlib
import warnings
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from PIL import Image
from transformers.utils import logging

NAMES_IN_REPORT = 10
LINES_PER_FIELD = 5

short = reprlib.Repr()
short.maxstring = short.maxother = 100


def show(value: Any) -> str:
    return "nothing" if value is None else short.repr(value)


def some(items: Iterable[str]) -> str:
    items = list(items)
    more = len(items) - NAMES_IN_REPORT
    return ", ".join(items[:NAMES_IN_REPORT]) + (f" and {more} more" if more > 0 else "")


class Problems:
    """Problems in data: the first places of each file and field, and the number of the others."""

    def __init__(self):
        self.lines = defaultdict(list)  # (file, field) -> lines of the report

    def __len__(self) -> int:
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
        self.note(file, where, field, f"{found}; expected {expected}")

    def note(self, file: str | os.PathLike, where: str | os.PathLike, field: str, clause: str) -> None:
        """Note a problem that a clause says whole, as `unknown` writes it."""
        self.lines[str(file), field].append(f"{where}: {field}: {clause}")

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


def is_numbers(value: Any, length: int) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == length and all(type(v) in (int, float) for v in value)


def read_json(raw: bytes) -> Any:
    try:
        return json.loads(raw.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None


def check_images(images: Sequence[str | dict]) -> list[str | None]:
    """Why each image cannot be decoded, None if it can; an image is a path, or its bytes or path in a dictionary."""
    with warnings.catch_warnings(), ThreadPoolExecutor() as pool:
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        # By index: a column of a data set reads its images one by one, and they do not fit into memory together.
        reasons = pool.map(lambda index: why_unreadable(images[index]), range(len(images)))
        return list(logging.tqdm(reasons, total=len(images), desc="Checking images", unit="image"))


def why_unreadable(image: str | dict) -> str | None:
    if isinstance(image, dict):
        image = io.BytesIO(image["bytes"]) if image["bytes"] is not None else image["path"]
    try:
        with Image.open(image) as opened:
            opened.draft("RGB", (1, 1))  # a JPEG is read to its end all the same, but decoded at an eighth of its size
            opened.load()
            opened.getexif()  # datasets turns images as it says
    except Exception as error:  # the decoders raise nearly everything on a broken file
        return f"{type(error).__name__}: {error}"
    return None
