"""Rows of JSON lines and of CSV files, each with the place where it stands."""

import csv
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from mmre.processing.suggestions import unknown

from .checks import Problems, as_id, key_twice, read_json, show
from .post_files import open_post_file
from .schema import REGION_COLUMNS

FILE_ENDINGS = (".csv", ".jsonl", ".json")
JSON_FIELDS = ("id", "text", "tokens", "head", "tail", "image", "relation", *REGION_COLUMNS, "caption")
SPAN_COLUMNS = {"head": ("head_start", "head_end"), "tail": ("tail_start", "tail_end")}
NEEDED_COLUMNS = ("text", *SPAN_COLUMNS["head"], *SPAN_COLUMNS["tail"], "relation")
CSV_COLUMNS = (*NEEDED_COLUMNS, "id", "image", *REGION_COLUMNS, "caption")
CSV_SEPARATORS = (",", ";", "\t")  # a spreadsheet writes the second where the comma is in numbers


def is_csv(path: str | os.PathLike) -> bool:
    """Tell CSV from JSON lines by the name of a file."""
    return Path(path).suffix.lower() == ".csv"


def check_file(path: str | os.PathLike) -> None:
    """Refuse a file that cannot be read as rows.

    Raises:
        ValueError: the name ends otherwise than in `.csv`, `.jsonl` or `.json`.
        FileNotFoundError: the file is not there.
    """
    if Path(path).suffix.lower() not in FILE_ENDINGS:
        raise ValueError(f"{path}: the name does not tell what it is; expected one that ends in .csv, .jsonl or .json")
    if not os.path.isfile(path):
        raise FileNotFoundError(f"{path}: there is no such file")


def read_json_lines(
    path: str, problems: Problems, fields: Iterable[str] = JSON_FIELDS, ignored: set[str] | None = None
) -> Iterator[tuple[str, dict | None]]:
    """Read JSON lines, in UTF-8.

    Args:
        path: of the file.
        problems: gets what is wrong with the file.
        fields: the fields that are known; another one is reported once, where it stands first.
        ignored: gets the names of other fields that are like none of these; if not given, they are problems.

    Yields:
        The place of each line that is not blank, and its object, with its `id` as text; None for one that is malformed.
    """
    named = {*fields}
    with open_post_file(path) as file:
        for number, raw in enumerate(file, start=1):
            if number == 1 and raw.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"["):
                expected = "JSON lines, one object on each (of pandas: to_json(..., orient='records', lines=True))"
                problems.add(path, f"{path}:1", "content", "a JSON list", expected)
                return
            if not raw.strip():
                continue
            where, row = f"{path}:{number}", read_json(raw)
            twice = key_twice(raw) if row is None else None
            if twice is not None:
                problems.add(path, where, "line", f"{show(twice)} twice", "each field once")
            elif not isinstance(row, dict):
                found, expected = show(raw.removesuffix(b"\n").decode(errors="replace")), "a JSON object, in UTF-8"
                problems.add(path, where, "line", found, expected)
                row = None
            for field in row or ():
                if field not in named:  # where it stands first is enough
                    named.add(field)
                    _check_name("field", field, fields, path, where, problems, ignored)
            if row is not None and "id" in row:
                row["id"] = as_id(row["id"])
            yield where, row


def read_csv(
    path: str,
    problems: Problems,
    needed: Iterable[str] = NEEDED_COLUMNS,
    columns: Iterable[str] = CSV_COLUMNS,
    ignored: set[str] | None = None,
) -> Iterator[tuple[str, dict | None]]:
    """Read a CSV file, in UTF-8, with commas, semicolons or tabs; Excel's first line `sep=;` says which.

    Args:
        path: of the file.
        problems: gets what is wrong with the file.
        needed: the columns that must be there.
        columns: the columns that are known.
        ignored: gets the names of other columns that are like none of these; if not given, they are problems.

    Yields:
        The place of each record that is not blank, and its cells as fields of JSON lines; None for a malformed one.
    """
    with open_post_file(path) as file:
        for number, raw in enumerate(file, start=1):
            try:
                raw.decode()
            except UnicodeDecodeError as error:
                expected = "text in UTF-8 (of a spreadsheet: save it as 'CSV UTF-8')"
                problems.add(path, f"{path}:{number}", "content", show(raw[error.start : error.end]), expected)
                return
    records = read_records(path, problems)
    start, _, header = next(records, (1, 0, []))
    if not check_header(header, path, f"{path}:{start}", problems, needed, columns, ignored):
        return
    for line, number, cells in records:
        if not any(cells):  # a spreadsheet leaves rows of separators below the last one
            continue
        # A text of several lines: what an editor and a spreadsheet call the row differ.
        where = f"{path}:{line}" + (f" (row {number})" if number != line else "")
        if len(cells) != len(header):
            problems.add(path, where, "row", f"{len(cells)} cells", f"{len(header)}, as in the header")
            yield where, None
            continue
        row = {column: cell or None for column, cell in zip(header, cells)}
        for column in REGION_COLUMNS:
            if row.get(column) is not None:
                boxes = read_json(row[column].encode(errors="replace"))
                row[column] = row[column] if boxes is None else boxes
        for entity, columns in SPAN_COLUMNS.items():
            row[entity] = [as_int(row.get(column)) for column in columns]
        yield where, row


def read_records(path: str, problems: Problems) -> Iterator[tuple[int, int, list[str]]]:
    """Yield the line on which each record starts, its number, and its cells."""
    with open_post_file(path, "r", encoding="utf-8-sig", newline="") as file:
        header, line = file.readline().rstrip("\r\n").replace('"', ""), 1
        said = re.fullmatch(r"sep=(.)", header, re.IGNORECASE)
        if said:
            separator, line = said[1], 2
        else:
            file.seek(0)
            separator = max(CSV_SEPARATORS, key=lambda separator: len({*header.split(separator)} & {*CSV_COLUMNS}))
        reader = csv.reader(file, delimiter=separator, strict=True)
        above, number = line - 1, 0
        try:
            for number, cells in enumerate(reader, start=1):
                yield line, number, cells
                line = reader.line_num + 1 + above
        except csv.Error as error:
            where = f"{path}:{line}" + (f" (row {number + 1})" if number + 1 != line else "")
            expected = "comma-separated values; a quote within a quoted cell is doubled, and each is closed"
            problems.add(path, where, "row", str(error), expected)


def check_header(
    header: list[str],
    path: str,
    where: str,
    problems: Problems,
    needed: Iterable[str],
    columns: Iterable[str],
    ignored: set[str] | None,
) -> bool:
    """Report what is wrong with a header, and tell whether the rows below it can be read."""
    for index, column in enumerate(header):
        if column in header[:index]:
            problems.add(path, where, "header", f"{show(column)} twice", "each column once")
        elif not column.strip():
            expected = "one (of pandas: to_csv(..., index=False))"
            problems.add(path, where, "header", f"no name for column {index + 1}", expected)
        else:
            _check_name("column", column, columns, path, where, problems, ignored)
    missing = [column for column in needed if column not in header]
    if missing and header:
        problems.add(path, where, "header", f"no {', '.join(missing)}", f"the columns {', '.join(needed)}")
    elif not header:
        problems.add(path, path, "content", "nothing", f"a header with the columns {', '.join(needed)}")
    return not missing and len(set(header)) == len(header)


def _check_name(
    kind: str,
    name: str,
    known: Iterable[str],
    path: str,
    where: str,
    problems: Problems,
    ignored: set[str] | None,
) -> None:
    """Report a field or a column that is not known; one that is like none of those may be ignored."""
    if name in known:
        return
    clause = unknown(kind, name, known)
    if ignored is None or clause.endswith("?"):
        problems.note(path, where, kind, clause)
    else:
        ignored.add(name)


def as_int(cell: str | None) -> int | str | None:
    """Return the number in a cell; the cell as it is if there is no whole number in it."""
    return int(cell) if cell is not None and re.fullmatch(r"\s*[0-9]{1,9}\s*", cell, re.ASCII) else cell


__all__ = [
    "CSV_COLUMNS",
    "FILE_ENDINGS",
    "JSON_FIELDS",
    "SPAN_COLUMNS",
    "check_file",
    "is_csv",
    "read_csv",
    "read_json_lines",
]
