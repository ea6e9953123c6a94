"""Cards: explanations in a few numbers, with small pictures, for a page of many posts."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image
from transformers import PreTrainedModel, ProcessorMixin

from mmre.posts.whole_file import whole_file
from mmre.processing.words import Span

from .explanations import Explanation, check_method, explain

PICTURES_FOLDER = "pictures"
THUMBNAIL_SIDE = 320  # pixels, the longer side
SCORE_PLACES, PROBABILITY_PLACES = 4, 4
RELATIONS_ON_A_CARD = 5


class CardMaker:
    """Makes the card of a pair of entities, and the thumbnail of each picture once.

    Args:
        model: one of `MODELS`.
        processor: its processor.
        folder: where the page will be; pictures go into a folder inside it.
        method: of the explanations, see [`~mmre.inference.explanations.explain`].

    Raises:
        ValueError, ImportError: the method does not exist for the model, or needs what is not installed.
    """

    def __init__(self, model: PreTrainedModel, processor: ProcessorMixin, folder: str | os.PathLike, method: str):
        check_method(model, method)
        self.model, self.processor, self.folder, self.method = model, processor, Path(folder), method

    def __call__(
        self,
        post_id: str,
        post: Mapping[str, Any],
        probabilities: Mapping[str, float] | None = None,
        gold: str | None = None,
        picture_name: str | None = None,
    ) -> dict[str, Any]:
        """Make the card of one pair of entities.

        Args:
            post_id: id of the post.
            post: with `head` and `tail`, as `explain` takes it.
            probabilities: of the relations, where others are shown than the model gives by itself.
            gold: the true relation, if it is known.
            picture_name: name of the picture, for people.
        """
        relation = None if probabilities is None else max(probabilities, key=probabilities.get)
        found = explain(self.model, self.processor, post, relation=relation, method=self.method)
        shown = found.probabilities if probabilities is None else probabilities
        ranked = sorted(shown.items(), key=lambda pair: -pair[1])
        picture = None if found.image is None else self._thumbnail(found.image)
        return {
            "id": post_id,
            "gold": gold,
            "predicted": found.relation,
            "score": round(ranked[0][1], PROBABILITY_PLACES),
            "gold_score": None if gold is None else round(shown.get(gold, 0.0), PROBABILITY_PLACES),
            "probabilities": [[name, round(p, PROBABILITY_PLACES)] for name, p in ranked[:RELATIONS_ON_A_CARD]],
            "pieces": text_pieces(found),
            "picture": picture,
            "picture_name": picture_name,
            "cells": None if found.scores.cells is None else _rounded(found.scores.cells.tolist()),
            "regions": [
                [slot.name, _rounded(slot.box), None if scores is None else _rounded(float(scores[number]))]
                for scores in (found.scores.slots,)
                for number, slot in enumerate(found.slots)
                if slot.name != "picture"
            ],
            "caption": None if found.scores.caption is None else [post["caption"], _rounded(found.scores.caption)],
        }

    def _thumbnail(self, image: Image.Image) -> str:
        """Write the picture's thumbnail, if it is not there, and return its path within the folder."""
        name = hashlib.blake2b(image.tobytes() + repr(image.size).encode(), digest_size=12).hexdigest()
        path = self.folder / PICTURES_FOLDER / f"{name}.jpg"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            small = image.copy()
            small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
            with whole_file(path, "wb") as file:
                small.save(file, "JPEG", quality=85)
        return f"{PICTURES_FOLDER}/{path.name}"


def text_pieces(found: Explanation) -> list[list]:
    """Cut a text at its words and entities: each piece, its word's score, and "h", "t" or "ht" within entities.

    Spans would not do: a browser counts other characters than Python.
    """
    edges = {0, len(found.text), *found.head, *found.tail, *(edge for word in found.words for edge in word)}
    ordered = sorted(edges)
    pieces, number = [], 0
    for start, end in zip(ordered, ordered[1:]):
        while number < len(found.words) and found.words[number][1] <= start:
            number += 1
        is_word = number < len(found.words) and found.words[number][0] <= start
        score = _rounded(float(found.scores.words[number])) if is_word and found.scores.words is not None else None
        marks = "".join(mark for mark, span in (("h", found.head), ("t", found.tail)) if _within((start, end), span))
        pieces.append([found.text[start:end], score, marks])
    return pieces


def _within(part: Span, span: Span) -> bool:
    return span[0] <= part[0] and part[1] <= span[1]


def _rounded(value: Any) -> Any:
    return [_rounded(each) for each in value] if isinstance(value, (list, tuple)) else round(value, SCORE_PLACES)


__all__ = ["PICTURES_FOLDER", "CardMaker", "text_pieces"]
