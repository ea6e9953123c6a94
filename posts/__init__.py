"""Data sets of posts."""

from .annotation_file import with_annotation
from .files import load_hub_posts, load_posts
from .mnre import load_mnre
from .protocols import (
    align_noise,
    aug_noise,
    drop_pictures,
    region_count_as_caption,
    sample_per_relation,
    sample_share,
)
from .schema import NEGATIVE_RELATION, PICTURE_COLUMNS, REGION_COLUMNS, PostCollator, post_features
from .synthetic import make_synthetic_posts

__all__ = [
    "NEGATIVE_RELATION",
    "PICTURE_COLUMNS",
    "PostCollator",
    "REGION_COLUMNS",
    "align_noise",
    "aug_noise",
    "drop_pictures",
    "load_hub_posts",
    "load_mnre",
    "load_posts",
    "make_synthetic_posts",
    "post_features",
    "region_count_as_caption",
    "sample_per_relation",
    "sample_share",
    "with_annotation",
]
