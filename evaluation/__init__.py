"""How good, how robust and why: the metric, the protocols and the tools to compare results."""

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
    "region_count_as_caption",
    "relation_f1",
    "sample_per_relation",
    "sample_share",
]
