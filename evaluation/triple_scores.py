"""Scores of triples against labelled posts: how many there are, and how many of them are right."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from mmre.posts.schema import NEGATIVE_RELATION

Pair = tuple[tuple[int, int], tuple[int, int]]


class TripleScores(NamedTuple):
    """Scores of triples.

    Args:
        triples: how many there are.
        judged: how many of them are of two entities whose pair is labelled, in whichever direction.
        right: how many of these are labelled so, in this direction or, of a symmetric relation, in either one.
        found: how many of the labelled relations are among them; fewer than `right` where one is said both ways.
        labelled: how many relations there are to find.
    """

    triples: int
    judged: int
    right: int
    found: int
    labelled: int

    @property
    def precision(self) -> float:
        """Return the share of the judged triples that are right, in per cent."""
        return 100 * self.right / self.judged if self.judged else 0.0

    @property
    def recall(self) -> float:
        """Return the share of the labelled relations that were found, in per cent."""
        return 100 * self.found / self.labelled if self.labelled else 0.0


def gather_pairs(posts: Iterable[Mapping]) -> list[dict]:
    """Gather the rows of a data set, each a pair of entities, to posts with all their entities.

    Args:
        posts: rows with `text`, `head`, `tail` (`start` and `end`) and the name of their `relation`.

    Returns:
        A dictionary for each text, in the order of the first rows: `id`, `text`, `entities` (spans, in the order of the
        text) and `labels` (the relation of each labelled pair of spans).
    """
    labels = defaultdict(dict)
    for post in posts:
        head, tail = ((post[entity]["start"], post[entity]["end"]) for entity in ("head", "tail"))
        labels[post["text"]][head, tail] = post["relation"]
    return [
        {
            "id": str(number),
            "text": text,
            "entities": sorted({span for pair in pairs for span in pair}),
            "labels": pairs,
        }
        for number, (text, pairs) in enumerate(labels.items())
    ]


def score_triples(triples: Iterable[Mapping], posts: Iterable[Mapping], symmetric: Iterable[str] = ()) -> TripleScores:
    """Score triples by the labels of their posts.

    Args:
        triples: with the `id` of their post, `head`, `tail` (`start` and `end`) and `relation`, as they are written.
        posts: from [`gather_pairs`].
        symmetric: relations that are right in either direction.
    """
    labels, symmetric = {post["id"]: post["labels"] for post in posts}, {*symmetric}
    number = judged = right = 0
    found = set()
    for triple in triples:
        number += 1
        known = labels[triple["id"]]
        head, tail = ((triple[entity]["start"], triple[entity]["end"]) for entity in ("head", "tail"))
        judged += (head, tail) in known or (tail, head) in known
        directions = [(head, tail), (tail, head)] if triple["relation"] in symmetric else [(head, tail)]
        hits = [(triple["id"], *pair) for pair in directions if known.get(pair) == triple["relation"]]
        right += bool(hits)
        found.update(hits)
    labelled = sum(name != NEGATIVE_RELATION for pairs in labels.values() for name in pairs.values())
    return TripleScores(number, judged, right, len(found), labelled)


__all__ = ["TripleScores", "gather_pairs", "score_triples"]
