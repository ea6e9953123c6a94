"""The schema of a data set of posts."""

import datasets

NEGATIVE_RELATION = "None"

SPLITS = ("train", "validation", "test")

# Columns that say something of the picture, beside the picture.
REGION_COLUMNS = ("grounded_regions", "detected_regions")
PICTURE_COLUMNS = (*REGION_COLUMNS, "caption")

# Where a data set is gone through by its columns.
ROWS_AT_ONCE = 1000


def post_features(relations: list[str]) -> datasets.Features:
    """Return the columns of a data set of posts.

    Args:
        relations: names of the relations in the order of their ids; the negative one first.

    Returns:
        `datasets.Features` with `id` (unique over all splits), `text`, `head` and `tail` (`start` and `end` in
        characters of the text, Unicode code points, end exclusive), `image` (may be null), `relation`,
        `grounded_regions` and `detected_regions` (lists of boxes `[x_min, y_min, x_max, y_max]`, fractions of the
        image) and `caption` (may be null).
    """
    span = {"start": datasets.Value("int32"), "end": datasets.Value("int32")}
    boxes = datasets.List(datasets.List(datasets.Value("float64"), length=4))
    return datasets.Features(
        {
            "id": datasets.Value("string"),
            "text": datasets.Value("string"),
            "head": span,
            "tail": span,
            "image": datasets.Image(),
            "relation": datasets.ClassLabel(names=relations),
            "grounded_regions": boxes,
            "detected_regions": boxes,
            "caption": datasets.Value("string"),
        }
    )


__all__ = ["NEGATIVE_RELATION", "PICTURE_COLUMNS", "REGION_COLUMNS", "ROWS_AT_ONCE", "SPLITS", "post_features"]
