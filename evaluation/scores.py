"""Scores of a model's predictions, computed by the metric: for the Trainer, and for the record of a run."""

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import datasets
import numpy as np
import torch
from torch import nn
from transformers import EvalPrediction
from transformers.trainer_utils import PredictionOutput

from mmre.processing.entity_markers import head_comes_first

from .relation_f1 import RelationF1, relation_f1_by_order


class NotFiniteError(ValueError):
    """Raised where numbers of a model are NaN or infinite: no result comes of them."""


def check_finite(logits: np.ndarray) -> None:
    """Refuse logits that are not finite; the largest of NaNs would be the first relation, "no relation".

    Args:
        logits: of N posts, (N, R).

    Raises:
        NotFiniteError: there are such posts.
    """
    bad = int((~np.isfinite(logits).all(axis=-1)).sum())
    if bad:
        raise NotFiniteError(
            f"the logits of {bad} of {len(logits)} posts are not finite: the model diverged. Lower --learning_rate, "
            "raise --warmup_steps, or train in another precision"
        )


def check_finite_metrics(metrics: Mapping[str, Any]) -> None:
    """Refuse metrics of a training that are not finite, as the loss of one that diverged.

    Raises:
        NotFiniteError: a metric is NaN or infinite.
    """
    for name, value in metrics.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise NotFiniteError(
                f"{name} is {value}: the training diverged. Lower --learning_rate, or raise --warmup_steps"
            )


def check_finite_weights(weights: Mapping[str, torch.Tensor], source: object) -> None:
    """Refuse weights that are not finite: the model of them answers NaN.

    Args:
        weights: the weights by name, as `state_dict` gives them.
        source: what they are of, for the message.

    Raises:
        NotFiniteError: a weight is NaN or infinite; the first one is named.
    """
    bad = [name for name, weight in weights.items() if weight.is_floating_point() and not weight.isfinite().all()]
    if bad:
        raise NotFiniteError(
            f"{source}: {len(bad)} of {len(weights)} weights are not finite, first {bad[0]}: the training diverged, or "
            "the file is damaged. Train again with a lower --learning_rate, or take an earlier checkpoint"
        )


def compute_relation_f1(
    predictions: Sequence[int], references: Sequence[int], relations: Sequence[str]
) -> dict[str, Any]:
    """Compute [`RelationF1`] of all predictions at once, in memory.

    Each process that calls it scores all that it is given: the Trainer gathers the predictions first.

    Args:
        predictions: ids of the predicted relations, (N,).
        references: ids of the true relations, (N,).
        relations: names of all relations, in the order of their ids.

    Returns:
        See [`relation_f1`].
    """
    # `evaluate` makes a folder for the cache files of each metric, also where it writes none.
    with tempfile.TemporaryDirectory() as folder:
        metric = RelationF1(keep_in_memory=True, cache_dir=folder)
    return metric.compute(predictions=predictions, references=references, relations=list(relations))


def metrics_for_trainer(relations: Sequence[str]) -> Callable[[EvalPrediction], dict[str, float]]:
    """Make the `compute_metrics` of a Trainer.

    Args:
        relations: names of all relations, in the order of their ids.

    Returns:
        A function of the Trainer's logits (N, R) and labels (N,) that gives `accuracy`, and the micro-averaged
        `precision`, `recall` and `f1` without the negative relation. It raises [`NotFiniteError`] for logits that are
        not finite.
    """

    def compute_metrics(prediction: EvalPrediction) -> dict[str, float]:
        check_finite(prediction.predictions)
        result = compute_relation_f1(prediction.predictions.argmax(-1), prediction.label_ids, relations)
        return {name: value for name, value in result.items() if name != "per_relation"}

    return compute_metrics


def heads_first(posts: datasets.Dataset) -> list[bool]:
    """Tell of each post whether the head comes first, see [`~mmre.processing.entity_markers.head_comes_first`]."""
    spans = ([(span["start"], span["end"]) for span in posts[column][:]] for column in ("head", "tail"))
    return [head_comes_first(head, tail) for head, tail in zip(*spans)]


def score_split(prediction: PredictionOutput, relations: Sequence[str], head_first: Sequence[bool]) -> dict[str, Any]:
    """Score one split, for `metrics.json`.

    Args:
        prediction: what `Trainer.predict` returns: logits, (N, R), and labels, (N,).
        relations: names of all relations, in the order of their ids.
        head_first: of each post, (N,), see [`heads_first`].

    Returns:
        `loss`, the mean cross-entropy; `samples`, N; what [`relation_f1`] returns; and `by_order`, see
        [`relation_f1_by_order`].
    """
    # Not the Trainer's loss: over several processes, some samples of the last batch count twice in its mean.
    logits, labels = torch.from_numpy(prediction.predictions).float(), torch.from_numpy(prediction.label_ids)
    loss = nn.functional.cross_entropy(logits, labels).item()
    predicted, gold = prediction.predictions.argmax(-1).tolist(), prediction.label_ids.tolist()
    return {"loss": loss} | score_answers(predicted, gold, relations, head_first)


def score_answers(
    predicted: Sequence[int], gold: Sequence[int], relations: Sequence[str], head_first: Sequence[bool]
) -> dict[str, Any]:
    """Score the answers to one split, for `metrics.json`.

    Args:
        predicted: ids of the predicted relations, (N,), or `NO_ANSWER`.
        gold: ids of the true relations, (N,).
        relations: names of all relations, in the order of their ids.
        head_first: of each post, (N,), see [`heads_first`].

    Returns:
        What [`score_split`] returns, but for the `loss`.
    """
    result = compute_relation_f1(predicted, gold, relations)
    by_order = relation_f1_by_order(predicted, gold, relations, head_first)
    return {"samples": len(gold)} | result | {"by_order": by_order}


def relation_probabilities(prediction: PredictionOutput, temperature: float = 1.0) -> list[list[float]]:
    """Turn the logits that `Trainer.predict` returns, (N, R), into probabilities, softmax(logits / temperature)."""
    return (torch.from_numpy(prediction.predictions).float() / temperature).softmax(-1).tolist()


__all__ = [
    "NotFiniteError",
    "check_finite",
    "check_finite_metrics",
    "check_finite_weights",
    "compute_relation_f1",
    "heads_first",
    "metrics_for_trainer",
    "relation_probabilities",
    "score_answers",
    "score_split",
]
