"""The collator that turns rows of a data set of posts into a batch."""

from dataclasses import dataclass
from typing import Any

from .schema import PICTURE_COLUMNS


@dataclass
class PostCollator:
    """Turn rows of a data set of posts into model inputs, padded to the batch's longest text.

    Args:
        processor: a processor of this package; it reads of a row what its `inputs` say.
    """

    processor: Any

    def __call__(self, rows: list[dict]) -> dict:
        spans = {name: [(row[name]["start"], row[name]["end"]) for row in rows] for name in ("head", "tail")}
        batch = self.processor(
            text=[row["text"] for row in rows],
            images=[row["image"] for row in rows],
            **spans,
            **{name: [row[name] for row in rows] for name in PICTURE_COLUMNS},
            return_tensors="pt",
        )
        batch["labels"] = batch["input_ids"].new_tensor([row["relation"] for row in rows])
        return batch


__all__ = ["PostCollator"]
