"""Few training posts: a share of them, or a number per relation."""

import random
from collections import defaultdict

import datasets


def sample_share(dataset: datasets.Dataset, share: float, seed: int) -> datasets.Dataset:
    """Draw a share of the posts without replacement: low-resource training (FocalMRE, section 5.3.5).

    Args:
        dataset: a data set of posts.
        share: share of the posts that are kept, in (0, 1].
        seed: the same seed gives the same posts.

    Returns:
        The posts that are kept, in their order.

    Raises:
        ValueError: the share is not in [0, 1], or so small that no post is kept.
    """
    check_share(share)
    number = round(share * len(dataset))
    if number == 0:
        raise ValueError(
            f"`share` {share} of {len(dataset)} posts is no post; expected at least {1 / max(1, len(dataset)):.2g}"
        )
    return dataset.select(sorted(random.Random(seed).sample(range(len(dataset)), number)))


def sample_per_relation(dataset: datasets.Dataset, number: int, seed: int) -> datasets.Dataset:
    """Draw a number of posts of each relation, the negative one too, without replacement (FocalMRE, section 5.3.5).

    Args:
        dataset: a data set of posts.
        number: K, how many posts of each relation are kept; a relation that has fewer keeps all.
        seed: the same seed gives the same posts.

    Returns:
        The posts that are kept, in their order.

    Raises:
        ValueError: the number is below one.
    """
    if number < 1:
        raise ValueError(f"`number` is {number}; it must be at least 1")
    posts_of_relation = defaultdict(list)
    for index, relation in enumerate(dataset["relation"]):
        posts_of_relation[relation].append(index)
    generator = random.Random(seed)
    kept = []
    for relation in sorted(posts_of_relation):
        posts = posts_of_relation[relation]
        kept += generator.sample(posts, min(number, len(posts)))
    return dataset.select(sorted(kept))


def check_share(share: float) -> None:
    """Raise `ValueError` unless a share is in [0, 1]."""
    if not 0 <= share <= 1:
        raise ValueError(f"`share` is {share}; it must be in [0, 1]")


__all__ = ["check_share", "sample_per_relation", "sample_share"]
