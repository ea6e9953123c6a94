"""Evaluation: the metric, the record of a run and its protocol, significance, plots, and the audit for leaks."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .leak_audit import audit
    from .leak_report import audit_report
    from .plots import plot_confusion_matrix, plot_learning_curve, plot_results
    from .relation_f1 import RelationF1
    from .run_record import read_metrics, read_predictions
    from .significance import compare

# The file of each public name. None is called like a file: whoever imports one would get the other.
_FILES = {
    "RelationF1": "relation_f1",
    "audit": "leak_audit",
    "audit_report": "leak_report",
    "compare": "significance",
    "plot_confusion_matrix": "plots",
    "plot_learning_curve": "plots",
    "plot_results": "plots",
    "read_metrics": "run_record",
    "read_predictions": "run_record",
}

__all__ = [
    "RelationF1",
    "audit",
    "audit_report",
    "compare",
    "plot_confusion_matrix",
    "plot_learning_curve",
    "plot_results",
    "read_metrics",
    "read_predictions",
]


def __getattr__(name: str):
    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_FILES[name]}", __name__), name)
