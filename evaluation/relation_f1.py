"""The metric of relation extraction: accuracy, and micro precision, recall and F1 without the negative relation."""

from collections.abc import Sequence

import datasets
import evaluate
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

# In place of a predicted relation: an answer that names none, not even the negative one. It is never right.
NO_ANSWER = -1
METRICS = ("accuracy", "precision", "recall", "f1")

_DESCRIPTION = """\
Accuracy over all samples; micro-averaged precision, recall and F1 over all relations except the negative one:
predicting it is no positive, and a sample of it is no target. The numbers that papers on MNRE report."""

_INPUTS = """\
Args:
    predictions: ids of the predicted relations.
    references: ids of the true relations.
    relations: names of all relations, in the order of their ids.
    negative: name of the relation that stands for "no relation".
Returns: accuracy, precision, recall, f1, and per_relation: precision, recall, f1 and support of each relation."""


def relation_f1(
    predictions: list[int], references: list[int], relations: list[str], negative: str = "None"
) -> dict[str, float | dict]:
    """Score predicted relations: accuracy, and micro-averaged precision, recall and F1 without the negative relation.

    Predicting the negative relation is no positive, and a post of the negative relation is no target, as papers on MNRE
    count.

    Args:
        predictions: ids of the predicted relations; `NO_ANSWER` of an answer that names none, no positive either.
        references: ids of the true relations.
        relations: names of all relations, in the order of their ids.
        negative: name of the relation that stands for "no relation".

    Returns:
        `accuracy`; `precision`, `recall` and `f1`, micro-averaged over all relations but the negative one; and
        `per_relation`, name to `precision`, `recall`, `f1` and `support`. A ratio whose denominator is zero is zero.

    Raises:
        ValueError: if `negative` is not among the relations, an id is out of range, or there is nothing to score.
    """
    if negative not in relations:
        raise ValueError(f"The negative relation {negative!r} is not among the relations {relations!r}.")
    if len(predictions) != len(references) or len(references) == 0:
        raise ValueError(f"There are {len(predictions)} predictions for {len(references)} references.")
    ids = list(range(len(relations)))
    strange = ({int(label) for label in predictions} - {NO_ANSWER} | {int(label) for label in references}) - set(ids)
    if strange:
        raise ValueError(f"Ids {sorted(strange)} are not those of the {len(relations)} relations.")
    positives = [label for label, name in enumerate(relations) if name != negative]
    precision, recall, f1, _ = precision_recall_fscore_support(
        references, predictions, labels=positives, average="micro", zero_division=0
    )
    columns = precision_recall_fscore_support(references, predictions, labels=ids, average=None, zero_division=0)
    per_relation = {
        name: {"precision": float(p), "recall": float(r), "f1": float(f), "support": int(support)}
        for name, p, r, f, support in zip(relations, *columns)
    }
    return {
        "accuracy": float(accuracy_score(references, predictions)),
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
        "per_relation": per_relation,
    }


def relation_f1_by_order(
    predictions: Sequence[int], references: Sequence[int], relations: Sequence[str], head_first: Sequence[bool]
) -> dict[str, dict]:
    """Score predicted relations on the posts whose head comes first in the text, and on the others.

    Pairs without a relation may be listed in the order of the text, as in MNRE: then a model that knows which entity is
    the head is told by the order that there is none.

    Args:
        predictions: ids of the predicted relations, (N,).
        references: ids of the true relations, (N,).
        relations: names of all relations, in the order of their ids.
        head_first: whether the head comes first, (N,), see [`~mmre.evaluation.scores.heads_first`].

    Returns:
        `head_first` and `tail_first`, each with `samples` and what [`relation_f1`] returns of these posts; `samples`
        alone if there are none.
    """
    groups = {"head_first": [], "tail_first": []}
    for prediction, reference, is_first in zip(predictions, references, head_first, strict=True):
        groups["head_first" if is_first else "tail_first"].append((prediction, reference))
    return {
        name: {"samples": len(pairs)} | (relation_f1(*zip(*pairs), relations) if pairs else {})
        for name, pairs in groups.items()
    }


class RelationF1(evaluate.Metric):
    """[`relation_f1`] as an `evaluate` metric, without a look at the Hub.

    `RelationF1().compute(predictions=..., references=..., relations=..., negative="None")`
    """

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation="",
            inputs_description=_INPUTS,
            features=datasets.Features({"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}),
        )

    def _compute(self, predictions, references, relations, negative="None"):
        return relation_f1(predictions, references, relations, negative)


__all__ = ["METRICS", "NO_ANSWER", "RelationF1", "relation_f1", "relation_f1_by_order"]
