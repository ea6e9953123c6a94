"""One decision for a post: types, loops, directions, mentions."""

import pytest

from mmre.inference.decision import decide_post, is_loop
from mmre.inference.relation_schema import RelationRule, RelationSchema

SCHEMA = RelationSchema(
    {
        "couple": RelationRule((("PER", "PER"),), True),
        "parent": RelationRule((("PER", "PER"),)),
        "lives in": RelationRule((("PER", "LOC"),)),
        "told of": RelationRule((("*", "PER"), ("PER", "*"))),
    }
)
ANN, BOB, ROME = ("Ann Lee", 0, "PER"), ("Bob Ray", 13, "PER"), ("Rome", 24, "LOC")


def entity(name: str, start: int, kind: str | None) -> dict:
    return {"start": start, "end": start + len(name), "text": name} | ({} if kind is None else {"type": kind})


def pair(head: tuple, tail: tuple, **scores: float) -> list[dict]:
    """All that a model says of a pair, in the order of the relations' ids."""
    both = {"head": entity(*head), "tail": entity(*tail)}
    labels = {"none": "None"}
    return [{**both, "label": labels.get(name, name.replace("_", " ")), "score": scores[name]} for name in scores]


def stated(rows: list[dict]) -> list[tuple]:
    return [(row["head"]["text"], row["label"], row["tail"]["text"], row["score"]) for row in rows]


def test_the_example_of_the_documentation():
    found = [
        *pair(ANN, BOB, none=0.1, couple=0.9),
        *pair(BOB, ANN, none=0.1, couple=0.8, parent=0.1),
        *pair(ANN, ROME, none=0.1, couple=0.6, lives_in=0.3),
        *pair(ROME, ANN, none=0.3, lives_in=0.7),
    ]
    rows, counts = decide_post(found, SCHEMA)
    assert stated(rows) == [("Ann Lee", "couple", "Bob Ray", 0.9)]
    assert rows[0]["ruled_out"] == 0
    assert counts == {"types": 2, "symmetric": 1}


def test_what_does_not_fit_the_types_goes_to_none_and_what_fits_keeps_its_score():
    found = pair(ANN, ROME, none=0.1, couple=0.3, lives_in=0.6)
    rows, _ = decide_post(found, SCHEMA)
    assert stated(rows) == [("Ann Lee", "lives in", "Rome", 0.6)]
    assert rows[0]["ruled_out"] == pytest.approx(0.3)
    found = pair(ANN, ROME, none=0.1, couple=0.5, lives_in=0.4)
    rows, counts = decide_post(found, SCHEMA)
    assert rows == [] and counts == {"types": 1}  # 0.1 and 0.5 for None, against 0.4
    found = pair(ANN, ROME, none=0.8, couple=0.1, lives_in=0.1)
    assert decide_post(found, SCHEMA) == ([], {"none": 1})


def test_a_type_that_is_not_known_rules_nothing_out():
    nobody = ("Rome", 24, None)
    rows, _ = decide_post(pair(ANN, nobody, none=0.1, couple=0.6, lives_in=0.3), SCHEMA)
    assert stated(rows) == [("Ann Lee", "couple", "Rome", 0.6)]
    other = [("Ann Lee", 0, "person"), ("Rome", 24, "place")]
    assert decide_post(pair(*other, couple=0.6), SCHEMA)[0] == []
    rows, _ = decide_post(pair(("Ann Lee", 0, "per"), ("Rome", 24, "Loc"), lives_in=0.6), SCHEMA)
    assert len(rows) == 1  # whatever the case of a type
    assert len(decide_post(pair(*other, works_at=0.6), SCHEMA)[0]) == 1  # a relation without a rule


def test_of_two_directions_the_better_one_is_kept_unless_both_are_wanted():
    found = pair(ANN, BOB, parent=0.7) + pair(BOB, ANN, parent=0.8)
    rows, counts = decide_post(found, SCHEMA)
    assert stated(rows) == [("Bob Ray", "parent", "Ann Lee", 0.8)] and counts == {"reversed": 1}
    rows, counts = decide_post(found, SCHEMA, both_directions=True)
    assert stated(rows) == [("Ann Lee", "parent", "Bob Ray", 0.7), ("Bob Ray", "parent", "Ann Lee", 0.8)]
    assert counts == {}
    found = pair(ANN, BOB, couple=0.7) + pair(BOB, ANN, couple=0.8)
    for both_directions in (False, True):
        rows, counts = decide_post(found, SCHEMA, both_directions)
        assert stated(rows) == [("Bob Ray", "couple", "Ann Lee", 0.8)] and counts == {"symmetric": 1}
    # Two relations do not exclude each other, and of equal scores the first in the text is kept.
    rows, _ = decide_post(pair(ANN, BOB, parent=0.7) + pair(BOB, ANN, couple=0.7), SCHEMA)
    assert [row["label"] for row in rows] == ["parent", "couple"]
    rows, _ = decide_post(pair(ANN, BOB, parent=0.7) + pair(BOB, ANN, parent=0.7), SCHEMA)
    assert stated(rows) == [("Ann Lee", "parent", "Bob Ray", 0.7)]


def test_other_mentions_of_the_same_names_say_it_once():
    again = ("@ann LEE", 40, "PER")
    found = (
        pair(ANN, ROME, lives_in=0.7) + pair(again, ROME, lives_in=0.9) + pair(("ann lee", 60, "ORG"), BOB, told_of=0.5)
    )
    rows, counts = decide_post(found, SCHEMA)
    assert stated(rows) == [("@ann LEE", "lives in", "Rome", 0.9), ("ann lee", "told of", "Bob Ray", 0.5)]
    assert counts == {"repeated": 1}


def test_names_that_are_one_make_a_loop():
    assert is_loop("#Paris", "paris") and is_loop("Zoe\u0308", "ZO\u00cb") and is_loop("@ Ann", "Ann")
    assert not is_loop("Paris", "Parish") and not is_loop("C#", "C")


def test_an_answer_that_names_no_relation_states_none():
    assert decide_post([{**pair(ANN, BOB, x=0)[0], "label": None}], SCHEMA) == ([], {"none": 1})
    # A written answer is all there is: nothing is left where it does not fit.
    assert decide_post(pair(ANN, ROME, couple=1.0), SCHEMA) == ([], {"types": 1})
