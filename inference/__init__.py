"""A model over raw posts: loading, prediction, triples; and chat models in context."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .arguments import PredictionArguments
    from .explanations import Explanation, explain
    from .exporting import export_program, program_inputs
    from .in_context import InContextRelationClassifier
    from .loading import load_model
    from .predictor import Predictor
    from .prompt_arguments import PromptArguments
    from .run import predict
    from .serving import serve
    from .serving_arguments import ServingArguments

# The file of each public name: importing one does not import the world of all.
_FILES = {
    "Explanation": "explanations",
    "InContextRelationClassifier": "in_context",
    "PredictionArguments": "arguments",
    "Predictor": "predictor",
    "PromptArguments": "prompt_arguments",
    "ServingArguments": "serving_arguments",
    "explain": "explanations",
    "export_program": "exporting",
    "load_model": "loading",
    "predict": "run",
    "program_inputs": "exporting",
    "serve": "serving",
}

__all__ = [
    "Explanation",
    "InContextRelationClassifier",
    "PredictionArguments",
    "Predictor",
    "PromptArguments",
    "ServingArguments",
    "explain",
    "export_program",
    "load_model",
    "predict",
    "program_inputs",
    "serve",
]


def __getattr__(name: str):
    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_FILES[name]}", __name__), name)
