"""Cells of CSV that no spreadsheet takes for a formula."""

import json
from typing import Any

FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")


def as_csv_cell(value: Any) -> Any:
    """Return what a cell of CSV holds: JSON of what is no text; `'` before what a spreadsheet would compute.

    A spreadsheet takes a text that begins with `=`, `+`, `-` or `@`, also full-width ones and behind white space, for a
    formula; and some take one that begins with a tab or a carriage return.
    """
    if isinstance(value, (list, dict, bool)):
        value = json.dumps(value, ensure_ascii=False)
    is_formula = isinstance(value, str) and (value.startswith(("\t", "\r")) or value.lstrip().startswith(FORMULA))
    return f"'{value}" if is_formula else value


__all__ = ["as_csv_cell"]
