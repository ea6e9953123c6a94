"""A post and its parts before a model: whole, and with cells of its picture, regions or words taken away."""

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageStat
from transformers import PreTrainedModel, ProcessorMixin

from mmre.processing.entity_markers import character_span, check_span
from mmre.processing.focal_augmentation import Box, View, check_boxes
from mmre.processing.pipeline_relation_extraction import as_probabilities
from mmre.processing.processing_multimodal import WHOLE_IMAGE
from mmre.processing.suggestions import unknown
from mmre.processing.words import Span

from .picture_grid import cell_pixels

EXPLAINED_FIELDS = ("text", "tokens", "image", "head", "tail", "grounded_regions", "detected_regions", "caption")
# Of a row of a data set of posts, and of one with its dependency tree.
UNREAD_FIELDS = ("id", "relation", "length", "dependencies")
VARIANTS_AT_ONCE = 16
# Rows and columns where the vision encoder has no patches, and so no grid of its own.
DEFAULT_GRID = (7, 7)


class Taken(NamedTuple):
    """Parts taken away of a post: numbers of cells, of slots and of words, and whether the caption is."""

    cells: tuple[int, ...] = ()
    slots: tuple[int, ...] = ()
    words: tuple[int, ...] = ()
    caption: bool = False


class PictureSlot(NamedTuple):
    """One picture that the model sees of a post.

    Args:
        number: of the slot.
        name: "picture", "grounded region 1" or "detected region 1".
        box: of the region, in fractions of the picture.
        view: what the model sees.
    """

    number: int
    name: str
    box: Box
    view: View


class PartScores(NamedTuple):
    """Scores of the parts of a post: how much each speaks for a relation, or is looked at.

    Args:
        cells: of the grid over the picture (rows, columns); `None` without a picture.
        slots: of the pictures that the model sees (slots,); `None` if it does not weigh them.
        words: of the words (words,); `None` if there are none.
        caption: of the caption; `None` without one.
        patches: of the patches of each picture that the model sees (slots, rows, columns); `None` if the scores are of
            the picture itself.
        missing: what the scores lack of what they should sum to; `None` if they have no such sum.
    """

    cells: np.ndarray | None = None
    slots: np.ndarray | None = None
    words: np.ndarray | None = None
    caption: float | None = None
    patches: np.ndarray | None = None
    missing: float | None = None


class PostParts:
    """A post before a model: its parts, and the probabilities of the relations when some of them are taken away.

    A cell of the picture is painted over with the picture's mean colour, before it is framed, cropped and scaled; a
    region's slot becomes absent; a word's tokens become the tokenizer's mask token, or its token for unknown words.

    Args:
        model: one of `MODELS`.
        processor: its processor.
        post: `text` or `tokens`, `head`, `tail`, and what else the pipeline takes of a post with one pair.

    Raises:
        ValueError: the post cannot be right.
    """

    def __init__(self, model: PreTrainedModel, processor: ProcessorMixin, post: Mapping[str, Any]):
        _check_post(post)
        self.model, self.processor = model, processor
        words, text = post.get("tokens"), post.get("text")
        self.text = text if words is None else " ".join(words)
        self.head, self.tail = (
            check_span(post[name], len(text), name, "characters", text)
            if words is None
            else character_span(words, post[name], name)
            for name in ("head", "tail")
        )
        self.further = {
            "caption": post.get("caption") if "caption" in processor.inputs else None,
            "dependencies": post.get("dependencies"),
        }
        self.regions = {name: post.get(name) for name in ("grounded_regions", "detected_regions")}
        reads_pictures = bool(processor.picture_input_names)
        image = post.get("image") if reads_pictures else None
        self.image = None if image is None else processor.load_picture(image)
        self.marked = processor.mark(self.text, self.head, self.tail)
        self.words = [match.span() for match in re.finditer(r"\S+", self.text)]
        self.word_tokens = [self._tokens_of(word) for word in self.words]
        self.slots = self._find_slots() if reads_pictures else []
        self.inputs = self._encode(self.image, self.further["caption"])

    def _find_slots(self) -> list[PictureSlot]:
        names = [
            (tuple(box), f"{kind.removesuffix('_regions')} region {number}")
            for kind, boxes in self.regions.items()
            for number, box in enumerate(check_boxes(boxes, kind), start=1)
        ]
        slots = []
        for number, slot in enumerate(self.processor.view_slots(self.image, **self.regions)):
            if slot is None:
                continue
            view, box = slot
            name = "picture"
            if view.frame or tuple(box) != WHOLE_IMAGE:
                # Regions stand in the order of the slots; one box may be of two.
                place = next(place for place, (of, _) in enumerate(names) if of == tuple(box))
                _, name = names.pop(place)
            slots.append(PictureSlot(number, name, tuple(box), view))
        return slots

    def _tokens_of(self, word: Span) -> list[int]:
        """Return the tokens that share a character with a word; none of a word that was cut off."""
        start, end = word
        return [
            token
            for token, span in enumerate(self.marked.offsets)
            if span is not None and span[0] < end and span[1] > start
        ]

    def _encode(self, image: Image.Image | None, caption: str | None) -> dict[str, torch.Tensor]:
        further = self.further | {"caption": caption}
        regions = self.regions if image is not None else {}
        return dict(self.processor(self.text, image, self.head, self.tail, **regions, **further))

    @cached_property
    def grid(self) -> tuple[int, int]:
        """Return the rows and columns that the picture is divided into: the vision encoder's patches of a picture."""
        patch_size = getattr(getattr(self.model.config, "vision_config", None), "patch_size", None)
        if patch_size is None or "pixel_values" not in self.inputs:
            return DEFAULT_GRID
        height, width = (patch_size, patch_size) if isinstance(patch_size, int) else patch_size
        return self.inputs["pixel_values"].shape[-2] // height, self.inputs["pixel_values"].shape[-1] // width

    @property
    def num_cells(self) -> int:
        """Return the number of cells of the picture; zero where there is none."""
        return 0 if self.image is None or not self.slots else self.grid[0] * self.grid[1]

    @cached_property
    def _fill(self) -> tuple[int, int, int]:
        return tuple(round(value) for value in ImageStat.Stat(self.image).mean)

    @cached_property
    def _no_word(self) -> int:
        tokenizer = self.processor.tokenizer
        ids = tokenizer.mask_token_id, tokenizer.unk_token_id, tokenizer.pad_token_id
        return next(number for number in ids if number is not None)

    def without(self, taken: Taken) -> dict[str, torch.Tensor]:
        """Return the model's inputs of the post without some parts, a batch of one."""
        inputs = self.inputs
        if taken.cells or taken.caption:
            image = self.image
            if taken.cells:
                image = image.copy()
                for cell in taken.cells:
                    image.paste(self._fill, cell_pixels(cell, self.grid, image.size))
            inputs = self._encode(image, None if taken.caption else self.further["caption"])
        inputs = dict(inputs)
        if taken.slots:
            inputs["image_mask"] = inputs["image_mask"].clone()
            inputs["image_mask"][0, list(taken.slots)] = False
        if taken.words:
            inputs["input_ids"] = inputs["input_ids"].clone()
            tokens = [token for word in taken.words for token in self.word_tokens[word]]
            inputs["input_ids"][0, tokens] = self._no_word
        return inputs

    def probabilities(self, variants: Sequence[Taken]) -> np.ndarray:
        """Return the probabilities of the relations, (N, R), for each of N variants of the post.

        Raises:
            ValueError: the model's logits are not finite.
        """
        found = np.zeros((len(variants), self.model.config.num_labels))
        # Without its caption a post has fewer tokens: such rows go apart.
        for has_caption in (True, False):
            chosen = [number for number, taken in enumerate(variants) if taken.caption is not has_caption]
            for start in range(0, len(chosen), VARIANTS_AT_ONCE):
                numbers = chosen[start : start + VARIANTS_AT_ONCE]
                rows = [self.without(variants[number]) for number in numbers]
                batch = {name: torch.cat([row[name] for row in rows]).to(self.model.device) for name in rows[0]}
                with torch.no_grad():
                    logits = self.model(**batch).logits
                if not logits.isfinite().all():
                    raise ValueError(
                        f"the logits of {type(self.model).__name__} are not finite: its weights are damaged, or its "
                        f"dtype {self.model.dtype} is too narrow for them"
                    )
                found[numbers] = as_probabilities(logits.double(), self.model.config).cpu().numpy()
        return found


def _check_post(post: Any) -> None:
    if not isinstance(post, Mapping):
        raise ValueError(f"a post is a dictionary with `text`, `image`, `head` and `tail`, got {post!r}")
    for name in post:
        if name not in (*EXPLAINED_FIELDS, *UNREAD_FIELDS, "pairs"):
            raise ValueError(unknown("field", name, EXPLAINED_FIELDS))
    if (post.get("text") is None) == (post.get("tokens") is None):
        raise ValueError("a post needs its `text`, a string, or its `tokens`, a list of words; one of them")
    if post.get("head") is None or post.get("tail") is None:
        raise ValueError("an explanation is of one pair of entities: the post needs `head` and `tail`")


__all__ = ["DEFAULT_GRID", "PartScores", "PictureSlot", "PostParts", "Taken"]
