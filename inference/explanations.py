"""Explanations: why a model says what it says, by its own attention and by what each part of a post adds."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image
from transformers import PreTrainedModel, ProcessorMixin

from mmre.posts.whole_file import whole_file
from mmre.processing.suggestions import unknown
from mmre.processing.words import Span

from .faithfulness import Faithfulness, measure_faithfulness
from .inner_values import ATTENTION, read_inner_values
from .integrated_gradients import integrated_gradients, load_captum
from .occlusion import occlude
from .post_parts import PartScores, PictureSlot, PostParts, Taken

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METHODS = {"occlusion": occlude, "integrated_gradients": integrated_gradients}
PLOT_FORMATS = ("png", "svg", "pdf")


@dataclass(kw_only=True)
class Explanation:
    """Explanation of what a model says of one pair of entities.

    Args:
        text: the text of the post.
        head: span of the head entity in characters.
        tail: span of the tail entity.
        image: the picture, upright and in RGB; `None` for a post without one, or a model that reads none.
        probabilities: of all relations, the most probable first.
        relation: the relation that the scores are for; the most probable one if none was asked for.
        method: of the scores: "occlusion", "integrated_gradients" or "attention".
        scores: of the cells of the picture, of the regions, of the words and of the caption.
        words: spans of the words.
        slots: the pictures that the model sees.
        attention: scores by the model's own attention of the entities to patches or regions; `None` if it has none.
        inner_values: gates, weights and scores inside the model, by the names of its output's fields.
        fusion: these in a few numbers: the model's `fusion_summary`.
        faithfulness: what the relation loses without the parts of the highest scores; empty unless it was checked.
    """

    text: str
    head: Span
    tail: Span
    image: Image.Image | None
    probabilities: dict[str, float]
    relation: str
    method: str
    scores: PartScores
    words: list[Span]
    slots: list[PictureSlot]
    attention: PartScores | None
    inner_values: dict[str, np.ndarray] = field(repr=False)
    fusion: dict[str, Any]
    faithfulness: list[Faithfulness]

    @property
    def prediction(self) -> str:
        """Return the most probable relation."""
        return next(iter(self.probabilities))

    def as_dict(self) -> dict[str, Any]:
        """Return all but the pictures and the large arrays, for JSON."""
        words = None if self.scores.words is None else self.scores.words.tolist()
        return {
            "text": self.text,
            "head": list(self.head),
            "tail": list(self.tail),
            "prediction": self.prediction,
            "probabilities": self.probabilities,
            "relation": self.relation,
            "method": self.method,
            "cells": None if self.scores.cells is None else self.scores.cells.tolist(),
            "words": [
                {"start": start, "end": end, "score": None if words is None else words[number]}
                for number, (start, end) in enumerate(self.words)
            ],
            "caption": self.scores.caption,
            "pictures": [
                {
                    "name": slot.name,
                    "box": list(slot.box),
                    "score": None if self.scores.slots is None else float(self.scores.slots[number]),
                }
                for number, slot in enumerate(self.slots)
            ],
            "fusion": self.fusion,
            "faithfulness": [line._asdict() for line in self.faithfulness],
        }

    def plot(self) -> "Figure":
        """Draw the explanation: the picture with its regions, the scores over it, the relations, and the text.

        Returns:
            matplotlib's figure, which a notebook shows.
        """
        from .explanation_plot import plot_explanation

        return plot_explanation(self)

    def save(self, path: str | Path) -> None:
        """Write the plot, or the numbers.

        Args:
            path: of a file that ends in .png, .svg or .pdf; or in .json, for the numbers.

        Raises:
            ValueError: the path ends in something else.
            OSError: the file cannot be written.
        """
        ending = Path(path).suffix.removeprefix(".").lower()
        if ending == "json":
            with whole_file(path) as file:
                file.write(json.dumps(self.as_dict(), ensure_ascii=False, indent=2, allow_nan=False) + "\n")
        elif ending in PLOT_FORMATS:
            figure = self.plot()
            with whole_file(path, "wb") as file:
                figure.savefig(file, format=ending)
        else:
            raise ValueError(f"{path}: an explanation is written as .{', .'.join(PLOT_FORMATS)} or .json")


def check_method(model: PreTrainedModel, method: str) -> None:
    """Refuse a method that does not exist, or not for a model, before the work begins.

    Raises:
        ValueError: there is no such method, or the system has no attention.
        ImportError: captum is needed and not installed.
    """
    if method not in (*METHODS, ATTENTION):
        raise ValueError(unknown("method", method, (*METHODS, ATTENTION)))
    if method == ATTENTION and not model.has_picture_attention:
        raise ValueError(
            f"method 'attention': {type(model).__name__}, as configured, has none from the entities to the picture; "
            f"expected {' or '.join(map(repr, METHODS))}"
        )
    if method == "integrated_gradients":
        load_captum()


def explain(
    model: PreTrainedModel,
    processor: ProcessorMixin,
    post: Mapping[str, Any],
    *,
    relation: str | None = None,
    method: Literal["occlusion", "integrated_gradients", "attention"] = "occlusion",
    check: bool = False,
    seed: int = 0,
) -> Explanation:
    """Explain what a model says of one pair of entities of a post.

    Args:
        model: one of `MODELS`; it is put into evaluation mode.
        processor: its processor.
        post: `text` (or `tokens`, words), the spans `head` and `tail`, and, as the model reads them, `image`,
            `grounded_regions`, `detected_regions` and `caption`: as the pipeline takes it. A row of a data set of posts
            will do.
        relation: the relation to explain; the most probable one by default.
        method: `"occlusion"` takes each cell of the picture, each region, each word and the caption away in turn and
            measures what the relation's probability loses; `"integrated_gradients"` attributes its log-probability to
            them (needs captum: `pip install 'mmre[explain]'`); `"attention"` shows where the two entities look, which
            needs no more than one run of the model: at patches (FocalMRE, TGDI, UMT), at regions alone, or neither.
            Of a post without a picture nothing has such a score.
        check: also measure whether the scores, and the model's own attention, are faithful: whether the relation loses
            more without the parts of the highest scores than without as many at random.
        seed: of that random choice.

    Returns:
        The explanation.

    Raises:
        ValueError: the post cannot be right, the model does not know the relation or the method does not exist for it.
        ImportError: captum is needed and not installed.
    """
    check_method(model, method)
    ids = {name: int(number) for number, name in model.config.id2label.items()}
    if relation is not None and relation not in ids:
        raise ValueError(unknown("relation", relation, ids))
    model.eval()
    parts = PostParts(model, processor, post)
    (whole,) = parts.probabilities([Taken()])
    names = {number: name for name, number in ids.items()}
    order = sorted(names, key=lambda number: -whole[number])
    label = order[0] if relation is None else ids[relation]
    inner = read_inner_values(parts)
    # Without a picture there is no attention to it, and nothing has a score.
    scores = inner.attention or PartScores() if method == ATTENTION else METHODS[method](parts, label)
    explanations = {method: scores}
    if inner.attention is not None:
        explanations[ATTENTION] = inner.attention
    return Explanation(
        text=parts.text,
        head=parts.head,
        tail=parts.tail,
        image=parts.image,
        probabilities={names[number]: float(whole[number]) for number in order},
        relation=names[label],
        method=method,
        scores=scores,
        words=parts.words,
        slots=parts.slots,
        attention=inner.attention,
        inner_values=inner.arrays,
        fusion=inner.summary,
        faithfulness=measure_faithfulness(parts, label, explanations, seed) if check else [],
    )


__all__ = ["METHODS", "Explanation", "check_method", "explain"]
