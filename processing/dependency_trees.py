"""Graphs of a post, its dependency tree and its overlapping boxes, and what each node sees around itself."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from .entity_markers import Span
from .focal_augmentation import Box
from .spacy_entities import load_spacy

# A word of a text: its first character, its end (exclusive), and the number of the word that it depends on.
Word = tuple[int, int, int]

# Degrees are counted in buckets 0, 1, 2 to 3, 4 to 7, ...; the last bucket has all that is left.
NUM_BUCKETS = 8
# What a neighbour counts by its distance.
HOP_WEIGHTS = (1.0, 0.01, 0.0001)
# The parts of a spaCy model that a tree does not need.
UNUSED_PIPES = ("tagger", "morphologizer", "attribute_ruler", "lemmatizer", "ner")


@lru_cache(maxsize=1)
def load_parser(spacy_model: str) -> Any:
    """Load a spaCy model that finds dependencies, once in a process; see [`load_spacy`]."""
    return load_spacy(spacy_model, needs=("DEP",))


@lru_cache(maxsize=1024)
def parse(spacy_model: str, text: str) -> tuple[Word, ...]:
    """Find the dependency tree of a text.

    Args:
        spacy_model: name of an installed spaCy model with a parser, or the folder of one.
        text: the post as it is: each of its words is a node.

    Returns:
        The words in the order of the text. A root depends on itself; a text may have several.

    Raises:
        ImportError, OSError, ValueError: as [`load_spacy`].
    """
    words = [token for token in load_parser(spacy_model)(text, disable=UNUSED_PIPES) if not token.is_space]
    numbers = {token.i: number for number, token in enumerate(words)}
    return tuple(
        (token.idx, token.idx + len(token), numbers.get(token.head.i, number)) for number, token in enumerate(words)
    )


def check_tree(words: Any, text: str) -> list[Word]:
    """Check the dependency tree of a text that was given.

    Args:
        words: a sequence of (first character, end, number of the word it depends on).
        text: the text.

    Raises:
        ValueError: if it is none, or not one of this text.
    """
    try:
        tree = [tuple(int(number) for number in word) for word in words]
        is_tree = all(0 <= start < end <= len(text) and 0 <= head < len(tree) for start, end, head in tree)
    except (TypeError, ValueError):
        is_tree = False
    if not is_tree or any(later[0] < word[1] for word, later in zip(tree, tree[1:])):
        raise ValueError(
            f"`dependencies` must be the words of the text in their order, each as [first character, end, number of "
            f"the word it depends on], got {words!r} for the text {text!r}."
        )
    return tree


def tree_neighbours(words: Sequence[Word]) -> list[set[int]]:
    """Return the neighbours of each word in its tree."""
    neighbours = [set() for _ in words]
    for number, (_, _, head) in enumerate(words):
        if head != number:
            neighbours[number].add(head)
            neighbours[head].add(number)
    return neighbours


def box_neighbours(boxes: Sequence[Box]) -> list[set[int]]:
    """Return for each box the other boxes that it shares an area with, wholly or in part."""
    neighbours = [set() for _ in boxes]
    for number, one in enumerate(boxes):
        for other_number, other in enumerate(boxes[:number]):
            width = min(one[2], other[2]) - max(one[0], other[0])
            height = min(one[3], other[3]) - max(one[1], other[1])
            if width > 0 and height > 0:
                neighbours[number].add(other_number)
                neighbours[other_number].add(number)
    return neighbours


def structures(neighbours: Sequence[set[int]]) -> list[list[float]]:
    """Describe what each node of a graph sees around itself, as xNetMF does (Heimann et al. 2018, section 4.1).

    Entry b of a node is the sum over l = 0, 1, 2 of 0.01^l times the number of nodes at the distance l whose degree is
    in bucket b: 0 for no neighbour, else 1 + floor(log2(degree)), at most 7.

    Args:
        neighbours: the neighbours of each node.

    Returns:
        For each node `NUM_BUCKETS` numbers. None of them is all zero: a node is at the distance 0 of itself.
    """
    buckets = [min(len(near).bit_length(), NUM_BUCKETS - 1) for near in neighbours]
    described = []
    for node, near in enumerate(neighbours):
        far = set().union(*(neighbours[other] for other in near)) - near - {node}
        counts = [0.0] * NUM_BUCKETS
        for weight, others in zip(HOP_WEIGHTS, ({node}, near, far)):
            for other in others:
                counts[buckets[other]] += weight
        described.append(counts)
    return described


def first_tokens(words: Sequence[Word], offsets: Sequence[Span | None], text: str) -> dict[int, int]:
    """Find the first token of each word.

    Args:
        words: the words of the text, in their order.
        offsets: the characters of each token, none for a marker.
        text: the text; white space at a token's start belongs to no word.

    Returns:
        By a token's number, the number of the word whose first token it is. A word in which no token starts has none.
    """
    first, seen, number = {}, set(), 0
    for token, span in enumerate(offsets):
        if span is None:
            continue
        content = text[slice(*span)]
        start = span[0] + len(content) - len(content.lstrip())
        while number < len(words) and words[number][1] <= start:
            number += 1
        if number < len(words) and words[number][0] <= start < span[1] and number not in seen:
            first[token] = number
            seen.add(number)
    return first


__all__ = ["NUM_BUCKETS", "box_neighbours", "check_tree", "first_tokens", "parse", "structures", "tree_neighbours"]
