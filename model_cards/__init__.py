"""Model cards, publishing, converting, and the table of systems."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .model_card import render_model_card
    from .publishing import publish

_FILES = {"publish": "publishing", "render_model_card": "model_card"}

__all__ = ["publish", "render_model_card"]


def __getattr__(name: str):
    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_FILES[name]}", __name__), name)
