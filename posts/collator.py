"""The collator that turns rows of a data set of posts into a batch."""

from dataclasses import dataclass
from typing import Any

from .schema import REGION_COLUMNS

# The columns behind each of a processor's `inputs`, beside text, head and tail. Regions are of an image.
INPUT_COLUMNS = {
    "image": ("image",),
    "regions": ("image", *REGION_COLUMNS),
    "boxes": ("image",),
    "caption": ("caption",),
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
            rows: posts, with the columns of [`post_features`] that the processor reads, and `relation`, which posts
                without a label lack.

        Returns:
            The model's inputs, and `labels` (batch,) if the posts have a relation.
        """
        columns = {column for name in self.processor.inputs for column in INPUT_COLUMNS.get(name, ())}
        given = {column: [row[column] for row in rows] for column in columns}
        if "image" in given:
            given["images"] = given.pop("image")
        spans = {name: [(row[name]["start"], row[name]["end"]) for row in rows] for name in ("head", "tail")}
        batch = self.processor(text=[row["text"] for row in rows], **spans, **given, return_tensors="pt")
        if "relation" in rows[0]:
            batch["labels"] = batch["input_ids"].new_tensor([row["relation"] for row in rows])
        return batch


__all__ = ["INPUT_COLUMNS", "PostCollator"]
