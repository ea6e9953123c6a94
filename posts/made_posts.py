"""Data sets of posts that the code makes, one by one."""

import random
from collections.abc import Callable, Mapping, Sequence

import datasets

from .schema import post_features


def make_splits(
    relations: Sequence[str], sizes: Mapping[str, int], seed: int, make_post: Callable[[random.Random, str], dict]
) -> datasets.DatasetDict:
    """Make the splits of a data set.

    Args:
        relations: names of the relations, in the order of their ids.
        sizes: number of posts of each split.
        seed: posts of the same seed, split and index are the same, whatever the sizes.
        make_post: makes a row without its id, from a stream of random numbers of its own and the name of its split.
    """
    features = post_features(relations)
    splits = {}
    for split, size in sizes.items():
        rows = []
        for index in range(size):
            rng = random.Random(f"{seed}-{split}-{index}")  # noqa: S311 (not for secrets)
            rows.append(features.encode_example({"id": f"{split}-{index}", **make_post(rng, split)}))
        columns = {name: [row[name] for row in rows] for name in features}  # `from_list` refuses an empty split
        splits[split] = datasets.Dataset.from_dict(columns, features=features)
    return datasets.DatasetDict(splits)


__all__ = ["make_splits"]
