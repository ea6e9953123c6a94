"""Data sets of posts: one door, `open_posts`, whatever they come from."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .collator import PostCollator
    from .dependencies import with_dependencies
    from .digits import make_digit_posts
    from .files import load_files
    from .hub import load_saved_posts
    from .mnre import load_mnre
    from .schema import NEGATIVE_RELATION, post_features
    from .sources import open_posts
    from .synthetic import make_synthetic_posts

# The file of each public name: importing one does not import the world of all.
_FILES = {
    "NEGATIVE_RELATION": "schema",
    "PostCollator": "collator",
    "load_mnre": "mnre",
    "load_files": "files",
    "load_saved_posts": "hub",
    "make_digit_posts": "digits",
    "make_synthetic_posts": "synthetic",
    "open_posts": "sources",
    "post_features": "schema",
    "with_dependencies": "dependencies",
}

__all__ = [
    "NEGATIVE_RELATION",
    "PostCollator",
    "load_mnre",
    "load_files",
    "load_saved_posts",
    "make_digit_posts",
    "make_synthetic_posts",
    "open_posts",
    "post_features",
    "with_dependencies",
]


def __getattr__(name: str):
    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_FILES[name]}", __name__), name)
