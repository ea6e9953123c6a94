"""Regions and captions, found in pictures by pretrained models, without a look at the label."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .annotator import Annotator
    from .arguments import AnnotationArguments, PictureArguments
    from .keywords import find_keywords
    from .picture_models import Captioner, Detector, Grounder
    from .plan import open_unlabelled_posts
    from .run import annotate

# The file of each public name: importing one does not import the world of all.
_FILES = {
    "AnnotationArguments": "arguments",
    "Annotator": "annotator",
    "Captioner": "picture_models",
    "Detector": "picture_models",
    "Grounder": "picture_models",
    "PictureArguments": "arguments",
    "annotate": "run",
    "find_keywords": "keywords",
    "open_unlabelled_posts": "plan",
}

__all__ = [
    "AnnotationArguments",
    "Annotator",
    "Captioner",
    "Detector",
    "Grounder",
    "PictureArguments",
    "annotate",
    "find_keywords",
    "open_unlabelled_posts",
]


def __getattr__(name: str):
    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_FILES[name]}", __name__), name)
