"""Columns of a data set of posts, replaced: posts without pictures, without regions, or with a caption that counts."""

from collections.abc import Sequence

import datasets

from mmre.processing.suggestions import unknown

from .lookalikes import one_form
from .schema import REGION_COLUMNS


def replace_columns(dataset: datasets.Dataset, columns: dict[str, list]) -> datasets.Dataset:
    """Replace values of some columns; the other columns are not read.

    Args:
        dataset: a data set of posts.
        columns: a value per post, for each column to replace.

    Returns:
        The data set, with its columns in their order and of their types.
    """
    if not columns:
        return dataset
    features = datasets.Features({name: dataset.features[name] for name in columns})
    replaced = datasets.Dataset.from_dict(columns, features=features)
    kept = dataset.remove_columns(list(columns))
    return datasets.concatenate_datasets([kept, replaced], axis=1).select_columns(dataset.column_names)


def drop_pictures(dataset: datasets.Dataset) -> datasets.Dataset:
    """Remove pictures and regions: text alone is left, or text and caption.

    Args:
        dataset: a data set of posts.

    Returns:
        The data set with null pictures and no regions; captions stay.
    """
    nothing = {"image": [None] * len(dataset)}
    nothing |= {column: [[] for _ in range(len(dataset))] for column in REGION_COLUMNS}
    return replace_columns(dataset, nothing)


def without_images(rows: datasets.Dataset, unreadable: list[int]) -> datasets.Dataset:
    """Remove the images of some posts, and their regions.

    Args:
        rows: a data set of posts.
        unreadable: the indices of these posts.

    Returns:
        The data set, with its columns in their order; captions stay.
    """
    images = rows.select_columns(["image"])
    nothing = datasets.Dataset.from_dict({"image": [None]}, features=images.features)
    sources = list(range(len(rows)))
    for index in unreadable:
        sources[index] = len(rows)
    images = datasets.concatenate_datasets([images, nothing]).select(sources)
    result = datasets.concatenate_datasets([rows.remove_columns("image"), images], axis=1)
    regions = {column: rows[column][:] for column in REGION_COLUMNS if column in rows.column_names}
    for of_posts in regions.values():
        for index in unreadable:
            of_posts[index] = []
    return replace_columns(result, regions).select_columns(rows.column_names)


def drop_regions(dataset: datasets.Dataset) -> datasets.Dataset:
    """Remove all regions, and keep the pictures.

    Args:
        dataset: a data set of posts.

    Returns:
        The data set without a box.
    """
    columns = [column for column in REGION_COLUMNS if column in dataset.column_names]
    return replace_columns(dataset, {column: [[]] * len(dataset) for column in columns})


def region_count_as_caption(dataset: datasets.Dataset) -> datasets.Dataset:
    """Write the number of grounded regions as the caption, in place of picture and regions: this shows a leak.

    Args:
        dataset: a data set of posts.

    Returns:
        The data set without pictures and regions, whose captions are the numbers of grounded regions, in digits.
    """
    counts = [str(len(regions)) for regions in dataset["grounded_regions"]]
    return replace_columns(drop_pictures(dataset), {"caption": counts})


def with_relations(posts: datasets.DatasetDict, relations: Sequence[str]) -> datasets.DatasetDict:
    """Give the relations of posts other ids, such as those of a checkpoint.

    Args:
        posts: data sets of posts, with a column `relation`.
        relations: names of relations in the order of their new ids.

    Returns:
        The posts, with the ids of `relations`; a relation that no post has may be missing there.

    Raises:
        ValueError: posts have relations that are not among them; the message names each.
    """
    label, ids, changed = datasets.ClassLabel(names=list(relations)), {}, {}
    for number, name in enumerate(relations):
        ids[one_form(name)] = number
    for split, rows in posts.items():
        names = rows.features["relation"].names
        if names == list(relations):
            changed[split] = rows
            continue
        new = [names[number] for number in sorted(set(rows["relation"])) if one_form(names[number]) not in ids]
        if new:
            clauses = "; ".join(unknown("relation", name, relations) for name in new)
            raise ValueError(f"{split}: {clauses}")
        renumbered = datasets.Dataset.from_dict(
            {"relation": [ids[one_form(names[number])] for number in rows["relation"]]},
            features=datasets.Features({"relation": label}),
        )
        kept = rows.remove_columns("relation")
        changed[split] = datasets.concatenate_datasets([kept, renumbered], axis=1).select_columns(rows.column_names)
    return datasets.DatasetDict(changed)


__all__ = [
    "drop_pictures",
    "drop_regions",
    "region_count_as_caption",
    "replace_columns",
    "with_relations",
    "without_images",
]
