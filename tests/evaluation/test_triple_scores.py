"""Scores of triples, by hand."""

import pytest

from mmre.evaluation.triple_scores import gather_pairs, score_triples


def span(start: int, end: int) -> dict:
    return {"start": start, "end": end}


ROWS = [
    {"text": "a b c", "head": span(2, 3), "tail": span(0, 1), "relation": "parent"},
    {"text": "a b c", "head": span(0, 1), "tail": span(4, 5), "relation": "peer"},
    {"text": "a b c", "head": span(2, 3), "tail": span(4, 5), "relation": "None"},
    {"text": "d e", "head": span(0, 1), "tail": span(2, 3), "relation": "peer"},
]


def triple(key: str, head: tuple, relation: str, tail: tuple) -> dict:
    return {"id": key, "head": span(*head), "relation": relation, "tail": span(*tail)}


def test_rows_of_one_text_are_one_post():
    first, second = gather_pairs(ROWS)
    assert (first["id"], first["text"], first["entities"]) == ("0", "a b c", [(0, 1), (2, 3), (4, 5)])
    assert first["labels"][(2, 3), (0, 1)] == "parent" and len(first["labels"]) == 3
    assert second["entities"] == [(0, 1), (2, 3)]


def test_triples_are_right_as_labelled_and_symmetric_ones_in_either_direction():
    triples = [
        triple("0", (2, 3), "parent", (0, 1)),  # right
        triple("0", (0, 1), "parent", (2, 3)),  # the other way round
        triple("0", (4, 5), "peer", (0, 1)),  # right, for it is symmetric
        triple("0", (0, 1), "peer", (4, 5)),  # right, and the same
        triple("0", (2, 3), "peer", (4, 5)),  # labelled as none
        triple("1", (0, 1), "peer", (1, 3)),  # an entity that nobody labelled
    ]
    scores = score_triples(triples, gather_pairs(ROWS), ["peer"])
    assert scores == (6, 5, 3, 2, 3)
    assert (scores.precision, scores.recall) == (60, pytest.approx(200 / 3))
    assert score_triples(triples, gather_pairs(ROWS)) == (6, 5, 2, 2, 3)
    assert score_triples([], gather_pairs(ROWS)).precision == 0
