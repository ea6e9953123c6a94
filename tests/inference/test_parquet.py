"""Prediction from parquet and to parquet: the triples are those of JSON lines."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from prediction_helpers import NADAL, PERELLO, TEXT, read, write

from mmre.inference import parquet_triples
from mmre.inference.run import predict


def as_columns(lines: list[dict]) -> list[dict]:
    """Return triples of JSON lines as rows of parquet."""
    made = []
    for line in lines:
        row = {name: line.get(name) for name in ("id", "text", "relation", "score", "ruled_out", "author")}
        row["size"] = None if "size" not in line else json.dumps(line["size"])
        for part in ("head", "tail"):
            row |= {f"{part}_{name}": line[part].get(name) for name in ("start", "end", "type")}
            row[part] = line[part]["text"]
        made.append(row)
    return made


@pytest.mark.parametrize("decision", ["pair", "post"])
def test_triples_are_the_same_in_each_way(decision, focalmre, folder, arguments, monkeypatch):
    monkeypatch.setattr(parquet_triples, "ROWS_WRITTEN_AT_ONCE", 2)
    box = [[0.1, 0.1, 0.6, 0.9]]
    spans = [{"start": 11, "end": 23, "type": "PER"}, {"start": 29, "end": 41, "type": "PER"}]
    posts = [
        {"id": "a", "text": TEXT, "head": NADAL, "tail": PERELLO, "image": "a.png", "author": "x", "size": 1},
        {"id": "b", "text": TEXT, "entities": spans, "image": "b.png", "detected_regions": box},
        {"id": "c", "tokens": TEXT.split(), "pairs": [[[3, 5], [6, 8]], [[6, 8], [9, 11]]], "author": "y"},
        {"id": "d", "text": TEXT, "image": "a.png"},
        {"id": "e", "text": TEXT, "head": NADAL, "tail": PERELLO, "image": "broken.png"},
    ]
    changes = {"keep": ["author", "size"], "decision": decision}
    as_lines = arguments("a.jsonl", **changes)
    first = predict(focalmre, write(folder / "raw.jsonl", posts), as_lines)
    lines = read(as_lines)
    assert len(lines) > 2 and first.failed == 1

    inside = [
        post | ({"image": {"bytes": (folder / post["image"]).read_bytes(), "path": None}} if "image" in post else {})
        for post in posts
    ]
    (folder / "shards").mkdir()
    # The columns are those of the first row.
    fields = (
        "id",
        "text",
        "tokens",
        "head",
        "tail",
        "pairs",
        "entities",
        "image",
        "detected_regions",
        "author",
        "size",
    )
    rows = [{name: post.get(name) for name in fields} for post in inside]
    beside = [row | {"image": post.get("image")} for row, post in zip(rows, posts)]
    pq.write_table(pa.Table.from_pylist(beside), folder / "raw.parquet")
    pq.write_table(pa.Table.from_pylist(rows[:2]), folder / "shards" / "0.parquet")
    pq.write_table(pa.Table.from_pylist(rows[2:]), folder / "shards" / "1.parquet")
    for number, source in enumerate((folder / "raw.parquet", folder / "shards", f"file://{folder}/shards")):
        again = arguments(f"{number}.jsonl", **changes)
        assert predict(focalmre, str(source), again).failed == 1
        assert read(again) == lines
        errors = Path(f"{again.out}.errors.jsonl").read_text("utf-8")
        assert json.loads(errors)["id"] == "e"

    out = arguments("t.parquet", **changes)
    assert "triples of 5 posts" in predict(focalmre, str(folder / "raw.jsonl"), out).text
    found = pq.ParquetFile(out.out)
    assert found.num_row_groups > 1
    assert found.read().to_pylist() == [
        {name: row[name] for name in found.schema_arrow.names} for row in as_columns(lines)
    ]


def test_bad_rows_of_parquet_are_named_before_a_model_is_loaded(folder, arguments):
    rows = [{"text": TEXT, "head": [0, 999], "tail": list(PERELLO)}, {"text": " ", "head": [0, 1], "tail": [1, 2]}]
    pq.write_table(pa.Table.from_pylist(rows), folder / "raw.parquet")
    with pytest.raises(ValueError, match=r"raw\.parquet: row 1: head: \[0, 999\]") as raised:
        predict("no/such/model", str(folder / "raw.parquet"), arguments())
    assert "raw.parquet: row 2: text: ' '" in str(raised.value)
