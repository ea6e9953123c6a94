"""One run, from a configuration to its results."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .run import run_experiment
    from .settings import read_config, resolve

# The file of each public name: importing one does not import the world of all.
_FILES = {"read_config": "settings", "resolve": "settings", "run_experiment": "run"}

__all__ = ["read_config", "resolve", "run_experiment"]


def __getattr__(name: str):
    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_FILES[name]}", __name__), name)
