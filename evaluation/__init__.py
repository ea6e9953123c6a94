"""How good, how robust and why: the metric, the protocols and the tools to compare results."""

from .model_card import render_model_card
from .plots import plot_confusion_matrix, plot_learning_curve, plot_results
from .protocols import (
    align_noise,
    aug_noise,
    drop_pictures,
    region_count_as_caption,
    sample_per_relation,
    sample_share,
)
from .relation_f1 import RelationF1, relation_f1

__all__ = [
    "RelationF1",
    "align_noise",
    "aug_noise",
    "drop_pictures",
    "plot_confusion_matrix",
    "plot_learning_curve",
    "plot_results",
    "region_count_as_caption",
    "relation_f1",
    "render_model_card",
    "sample_per_relation",
    "sample_share",
]
