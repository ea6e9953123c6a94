"""Splits that share nothing: posts of one picture or of one text go into one split."""

import random
from collections import defaultdict
from collections.abc import Sequence

from .schema import SPLITS


def groups_of(posts: Sequence[tuple[str, str | None]]) -> list[list[int]]:
    """Return the numbers of the posts that hang together by a picture or a text, over others too.

    Args:
        posts: text and picture of each post, None without one. Texts that differ in case or white space alone are one.

    Returns:
        The connected components, each in order, by their first posts.
    """
    parents = list(range(len(posts)))

    def root(number: int) -> int:
        while parents[number] != number:
            parents[number] = parents[parents[number]]
            number = parents[number]
        return number

    first = {}
    for number, (text, image) in enumerate(posts):
        for key in (("text", " ".join(text.casefold().split())), ("image", image)):
            if key != ("image", None):
                parents[root(number)] = root(first.setdefault(key, number))
    groups = defaultdict(list)
    for number in range(len(posts)):
        groups[root(number)].append(number)
    return sorted(groups.values())


def split_apart(
    posts: Sequence[tuple[str, str | None]],
    relations: Sequence[set[str]],
    validation: float,
    test: float,
    seed: int,
) -> dict[str, list[int]]:
    """Split posts so that no picture and no text is in two splits, and training has all relations.

    Args:
        posts: text and picture of each post, see [`groups_of`].
        relations: the relations that each post has.
        validation: share of the posts for validation, in [0, 1).
        test: share of the posts for test.
        seed: the same seed gives the same splits.

    Returns:
        The numbers of the posts of each split, in order. Validation and test have at most their shares: a group that is
        too large for them, or has a relation that training would lack, goes to training.
    """
    groups = groups_of(posts)
    random.Random(seed).shuffle(groups)
    room = {"validation": round(validation * len(posts)), "test": round(test * len(posts))}
    chosen = {split: [] for split in SPLITS}
    for group in groups:
        split = next((split for split in ("test", "validation") if len(group) <= room[split]), "train")
        if split != "train":
            room[split] -= len(group)
        chosen[split].append(group)

    def known() -> set[str]:
        return {name for group in chosen["train"] for number in group for name in relations[number]}

    seen = known()
    for split in ("validation", "test"):
        for group in list(chosen[split]):
            if not {name for number in group for name in relations[number]} <= seen:
                chosen[split].remove(group)
                chosen["train"].append(group)
                seen = known()
    return {split: sorted(number for group in found for number in group) for split, found in chosen.items()}


__all__ = ["groups_of", "split_apart"]
