"""The collator that turns rows of a data set of posts into a batch."""

import inspect
from dataclasses import dataclass
from typing import Any

from .schema import PICTURE_COLUMNS


@dataclass
class PostCollator:
    """Turn rows of a data set of posts into model inputs, padded to the batch's longest text.

    Args:
        processor: a processor of this package; it gets the row's text, image and spans, and those of its boxes and its
            caption that the processor takes.
    """

    processor: Any

    def __post_init__(self):
        self._arguments = inspect.signature(self.processor.__call__).parameters

    def __call__(self, rows: list[dict]) -> dict:
        spans = {name: [(row[name]["start"], row[name]["end"]) for row in rows] for name in ("head", "tail")}
        batch = self.processor(
            text=[row["text"] for row in rows],
            images=[row["image"] for row in rows],
            **spans,
            **{name: [row[name] for row in rows] for name in PICTURE_COLUMNS if name in self._arguments},
            return_tensors="pt",
        )
        batch["labels"] = batch["input_ids"].new_tensor([row["relation"] for row in rows])
        return batch


__all__ = ["PostCollator"]
