"""How good, how robust and why: the metric, the protocols and the tools to compare results."""

from .plots import plot_confusion_matrix, plot_learning_curve, plot_results
from .relation_f1 import RelationF1, relation_f1

__all__ = [
    "RelationF1",
    "plot_confusion_matrix",
    "plot_learning_curve",
    "plot_results",
    "relation_f1",
]
