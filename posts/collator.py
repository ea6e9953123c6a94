"""The collator that turns rows of a data set of posts into a batch."""

import operator
from dataclasses import dataclass
from typing import Any

from mmre.processing.suggestions import unknown

from .schema import REGION_COLUMNS

# The columns behind each of a processor's `inputs`, beside text, head and tail. Regions are of an image.
INPUT_COLUMNS = {
    "image": ("image",),
    "regions": ("image", *REGION_COLUMNS),
    "boxes": ("image",),
    "caption": ("caption",),
    "structure": ("dependencies",),
}
NEEDED = ("text", "head", "tail")
POST_COLUMNS = {*NEEDED, "id", "relation", *(column for columns in INPUT_COLUMNS.values() for column in columns)}


@dataclass
class PostCollator:
    """Turns rows of a data set of posts into model inputs, padded to the batch's longest text.

    Args:
        processor: a processor of this package; what its `inputs` leave out need not be in the rows.
    """

    processor: Any

    def __call__(self, rows: list[dict]) -> dict:
        """Collate rows.

        Args:
            rows: posts with `text`, `head` and `tail` (each `{"start": ..., "end": ...}` or a pair, in characters);
                optional are the other columns of [`post_features`] that the processor reads, and `relation`, the id.

        Returns:
            The model's inputs, and `labels` (batch,) if all of the posts have a relation.

        Raises:
            ValueError: a row lacks what a post needs, or only some rows have a relation.
        """
        columns = {column for name in self.processor.inputs for column in INPUT_COLUMNS.get(name, ())}
        _check_names(rows, (*NEEDED, *sorted(columns), "relation"))
        given = {column: [row.get(column) for row in rows] for column in columns}
        if "image" in given:
            given["images"] = given.pop("image")
        spans = {name: [row[name] for row in rows] for name in ("head", "tail")}
        batch = self.processor(text=[row["text"] for row in rows], **spans, **given, return_tensors="pt")
        relations = [row.get("relation") for row in rows]
        for index, relation in enumerate(relations):
            if relation is not None and not _is_id(relation):
                raise ValueError(
                    f"post {index} of a batch: `relation` is {relation!r}; expected the id of a relation, a whole "
                    "number from 0"
                )
        if None not in relations:
            batch["labels"] = batch["input_ids"].new_tensor(relations)
        elif any(relation is not None for relation in relations):
            raise ValueError(
                f"{relations.count(None)} of {len(rows)} posts of a batch have no `relation`: all, or none"
            )
        return batch


def _check_names(rows: list[dict], read: tuple[str, ...]) -> None:
    """Refuse rows that lack what a post needs, or call a column that is read almost by its name."""
    there = dict.fromkeys(name for row in rows for name in row)
    missing = [name for name in read if name not in there]
    for name in there:
        clause = "" if name in POST_COLUMNS else unknown("field", name, missing)
        if clause.endswith("?"):
            raise ValueError(f"a row has the {clause}")
    for row in rows:
        missing = [name for name in NEEDED if name not in row]
        if not missing:
            continue
        found = f"a row has no {', '.join(missing)}, only {', '.join(row) or 'nothing'}"
        if "tokens" in row:
            raise ValueError(
                f"{found}: a post is its `text`, with spans in characters; `open_posts` makes this of files of words, "
                "`processor(text=tokens, ...)` takes words as they are"
            )
        if len(missing) < len(NEEDED):
            raise ValueError(f"{found}: a post needs {', '.join(NEEDED)}")
        raise ValueError(
            f"{found}: the Trainer takes away what the model's `forward` does not name unless TrainingArguments has "
            "remove_unused_columns=False"
        )


def _is_id(relation: Any) -> bool:
    is_number = not isinstance(relation, (bool, str)) and hasattr(relation, "__index__")
    return is_number and operator.index(relation) >= 0


__all__ = ["INPUT_COLUMNS", "PostCollator"]
