"""Occlusion (Zeiler and Fergus 2014): what the probability of a relation loses with each part of a post."""

import numpy as np

from .post_parts import PartScores, PostParts, Taken


def occlude(parts: PostParts, relation: int) -> PartScores:
    """Take each part away on its own, and measure what the probability of a relation loses.

    Args:
        parts: the post before the model.
        relation: id of the relation.

    Returns:
        The scores: probability with the part less that without it.
    """
    variants = {
        "cells": [Taken(cells=(cell,)) for cell in range(parts.num_cells)],
        "slots": [Taken(slots=(slot.number,)) for slot in parts.slots],
        "words": [Taken(words=(word,)) for word in range(len(parts.words))],
        "caption": [Taken(caption=True)] if parts.further["caption"] else [],
    }
    whole, *without = parts.probabilities([Taken(), *(taken for group in variants.values() for taken in group)])
    lost, scores = iter(whole[relation] - np.array(without).reshape(-1, len(whole))[:, relation]), {}
    for name, group in variants.items():
        scores[name] = np.array([next(lost) for _ in group])
    return PartScores(
        cells=scores["cells"].reshape(parts.grid) if parts.num_cells else None,
        slots=scores["slots"] if parts.slots else None,
        words=scores["words"],
        caption=float(scores["caption"][0]) if len(scores["caption"]) else None,
    )


__all__ = ["occlude"]
