"""The order in which posts are evaluated: those of one picture together, beside others of their length.

A batch is padded to its longest text, and each different picture of a batch is encoded once.
"""

from collections.abc import Hashable, Sequence


def together(keys: Sequence[Hashable | None], lengths: Sequence[int]) -> list[int]:
    """Order posts: those of one picture one after another, pictures by their longest text, the longest first.

    Args:
        keys: what the picture of each post is known by; a post without one stands for itself.
        lengths: of the text of each post.

    Returns:
        The numbers of the posts, each once. Of the same keys and lengths it is the same order each time.
    """
    longest = sorted(picture_groups(keys), key=lambda group: -max(lengths[number] for number in group))
    return [number for group in longest for number in group]


def picture_groups(keys: Sequence[Hashable | None]) -> list[list[int]]:
    """Return the numbers of the posts of each picture, in the order of the first ones.

    Args:
        keys: as of [`together`].
    """
    groups = {}
    for number, key in enumerate(keys):
        groups.setdefault(("post", number) if key is None else ("picture", key), []).append(number)
    return list(groups.values())


__all__ = ["picture_groups", "together"]
