"""Significance of results: the bootstrap over test posts, McNemar's test, and Holm's correction."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.stats import binomtest

from mmre.posts.schema import NEGATIVE_RELATION

from .relation_f1 import NO_ANSWER, relation_f1, relation_f1_by_order
from .run_record import Predictions

BOOTSTRAP_SAMPLES = 10_000
INTERVAL = (2.5, 97.5)  # percentiles: 95 %


def check_same_posts(runs: Sequence[Predictions], names: Sequence[Any]) -> None:
    """Refuse to compare runs that were not tested on the same posts.

    Args:
        runs: predictions of the runs.
        names: of the runs, for the message.

    Raises:
        ValueError: if the posts, their true relations, or the relations that the runs know differ.
    """
    first = runs[0]
    for run, name in zip(runs[1:], names[1:]):
        if run.post_ids != first.post_ids:
            strange = sorted({*run.post_ids} ^ {*first.post_ids})
            raise ValueError(f"{names[0]} and {name}: {len(strange)} posts are in one only, such as {strange[0]!r}.")
        if run.relations != first.relations:
            raise ValueError(f"{names[0]} and {name} know different relations: {first.relations} and {run.relations}.")
        if (run.gold != first.gold).any():
            post = first.post_ids[int((run.gold != first.gold).argmax())]
            raise ValueError(f"{names[0]} and {name} differ in the true relation of the post {post!r}.")


@lru_cache(maxsize=2)
def _resampled(number: int, samples: int, seed: int) -> np.ndarray:
    """Draw bootstrap samples; return the number of times that each post is in each: (samples, number)."""
    counts = np.random.default_rng(seed).multinomial(number, np.full(number, 1 / number), size=samples)
    return counts.astype(np.float32)  # whole numbers below 2 ** 24: exact


def bootstrap_f1(
    hits: np.ndarray, predicted: np.ndarray, targets: np.ndarray, samples: int = BOOTSTRAP_SAMPLES, seed: int = 0
) -> np.ndarray:
    """Compute F1 of S runs on bootstrap samples of N posts: the same samples for all runs, in each call.

    Args:
        hits: (S, N), true where run s predicts a positive for post n, and it is the true one.
        predicted: (S, N), true where run s predicts a positive.
        targets: (N,), true where the post has one.
        samples: how many samples of N posts are drawn with replacement.
        seed: the same seed draws the same samples.

    Returns:
        (samples, S): 2 hits / (predicted + targets) of each sample; zero where there is neither.
    """
    counts = _resampled(len(targets), samples, seed)
    doubled = 2 * counts @ hits.T.astype(np.float32)
    total = counts @ (predicted.astype(np.float32) + targets.astype(np.float32)).T
    return np.divide(doubled, total, out=np.zeros(doubled.shape), where=total > 0)


def bootstrap_metric(runs: Sequence[Predictions], metric: str = "f1", relation: str | None = None) -> np.ndarray:
    """Compute a metric of runs with the same test posts, on bootstrap samples of these.

    Args:
        runs: the predictions of S runs.
        metric: `"f1"`, micro-averaged over all relations but the negative one, or `"accuracy"`.
        relation: F1 of this relation alone.

    Returns:
        (samples, S).

    Raises:
        ValueError: if there is no such metric.
    """
    gold, predicted = runs[0].gold, np.stack([run.predicted for run in runs])
    right = predicted == gold
    if metric == "accuracy":  # F1 where each post has a target and a prediction
        return bootstrap_f1(right, np.ones_like(right), np.ones_like(gold))
    if metric != "f1":
        raise ValueError(f"`metric` must be 'f1' or 'accuracy', got {metric!r}.")
    if relation is not None:
        label = runs[0].relations.index(relation)
        return bootstrap_f1(right & (gold == label), predicted == label, gold == label)
    negative = runs[0].relations.index(NEGATIVE_RELATION)
    positive = (predicted != negative) & (predicted != NO_ANSWER)
    return bootstrap_f1(right & (gold != negative), positive, gold != negative)


def bootstrap_interval(
    runs: Sequence[Predictions], metric: str = "f1", relation: str | None = None
) -> tuple[float, float]:
    """Compute the 95 % interval of the mean of a metric over runs that differ in their seed.

    Each bootstrap sample draws posts with replacement, scores all runs on these same posts, and takes the mean over the
    runs; the interval is from the 2.5th to the 97.5th percentile. The interval says what other test posts could have
    given; the standard deviation over the runs says what another seed could have given.

    Args:
        runs: the predictions of the runs, on the same posts.
        metric: `"f1"` or `"accuracy"`.
        relation: F1 of this relation alone.

    Returns:
        The lower and the upper end.
    """
    low, high = np.percentile(bootstrap_metric(runs, metric, relation).mean(axis=1), INTERVAL)
    return float(low), float(high)


def mcnemar(right_a: np.ndarray, right_b: np.ndarray) -> dict[str, float]:
    """Test if one of two runs is right more often, on the posts where only one is (McNemar's exact test, 1947).

    Args:
        right_a: (N,), true where run A is right.
        right_b: (N,), true where run B is right.

    Returns:
        `only_a` and `only_b`, the numbers of posts on which that run alone is right, and the two-sided `p_value` of the
        binomial test; one if the runs never differ.
    """
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    p_value = float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0
    return {"only_a": only_a, "only_b": only_b, "p_value": p_value}


def f1_difference(runs_a: Sequence[Predictions], runs_b: Sequence[Predictions]) -> dict[str, Any]:
    """Test the difference of the mean F1 of two systems, by the paired bootstrap over test posts (Koehn 2004).

    Each bootstrap sample draws posts with replacement and scores all runs on these same posts. The test says whether
    the difference would last on other test posts, with the seeds as they are.

    Args:
        runs_a: predictions of system A, for each seed.
        runs_b: predictions of system B, for each seed; on the same posts.

    Returns:
        `value`, the mean F1 of A minus that of B; its 95 % `interval`; and the two-sided `p_value`: twice the smaller
        share of the samples on one side of zero, with the observed one.
    """
    means = [np.mean([_score(run)["f1"] for run in runs]) for runs in (runs_a, runs_b)]
    sampled = bootstrap_metric([*runs_a, *runs_b])
    differences = sampled[:, : len(runs_a)].mean(axis=1) - sampled[:, len(runs_a) :].mean(axis=1)
    sides = [int((differences <= 0).sum()), int((differences >= 0).sum())]
    return {
        "value": float(means[0] - means[1]),
        "interval": tuple(float(end) for end in np.percentile(differences, INTERVAL)),
        "p_value": min(1.0, 2 * (min(sides) + 1) / (len(differences) + 1)),
    }


def _score(run: Predictions) -> dict[str, Any]:
    return relation_f1(run.predicted.tolist(), run.gold.tolist(), run.relations, NEGATIVE_RELATION)


def _by_order(run: Predictions) -> dict[str, Any] | None:
    if run.head_first is None:
        return None
    return relation_f1_by_order(run.predicted.tolist(), run.gold.tolist(), run.relations, run.head_first.tolist())


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for their number (Holm 1979): the chance of a single false discovery among all stays below p.

    Args:
        p_values: of m tests, in any order.

    Returns:
        The corrected p-values, in the same order: the k-th smallest is multiplied by m - k + 1, is at least as large as
        the corrected one before it, and at most one.
    """
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected


def compare(run_a: Predictions, run_b: Predictions) -> dict[str, Any]:
    """Compare two runs on the same posts.

    Args:
        run_a: predictions of run A.
        run_b: predictions of run B.

    Returns:
        `posts`, their number; `a` and `b`, what [`relation_f1`] says of each, with `by_order` (see
        [`relation_f1_by_order`]; null of a run of an earlier version) and the `interval` of F1;
        `f1_difference`, see [`f1_difference`]; `mcnemar`, see [`mcnemar`].

    Raises:
        ValueError: if the runs were not tested on the same posts.
    """
    check_same_posts([run_a, run_b], ["A", "B"])
    a, b = (_score(run) | {"by_order": _by_order(run), "interval": bootstrap_interval([run])} for run in (run_a, run_b))
    return {
        "posts": len(run_a.post_ids),
        "a": a,
        "b": b,
        "f1_difference": f1_difference([run_a], [run_b]),
        "mcnemar": mcnemar(run_a.predicted == run_a.gold, run_b.predicted == run_b.gold),
    }


__all__ = [
    "bootstrap_f1",
    "bootstrap_interval",
    "bootstrap_metric",
    "check_same_posts",
    "compare",
    "f1_difference",
    "holm",
    "mcnemar",
]
