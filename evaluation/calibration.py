"""Calibration: how far the scores of answers are from how often these are right, and the temperature that mends it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

NUM_BINS = 15
# Wider than any model needs: the loss falls to an end where no temperature makes the scores right.
TEMPERATURES = 0.01, 100.0
MEANING = (
    f"ECE, the expected calibration error: the answers lie in {NUM_BINS} bins of equal width by their score, the "
    "probability of the predicted relation; ECE is the sum over the bins of (answers in the bin / all answers) x "
    "|share of right answers - mean score|, in per cent."
)


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float | None:
    """Find the temperature T whose probabilities, softmax(logits / T), have the smallest cross-entropy.

    Guo et al. 2017, *On Calibration of Modern Neural Networks*, section 4.2. It changes no answer: the largest logit
    stays the largest.

    Args:
        logits: of N posts, (N, R), finite.
        labels: ids of the true relations, (N,).

    Returns:
        T; None where the loss falls for ever with or against T: each post is answered rightly, there is none, or the
        model knows so little that equal scores for all relations are the best.
    """
    logits, labels = np.asarray(logits, dtype=np.float64), np.asarray(labels)
    if (logits.argmax(-1) == labels).all():
        return None

    def loss(log_temperature: float) -> float:
        return mean_loss(logits, labels, np.exp(log_temperature))

    # The loss is convex in 1 / T, so that it has one valley in log T, too.
    found = minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded", options={"xatol": 1e-6})
    at_end = np.isclose(found.x, np.log(TEMPERATURES), atol=1e-3).any()
    return None if at_end else float(np.exp(found.x))


def mean_loss(logits: np.ndarray, labels: np.ndarray, temperature: float = 1.0) -> float:
    """Return the mean cross-entropy of softmax(logits / temperature).

    Args:
        logits: of N posts, (N, R).
        labels: ids of the true relations, (N,).
        temperature: what the logits are divided by.
    """
    rows = log_softmax(np.asarray(logits, dtype=np.float64) / temperature, axis=-1)
    return float(-rows[np.arange(len(labels)), labels].mean())


def measure_calibration(logits: np.ndarray, labels: np.ndarray, temperature: float = 1.0) -> dict[str, Any]:
    """Measure how far the scores of the answers are from how often these are right.

    Guo et al. 2017, equations (2) and (3), with the bins ((m - 1) / 15, m / 15]: ECE is the sum over the bins of
    n_m / N x |right answers / n_m - mean score|, where the score is the probability of the predicted relation.

    Args:
        logits: of N posts, (N, R).
        labels: ids of the true relations, (N,).
        temperature: what the logits are divided by.

    Returns:
        `ece`, in [0, 1]; `loss`, the mean cross-entropy; and `bins`, of each bin its `posts`, and the mean `score` and
        the `accuracy` of these, None in an empty bin.
    """
    logits, labels = np.asarray(logits, dtype=np.float64), np.asarray(labels)
    scores = np.exp(log_softmax(logits / temperature, axis=-1).max(-1))
    right = logits.argmax(-1) == labels
    places = np.digitize(scores, np.linspace(0, 1, NUM_BINS + 1)[1:-1], right=True)
    bins, error = [], 0.0
    for number in range(NUM_BINS):
        inside = places == number
        count = int(inside.sum())
        score, accuracy = (float(values[inside].mean()) if count else None for values in (scores, right))
        bins.append({"posts": count, "score": score, "accuracy": accuracy})
        error += count / len(labels) * abs(accuracy - score) if count else 0.0
    return {"ece": error, "loss": mean_loss(logits, labels, temperature), "bins": bins}


def compare_calibration(logits: np.ndarray, labels: np.ndarray, temperature: float) -> dict[str, dict[str, Any]]:
    """Measure the calibration of a split `before` the temperature and `after` it; see [`measure_calibration`]."""
    return {name: measure_calibration(logits, labels, t) for name, t in (("before", 1.0), ("after", temperature))}


def calibration_lines(results: Mapping[str, Any]) -> list[str]:
    """Format the calibration of a run, in Markdown.

    Args:
        results: the content of `metrics.json`; those of earlier versions have no `calibration`.

    Returns:
        A blank line, a sentence, and a table; none if there is nothing to say.
    """
    measured = results.get("calibration")
    if not measured or not measured["splits"]:
        return []
    fitted = f"{measured['temperature']:.4g}"
    lines = [
        "",
        f"Scores are softmax(logits / {fitted}). {MEANING}",
        "",
        f"| calibration | posts | ECE at temperature 1 | ECE at {fitted} | loss at temperature 1 | loss at {fitted} |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for split, values in measured["splits"].items():
        before, after = values["before"], values["after"]
        posts = sum(each["posts"] for each in after["bins"])
        errors = " | ".join(f"{100 * each['ece']:.2f}" for each in (before, after))
        lines.append(f"| {split} | {posts} | {errors} | {before['loss']:.4f} | {after['loss']:.4f} |")
    return lines


__all__ = ["calibration_lines", "compare_calibration", "fit_temperature", "mean_loss", "measure_calibration"]
