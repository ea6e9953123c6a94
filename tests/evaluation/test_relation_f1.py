"""The metric, against counts made by hand."""

import evaluate
import pytest

from mmre.evaluation.relation_f1 import NO_ANSWER, RelationF1, relation_f1

RELATIONS = ["None", "couple", "awarded"]


def counted_by_hand(predictions, references, negative):
    """Micro precision, recall and F1 without the negative relation, by counting."""
    pairs = list(zip(predictions, references))
    hits = sum(p == r != negative for p, r in pairs)
    predicted = sum(p != negative for p, _ in pairs)
    true = sum(r != negative for _, r in pairs)
    precision = hits / predicted if predicted else 0.0
    recall = hits / true if true else 0.0
    return precision, recall, 2 * precision * recall / (precision + recall) if hits else 0.0


def test_the_negative_relation_is_neither_a_positive_nor_a_target():
    predictions = [0, 1, 1, 2, 0, 2, 1, 0]
    references = [0, 1, 2, 2, 1, 0, 1, 0]
    result = relation_f1(predictions, references, RELATIONS)
    assert result["accuracy"] == 5 / 8
    # Five posts are predicted to have a relation, and five have one; three of them are right.
    assert (result["precision"], result["recall"], result["f1"]) == pytest.approx((3 / 5, 3 / 5, 3 / 5))
    assert result["per_relation"] == {
        "None": {"precision": 2 / 3, "recall": 2 / 3, "f1": pytest.approx(2 / 3), "support": 3},
        "couple": {"precision": 2 / 3, "recall": 2 / 3, "f1": pytest.approx(2 / 3), "support": 3},
        "awarded": {"precision": 1 / 2, "recall": 1 / 2, "f1": pytest.approx(1 / 2), "support": 2},
    }


@pytest.mark.parametrize("seed", range(20))
def test_random_predictions_score_as_counted_by_hand(seed):
    import random

    generator = random.Random(seed)
    size, labels = generator.randint(1, 30), generator.randint(2, 6)
    predictions = [generator.randrange(labels) for _ in range(size)]
    references = [generator.randrange(labels) for _ in range(size)]
    negative = generator.randrange(labels)
    names = [f"relation {label}" for label in range(labels)]
    result = relation_f1(predictions, references, names, negative=names[negative])
    expected = counted_by_hand(predictions, references, negative)
    assert (result["precision"], result["recall"], result["f1"]) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("predictions", "references", "expected"),
    [
        ([0, 0, 0], [0, 1, 2], (0, 0, 0)),  # no positive predictions
        ([1, 0, 2], [0, 0, 0], (0, 0, 0)),  # no positive golds
        ([0, 0, 0], [0, 0, 0], (0, 0, 0)),  # neither
        ([1, 1, 1], [1, 1, 1], (1, 1, 1)),  # labels absent from the split
    ],
)
def test_edges_give_zeros_and_ones_not_errors(predictions, references, expected, recwarn):
    result = relation_f1(predictions, references, RELATIONS)
    assert (result["precision"], result["recall"], result["f1"]) == expected
    assert not recwarn.list


def test_a_relation_absent_from_the_split_is_listed_with_no_support():
    result = relation_f1([1, 1], [1, 1], RELATIONS)
    assert result["per_relation"]["awarded"] == {"precision": 0, "recall": 0, "f1": 0, "support": 0}


def test_the_negative_relation_may_have_another_name_and_another_id():
    renamed = relation_f1([0, 1, 2, 2], [2, 1, 1, 2], ["couple", "awarded", "no_relation"], negative="no_relation")
    assert (renamed["precision"], renamed["recall"]) == (1 / 2, 1 / 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0], [0], ["couple", "awarded"]), "'None' is not among"),
        (([0, 3], [0, 1], RELATIONS), r"Ids \[3\]"),
        (([0, -2], [0, 1], RELATIONS), r"Ids \[-2\]"),
        (([0, 1], [0, -1], RELATIONS), r"Ids \[-1\]"),
        (([0], [0, 1], RELATIONS), "1 predictions for 2 references"),
        (([], [], RELATIONS), "0 predictions for 0 references"),
    ],
)
def test_what_cannot_be_scored_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        relation_f1(*arguments)


def test_the_evaluate_metric_is_the_function_and_works_offline(tmp_path):
    metric = RelationF1(cache_dir=str(tmp_path))
    metric.add_batch(predictions=[0, 1], references=[0, 1])
    metric.add_batch(predictions=[2], references=[1])
    assert metric.compute(relations=RELATIONS) == relation_f1([0, 1, 2], [0, 1, 1], RELATIONS)
    assert isinstance(metric, evaluate.Metric)


def test_an_answer_that_names_no_relation_is_wrong_and_no_positive():
    scores = relation_f1([NO_ANSWER, 1, NO_ANSWER, 0], [0, 1, 2, 0], RELATIONS[:3])
    assert (scores["accuracy"], scores["precision"], scores["recall"]) == (0.5, 1.0, 0.5)
    assert scores["per_relation"][RELATIONS[0]]["recall"] == 0.5
