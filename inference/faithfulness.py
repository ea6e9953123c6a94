"""Faithfulness of explanations: does a relation lose more with the parts that they name than with others?"""

import random
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from .post_parts import PartScores, PostParts, Taken

SHARE = 0.2  # of the parts are taken away, at least one
DRAWS = 10  # of other parts, at random
LEAST_SHOWN = 0.005  # of a drop, with two decimal places
# Kinds of parts, by the names of their scores.
PART_NAMES = {"cells": "patches", "slots": "regions", "words": "words"}


class Faithfulness(NamedTuple):
    """Drop of a relation's probability when parts are taken away.

    Args:
        explanation: whose scores name the parts: "attention", "occlusion" or "integrated_gradients".
        parts: "patches", "regions" or "words".
        taken: how many parts are taken away.
        of: how many there are.
        drop: of the probability without the parts of the highest scores.
        random_drop: of the probability without as many at random, a mean over `DRAWS` draws.
    """

    explanation: str
    parts: str
    taken: int
    of: int
    drop: float
    random_drop: float

    def in_words(self) -> str:
        """Say in a sentence what the relation loses without the parts, and without as many at random."""
        parts = f"{self.explanation.replace('_', ' ')}: without {self.taken} of {self.of} {self.parts}"
        return f"{parts} {_loss(self.drop)}, without as many at random {_loss(self.random_drop)}"


def measure_faithfulness(
    parts: PostParts, relation: int, explanations: Mapping[str, PartScores], seed: int = 0
) -> list[Faithfulness]:
    """Take the parts of the highest scores away, and as many at random, and compare what a relation loses.

    Args:
        parts: the post before the model.
        relation: id of the relation.
        explanations: scores of the parts, by the name of what they are from.
        seed: of the random draws.

    Returns:
        A line for each explanation and each kind of parts that it scores, if there are two parts of that kind or more.
    """
    rng = random.Random(seed)
    variants, groups = [Taken()], []
    for explanation, scores in explanations.items():
        for name in PART_NAMES:
            values = getattr(scores, name)
            items = _items(parts, name)
            if values is None or len(items) < 2:
                continue
            values = np.asarray(values).ravel()
            taken = max(1, round(SHARE * len(items)))
            order = sorted(range(len(values)), key=lambda number, values=values: -values[number])
            kept = [number for number in order if name != "words" or parts.word_tokens[number]]
            top = kept[:taken]
            draws = [rng.sample(sorted(kept), taken) for _ in range(DRAWS)]
            groups.append((explanation, name, taken, len(items), len(variants)))
            for numbers in (top, *draws):
                chosen = tuple(parts.slots[number].number if name == "slots" else number for number in numbers)
                variants.append(Taken(**{name: chosen}))
    probabilities = parts.probabilities(variants)[:, relation]
    lines = []
    for explanation, name, taken, count, start in groups:
        drops = probabilities[0] - probabilities[start : start + 1 + DRAWS]
        lines.append(
            Faithfulness(explanation, PART_NAMES[name], taken, count, float(drops[0]), float(np.mean(drops[1:])))
        )
    return lines


def _loss(drop: float) -> str:
    """Say how much is lost: a probability may also grow without a part, and hardly any is not none."""
    if drop <= -LEAST_SHOWN:
        return f"{-drop:.2f} is gained"
    if drop <= 0:
        return "nothing is lost"
    return f"{drop:.2f} is lost" if drop >= LEAST_SHOWN else "less than 0.01 is lost"


def _items(parts: PostParts, name: str) -> Sequence:
    """Return the parts of a kind that the model reads."""
    if name == "words":
        return [tokens for tokens in parts.word_tokens if tokens]
    return parts.slots if name == "slots" else range(parts.num_cells)


__all__ = ["DRAWS", "SHARE", "Faithfulness", "measure_faithfulness"]
