"""Triples as a parquet file: a row for each, a group of rows in memory at a time."""

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

ROWS_WRITTEN_AT_ONCE = 10_000
ENTITY_COLUMNS = {"": ("text", pa.string()), "_start": ("start", pa.int64()), "_end": ("end", pa.int64())}
ENTITY_COLUMNS |= {"_type": ("type", pa.string())}


def write_parquet(triples: Iterable[dict], file: BinaryIO, keep: Sequence[str] = ()) -> None:
    """Write triples as parquet.

    Columns: `id`, `text` (of posts given as words), `head`, `head_start`, `head_end`, `head_type`, `relation`, the same
    four of the `tail`, `score`, `ruled_out`, and the fields that are kept, as text: what is no text, as JSON.

    Args:
        triples: rows of the predictor, each with one of its relations.
        file: where to write.
        keep: fields of posts that are handed on.
    """
    schema = parquet_schema(keep)
    with pq.ParquetWriter(file, schema) as writer:
        for rows in _groups(parquet_row(triple, keep) for triple in triples):
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))


def parquet_schema(keep: Sequence[str]) -> pa.Schema:
    """Return the columns of a file of triples."""
    entities = {
        part: [(f"{part}{ending}", kind) for ending, (_, kind) in ENTITY_COLUMNS.items()] for part in ("head", "tail")
    }
    scores = [("score", pa.float64()), ("ruled_out", pa.float64())]
    return pa.schema(
        [
            *(("id", pa.string()), ("text", pa.string()), *entities["head"]),
            *(("relation", pa.string()), *entities["tail"], *scores),
            *((name, pa.string()) for name in keep),
        ]
    )


def parquet_row(triple: dict, keep: Sequence[str]) -> dict[str, Any]:
    """Return the cells of a triple."""
    row = {"id": triple["id"], "text": triple.get("text"), "relation": triple["label"], "score": triple["score"]}
    row["ruled_out"] = triple.get("ruled_out")
    for part in ("head", "tail"):
        row |= {f"{part}{ending}": triple[part].get(key) for ending, (key, _) in ENTITY_COLUMNS.items()}
    for name in keep:
        value = triple["kept"].get(name)
        row[name] = value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return row


def _groups(rows: Iterator[dict]) -> Iterator[list[dict]]:
    while group := list(islice(rows, ROWS_WRITTEN_AT_ONCE)):
        yield group


__all__ = ["write_parquet"]
