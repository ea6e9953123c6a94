"""A model over raw posts: loading, prediction, triples."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .arguments import PredictionArguments
    from .loading import load_model
    from .predictor import Predictor
    from .run import predict

# The file of each public name: importing one does not import the world of all.
_FILES = {
    "PredictionArguments": "arguments",
    "Predictor": "predictor",
    "load_model": "loading",
    "predict": "run",
}

__all__ = ["PredictionArguments", "Predictor", "load_model", "predict"]


def __getattr__(name: str):
    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_FILES[name]}", __name__), name)
