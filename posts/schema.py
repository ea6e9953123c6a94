"""The schema of a data set of posts, and the collator that turns its rows into a batch."""

import inspect
from dataclasses import dataclass
from typing import Any

import datasets

NEGATIVE_RELATION = "None"

# What says something of the picture beside the picture.
REGION_COLUMNS = ("grounded_regions", "detected_regions")
PICTURE_COLUMNS = (*REGION_COLUMNS, "caption")


def post_features(relations: list[str]) -> datasets.Features:
    """The columns of a data set of posts.

    Args:
        relations: names of the relations in the order of their ids; the negative one first.

    Returns:
        `datasets.Features` with `id` (unique over all splits), `tokens` (the words of the post), `head` and `tail`
        (`start` and `end` in words, end exclusive), `image` (may be null), `relation`, `grounded_regions` and
        `detected_regions` (lists of boxes `[x_min, y_min, x_max, y_max]`, fractions of the image) and `caption`
        (may be null).
    """
    span = {"start": datasets.Value("int32"), "end": datasets.Value("int32")}
    boxes = datasets.List(datasets.List(datasets.Value("float64"), length=4))
    return datasets.Features(
        {
            "id": datasets.Value("string"),
            "tokens": datasets.List(datasets.Value("string")),
            "head": span,
            "tail": span,
            "image": datasets.Image(),
            "relation": datasets.ClassLabel(names=relations),
            "grounded_regions": boxes,
            "detected_regions": boxes,
            "caption": datasets.Value("string"),
        }
    )


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
            text=[row["tokens"] for row in rows],
            images=[row["image"] for row in rows],
            **spans,
            **{name: [row[name] for row in rows] for name in PICTURE_COLUMNS if name in self._arguments},
            return_tensors="pt",
        )
        batch["labels"] = batch["input_ids"].new_tensor([row["relation"] for row in rows])
        return batch
