"""The papers' tables and figures: suites, runs, tables."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .arguments import BenchmarkArguments
    from .plan import plan_benchmark
    from .runs import do_runs
    from .suite import Cell, Suite
    from .suites import SUITES
    from .tables import make_table

# The file of each public name: importing one does not import the world of all.
_FILES = {
    "SUITES": "suites",
    "BenchmarkArguments": "arguments",
    "Cell": "suite",
    "Suite": "suite",
    "do_runs": "runs",
    "make_table": "tables",
    "plan_benchmark": "plan",
}

__all__ = ["SUITES", "BenchmarkArguments", "Cell", "Suite", "do_runs", "make_table", "plan_benchmark"]


def __getattr__(name: str):
    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_FILES[name]}", __name__), name)
