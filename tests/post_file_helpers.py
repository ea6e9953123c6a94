"""Files of posts, as a user writes them, and a folder with a picture."""

import csv
import io
import json

import pytest
from PIL import Image

TEXT = "RT @ann : Ann Lee's wedding with Bo"
HEAD, TAIL = (10, 17), (33, 35)  # "Ann Lee", "Bo"
BOX = [0.1, 0.2, 0.5, 0.9]


def post(**changes) -> dict:
    """A line of JSON lines."""
    row = {"text": TEXT, "head": list(HEAD), "tail": list(TAIL), "image": "a.png", "relation": "couple"} | changes
    return {name: value for name, value in row.items() if value is not ...}


def cells(**changes) -> dict:
    """A row of a CSV file."""
    row = {"text": TEXT, "head_start": 10, "head_end": 17, "tail_start": 33, "tail_end": 35}
    return row | {"image": "a.png", "relation": "couple"} | changes


def write(path, content) -> str:
    """Write bytes, text, a list of lines for JSON lines, or of rows for CSV; the path."""
    if isinstance(content, list) and path.suffix == ".csv":
        file = io.StringIO(newline="")
        writer = csv.DictWriter(file, list({name: None for row in content for name in row}), lineterminator="\n")
        writer.writeheader()
        writer.writerows(content)
        content = file.getvalue()
    elif isinstance(content, list):
        content = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in content)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


@pytest.fixture
def folder(tmp_path):
    """A folder with a picture."""
    Image.new("RGB", (8, 6), "red").save(tmp_path / "a.png")
    return tmp_path
