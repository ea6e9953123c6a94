"""The collator that turns rows of a data set of posts into a batch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .schema import REGION_COLUMNS

# The columns behind each of a processor's `inputs`, beside text, head and tail. Regions are of an image.
INPUT_COLUMNS = {
    "image": ("image",),
    "regions": ("image", *REGION_COLUMNS),
    "boxes": ("image",),
    "caption": ("caption",),
    "structure": ("dependencies",),
}


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
        for row in rows:
            missing = [name for name in ("text", "head", "tail") if name not in row]
            if missing:
                raise ValueError(
                    f"a row has no {', '.join(missing)}, only {', '.join(row) or 'nothing'}: the Trainer takes away "
                    "what the model's `forward` does not name unless TrainingArguments has remove_unused_columns=False"
                )
        columns = {column for name in self.processor.inputs for column in INPUT_COLUMNS.get(name, ())}
        given = {column: [row.get(column) for row in rows] for column in columns}
        if "image" in given:
            given["images"] = given.pop("image")
        spans = {name: [_pair(row[name]) for row in rows] for name in ("head", "tail")}
        batch = self.processor(text=[row["text"] for row in rows], **spans, **given, return_tensors="pt")
        relations = [row.get("relation") for row in rows]
        for index, relation in enumerate(relations):
            if relation is not None and (isinstance(relation, (bool, str)) or not hasattr(relation, "__index__")):
                raise ValueError(f"post {index} of a batch: `relation` is {relation!r}; expected the id of a relation")
        if None not in relations:
            batch["labels"] = batch["input_ids"].new_tensor(relations)
        elif any(relation is not None for relation in relations):
            raise ValueError(
                f"{relations.count(None)} of {len(rows)} posts of a batch have no `relation`: all, or none"
            )
        return batch


def _pair(span: Any) -> Any:
    return (span["start"], span["end"]) if isinstance(span, Mapping) and span.keys() == {"start", "end"} else span


__all__ = ["INPUT_COLUMNS", "PostCollator"]
