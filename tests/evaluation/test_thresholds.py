"""Thresholds of relations, fitted on the predictions of validation posts."""

import itertools
import json

import numpy as np
import pytest

from mmre.evaluation.run_record import Predictions
from mmre.evaluation.thresholds import (
    KeptCount,
    Thresholds,
    check_model,
    count_kept,
    fit_thresholds,
    read_thresholds,
    thresholds_report,
    write_thresholds,
)

NAMES = ["None", "couple", "peer", "awarded"]


def predictions(*rows: tuple[int, int, float]) -> Predictions:
    """Predictions of (gold, predicted, score)."""
    gold, predicted, scores = zip(*rows)
    ids = [str(number) for number in range(len(rows))]
    return Predictions(ids, NAMES, np.array(gold), np.array(predicted), None, np.array(scores))


ROWS = predictions(
    *((1, 1, 0.9), (1, 1, 0.8), (0, 1, 0.7), (1, 1, 0.6), (0, 1, 0.5)),  # couple: right, right, wrong, right, wrong
    *((0, 2, 0.95), (2, 2, 0.4), (1, 2, 0.3)),  # peer: the highest is wrong
    *((0, 0, 0.99), (3, 0, 0.9)),  # awarded: never predicted
)


def test_a_threshold_is_the_lowest_score_from_which_on_enough_answers_are_right():
    """By hand: of couple, from 0.6 on 3 of 4 are right, from 0.8 on 2 of 2; of peer from 0.4 on 1 of 2."""
    assert fit_thresholds(ROWS, 0.75, min_posts=1).relations == {"couple": 0.6, "peer": None, "awarded": None}
    assert fit_thresholds(ROWS, 0.76, min_posts=1).relations == {"couple": 0.8, "peer": None, "awarded": None}
    assert fit_thresholds(ROWS, 0.5, min_posts=1).relations == {"couple": 0.5, "peer": 0.4, "awarded": None}


def test_answers_of_one_score_are_kept_or_left_out_together():
    rows = predictions((1, 1, 0.8), (0, 1, 0.8), (1, 1, 0.9))
    assert fit_thresholds(rows, 0.9, min_posts=1).relations["couple"] == 0.9


def slow_threshold(rows: Predictions, number: int, precision: float, min_posts: int) -> float | None:
    """Try the score of each answer, one after the other, and count by hand what it keeps."""
    answers = [(s, g == number) for g, p, s in zip(rows.gold, rows.predicted, rows.scores) if p == number]
    for lowest in sorted(score for score, _ in answers):
        kept = [right for score, right in answers if score >= lowest]
        if len(kept) >= min_posts and sum(kept) / len(kept) >= precision:
            return lowest
    return None


@pytest.mark.parametrize("seed", range(20))
def test_thresholds_are_those_of_trying_each_score(seed):
    generator = np.random.default_rng(seed)
    scores = generator.integers(1, 20, size=80) / 20  # few values: many answers have one score
    rows = predictions(*zip(generator.integers(0, 4, 80), generator.integers(0, 4, 80), scores))
    for precision, min_posts in itertools.product((0.2, 1 / 3, 0.5, 1.0), (1, 2, 10)):
        found = fit_thresholds(rows, precision, min_posts=min_posts)
        expected = {name: slow_threshold(rows, number, precision, min_posts) for number, name in enumerate(NAMES)}
        assert found.relations == {name: expected[name] for name in NAMES[1:]}
        for name, count in count_kept(rows, found).items():
            kept = [name == NAMES[p] and found.keeps(name, s) for p, s in zip(rows.predicted, rows.scores)]
            assert count.kept == sum(kept)


def test_what_is_kept_is_counted_on_other_posts():
    thresholds = fit_thresholds(ROWS, 0.75, temperature=2.0, min_posts=2)
    others = predictions((1, 1, 0.6), (0, 1, 0.61), (1, 1, 0.59), (2, 2, 0.99), (2, 0, 0.99))
    assert count_kept(others, thresholds) == {
        "couple": KeptCount(2, 1, 2),
        "peer": KeptCount(0, 0, 2),
        "awarded": KeptCount(0, 0, 0),
    }
    report = thresholds_report(thresholds, {"test": count_kept(others, thresholds)}).splitlines()
    assert report[2] == "| couple | 0.6000 | 2 | 50.0 | 50.0 |"
    assert report[3] == "| peer | none | 0 |  | 0.0 |"
    assert report[5] == "| all |  | 2 | 50.0 | 25.0 |"
    assert "At no threshold that keeps 2 posts or more 0.75 of the answers are right" in report[-3]
    assert report[-3].endswith("so that all are left out: peer")
    assert report[-1] == "Too few posts for a threshold, below 2, so that all are left out: awarded (0)"


def test_a_threshold_keeps_a_least_number_of_posts():
    """By hand: of couple, 2 of 2 are right from 0.8 on, which are too few; 3 of 4 from 0.6 on, and there are 5."""
    three = fit_thresholds(ROWS, 0.76, min_posts=3)
    assert three.relations == {"couple": None, "peer": None, "awarded": None}
    assert (three.out_of_reach, three.too_few) == (["couple", "peer"], ["awarded"])
    four = fit_thresholds(ROWS, 0.75, min_posts=4)
    assert four.relations["couple"] == 0.6 and four.posts == {"couple": 5, "peer": 3, "awarded": 0}
    assert (four.out_of_reach, four.too_few) == ([], ["peer", "awarded"])
    assert fit_thresholds(ROWS, 0.5).too_few == ["couple", "peer", "awarded"]  # by default ten
    ten = predictions(*((1, 1, 0.5 + number / 100) for number in range(10)))
    assert fit_thresholds(ten, 1.0).relations["couple"] == 0.5


def test_a_file_holds_what_was_written(tmp_path):
    thresholds = fit_thresholds(ROWS, 0.75, temperature=1.25, min_posts=2)
    write_thresholds(tmp_path / "t.json", thresholds)
    assert read_thresholds(tmp_path / "t.json") == thresholds
    check_model("t.json", thresholds, NAMES, 1.25)
    assert [thresholds.keeps("couple", score) for score in (0.59, 0.6, 0.61)] == [False, True, True]
    assert not thresholds.keeps("peer", 1.0)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (
            "{",
            "no JSON with precision, temperature, relations, min_posts, posts; expected a file that mmre",
        ),
        ("[]", "no JSON with"),
        ('{"precision": 0.9}', "no JSON with"),
        ({"relations": []}, "no JSON with"),
        (
            '{"precision": 0.9, "temperature": 1, "relations": {"a": 1, "a": 0}, "min_posts": 1, "posts": {}}',
            "no JSON with",
        ),
        ({"relations": {"a": 1.5}}, "threshold of 'a': 1.5; expected a number from 0 to 1"),
        ({"relations": {"a": -0.1}}, "threshold of 'a': -0.1; expected"),
        ({"relations": {"a": float("nan")}}, "threshold of 'a': nan; expected"),
        ({"relations": {"a": "0.5"}}, "threshold of 'a': '0.5'; expected"),
        ({"min_posts": 0}, "min_posts: 0; expected a whole number from 1"),
        ({"relations": {"b": None}}, "posts of 'b': nothing; expected a whole number from 0"),
        ({"relations": {"a": True}}, "threshold of 'a': True; expected"),
        (
            '{"precision": 0, "temperature": 1, "relations": {}, "min_posts": 1, "posts": {}}',
            "precision: 0; expected a number above 0 to 1",
        ),
        (
            '{"precision": 0.9, "temperature": 0, "relations": {}, "min_posts": 1, "posts": {}}',
            "temperature: 0; expected a number above 0",
        ),
        (
            '{"precision": 0.9, "temperature": Infinity, "relations": {}, "min_posts": 1, "posts": {}}',
            "temperature: inf; expected",
        ),
    ],
)
def test_a_bad_file_is_refused_in_one_line(content, error, tmp_path):
    if isinstance(content, dict):
        posts = {"min_posts": 2, "posts": {"a": 3}}
        content = json.dumps({"precision": 0.9, "temperature": 1.0, "relations": {}, **posts} | content)
    (tmp_path / "t.json").write_text(content)
    with pytest.raises(ValueError) as refused:
        read_thresholds(tmp_path / "t.json")
    assert str(refused.value).startswith(f"thresholds {tmp_path / 't.json'}: {error}")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("thresholds", "error"),
    [
        (Thresholds(0.9, 1.0, {"cuople": 0.5, "peer": 0.5}), "unknown relation 'cuople'; did you mean 'couple'"),
        (
            Thresholds(0.9, 1.0, {"couple": 0.5}),
            "the model's relation 'peer' has none; make it anew",
        ),
        (Thresholds(0.9, 1.5, {"couple": 0.5, "peer": None}), "scores of temperature 1.5, and the model's have 1,"),
    ],
)
def test_thresholds_of_another_model_are_refused(thresholds, error):
    with pytest.raises(ValueError, match=error):
        check_model("t.json", thresholds, ["None", "couple", "peer"], 1.0)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        read_thresholds(tmp_path / "t.json")
