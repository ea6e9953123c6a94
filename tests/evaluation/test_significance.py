"""Significance: bootstrap and McNemar's test, against known distributions and scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from mmre.evaluation.run_record import Predictions
from mmre.evaluation.significance import (
    bootstrap_interval,
    bootstrap_metric,
    check_same_posts,
    compare,
    f1_difference,
    holm,
    mcnemar,
)

RELATIONS = ["None", "couple", "peer"]


def predictions(gold: list[int], predicted: list[int]) -> Predictions:
    return Predictions([str(i) for i in range(len(gold))], RELATIONS, np.array(gold), np.array(predicted))


def test_each_bootstrap_sample_is_scored_as_scikit_learn_would():
    generator = np.random.default_rng(1)
    gold = generator.integers(3, size=30)
    runs = [predictions(gold.tolist(), generator.integers(3, size=30).tolist()) for _ in range(2)]
    counts = np.random.default_rng(0).multinomial(30, np.full(30, 1 / 30), size=10_000)
    micro, peer = bootstrap_metric(runs), bootstrap_metric(runs, relation="peer")
    assert micro.shape == (10_000, 2)
    for sample in range(20):
        posts = np.repeat(np.arange(30), counts[sample])
        for index, run in enumerate(runs):
            found = gold[posts], run.predicted[posts]
            assert micro[sample, index] == pytest.approx(f1_score(*found, labels=[1, 2], average="micro"))
            assert peer[sample, index] == pytest.approx(f1_score(*found, labels=[2], average="micro"))


def test_the_interval_is_known_where_the_distribution_is():
    half = predictions([1] * 400, [1, 2] * 200)
    # Accuracy is binomial: one half, give or take 1.96 standard errors of 0.025.
    assert bootstrap_interval([half], "accuracy") == pytest.approx((0.451, 0.549), abs=0.005)
    assert bootstrap_interval([predictions([1, 0, 2], [1, 0, 2])], "accuracy") == (1, 1)
    assert bootstrap_interval([predictions([1] * 9, [0] * 9)]) == (0, 0)
    # Seeds are scored on the same posts: where one is right and the other wrong, their mean is one half in each sample.
    other = predictions([1] * 400, [2, 1] * 200)
    assert bootstrap_interval([half, other], "accuracy") == pytest.approx((0.5, 0.5))


@pytest.mark.parametrize(
    ("only_a", "only_b", "p_value"),
    [(8, 2, 2 * (1 + 10 + 45) / 1024), (5, 0, 2 / 32), (3, 3, 1), (0, 0, 1), (0, 1, 1)],
)
def test_mcnemar_is_the_two_sided_binomial_test_of_the_posts_where_one_is_right(only_a, only_b, p_value):
    both = [True, False, False]
    right_a = np.array([True] * only_a + [False] * only_b + both)
    right_b = np.array([False] * only_a + [True] * only_b + both)
    expected = {"only_a": only_a, "only_b": only_b, "p_value": pytest.approx(p_value)}
    assert mcnemar(right_a, right_b) == expected


def test_two_runs_are_compared_post_by_post():
    gold = [1, 2, 1, 2, 0] * 20
    good, bad = predictions(gold, gold), predictions(gold, [1 if g == 1 else 0 for g in gold])
    result = compare(good, bad)
    assert result["posts"] == 100
    assert result["a"]["f1"] == 1 and result["b"]["f1"] == pytest.approx(2 / 3)
    difference = result["f1_difference"]
    assert difference["value"] == pytest.approx(1 / 3)
    assert 0 < difference["interval"][0] < 1 / 3 < difference["interval"][1]
    assert difference["p_value"] == pytest.approx(2 / 10_001)
    assert result["mcnemar"] == {"only_a": 40, "only_b": 0, "p_value": pytest.approx(2 / 2**40)}

    assert result["a"]["by_order"] is None
    order = np.arange(len(good.gold)) % 2 == 0
    ordered = compare(good._replace(head_first=order), bad._replace(head_first=order))["b"]["by_order"]
    right = bad.predicted[order] == bad.gold[order]
    assert ordered["head_first"]["samples"] == order.sum()
    assert ordered["head_first"]["accuracy"] == pytest.approx(right.mean())

    same = compare(good, good)
    assert same["f1_difference"] == {"value": 0, "interval": (0, 0), "p_value": 1}
    assert same["mcnemar"] == {"only_a": 0, "only_b": 0, "p_value": 1}


def test_systems_are_compared_by_their_means_over_the_seeds():
    generator = np.random.default_rng(2)
    gold = generator.integers(3, size=60)
    runs = [
        predictions(gold.tolist(), np.where(generator.random(60) < share, gold, 0).tolist())
        for share in (0.8, 0.7, 0.6, 0.5)
    ]
    means = [np.mean([f1_score(gold, run.predicted, labels=[1, 2], average="micro") for run in pair]) for pair in
             (runs[:2], runs[2:])]  # fmt: skip
    result = f1_difference(runs[:2], runs[2:])
    assert result["value"] == pytest.approx(means[0] - means[1])
    # The same samples, drawn and scored one by one.
    counts = np.random.default_rng(0).multinomial(60, np.full(60, 1 / 60), size=10_000)
    sampled = []
    for sample in counts[:1000]:
        scores = []
        for run in runs:
            right = sample[(gold == run.predicted) & (gold > 0)].sum()
            scores.append(2 * right / (sample[gold > 0].sum() + sample[run.predicted > 0].sum()))
        sampled.append(np.mean(scores[:2]) - np.mean(scores[2:]))
    assert result["interval"] == pytest.approx(np.percentile(sampled, (2.5, 97.5)), abs=0.03)
    share = np.mean(np.array(sampled) <= 0)
    assert result["p_value"] == pytest.approx(2 * share, abs=0.03)
    swapped = f1_difference(runs[2:], runs[:2])
    assert swapped["value"] == -result["value"] and swapped["p_value"] == result["p_value"]


@pytest.mark.parametrize(
    ("p_values", "corrected"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),  # Holm 1979: times 3, 1, 2 and 4, then never falling
        ([0.5, 0.9], [1, 1]),
        ([0.02], [0.02]),
        ([], []),
    ],
)
def test_holm_corrects_for_the_number_of_tests(p_values, corrected):
    assert holm(p_values) == pytest.approx(corrected)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (predictions([1, 2], [1, 2]), "1 posts are in one only, such as '2'"),
        (predictions([1, 1, 0], [1, 2, 0]), "differ in the true relation of the post '1'"),
        (predictions([1, 2, 0], [1, 2, 0])._replace(relations=RELATIONS[:2]), "know different relations"),
    ],
)
def test_runs_on_other_posts_are_not_compared(other, message):
    first = predictions([1, 2, 0], [1, 2, 0])
    with pytest.raises(ValueError, match=f"^first and second.*{message}"):
        check_same_posts([first, other], ["first", "second"])
    with pytest.raises(ValueError, match=message):
        compare(first, other)


@pytest.mark.parametrize("metric", ["F1", "precision"])
def test_a_metric_that_has_no_bootstrap_is_refused(metric):
    with pytest.raises(ValueError, match=metric):
        bootstrap_metric([predictions([1], [1])], metric)


def test_an_answer_that_names_no_relation_is_no_positive_of_the_interval():
    runs = [predictions([1, 0] * 20, answers) for answers in ([1, 0] * 20, [1, -1] * 20)]
    assert bootstrap_interval(runs[:1]) == bootstrap_interval(runs[1:]) == (1.0, 1.0)
