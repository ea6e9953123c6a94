"""Pairs of systems: whether one of them is better, on the same test posts and seeds."""

import itertools
from collections.abc import Sequence
from typing import Any

from mmre.evaluation.run_record import read_predictions
from mmre.evaluation.significance import check_same_posts, f1_difference, holm

from .plan import Row


def compare_pairs(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Test the difference of each pair of systems.

    Args:
        rows: the systems with their runs, of which some may be missing.

    Returns:
        Of each pair that has finished runs with the same seeds: `a` and `b`, the names; `seeds`; `difference`, the mean
        F1 of A minus that of B in per cent, and its 95 % `interval`; `p_value`, see
        [`~mmre.evaluation.significance.f1_difference`]; and `corrected_p_value`, by Holm for the number of pairs.

    Raises:
        ValueError: if runs were not tested on the same posts.
    """
    done = {row.name: {run.seed: run.folder for run in row.runs if run.state == "done"} for row in rows}
    found = {name: {seed: read_predictions(path) for seed, path in runs.items()} for name, runs in done.items()}
    folders = [path for runs in done.values() for path in runs.values()]
    if folders:
        check_same_posts([each for runs in found.values() for each in runs.values()], folders)
    pairs = []
    for (a, runs_a), (b, runs_b) in itertools.combinations(found.items(), 2):
        seeds = sorted({*runs_a} & {*runs_b})
        if seeds:
            tested = f1_difference([runs_a[seed] for seed in seeds], [runs_b[seed] for seed in seeds])
            pairs.append(
                {
                    "a": a,
                    "b": b,
                    "seeds": seeds,
                    "difference": 100 * tested["value"],
                    "interval": [100 * end for end in tested["interval"]],
                    "p_value": tested["p_value"],
                }
            )
    corrected = holm([pair["p_value"] for pair in pairs])
    return [pair | {"corrected_p_value": p_value} for pair, p_value in zip(pairs, corrected)]


__all__ = ["compare_pairs"]
