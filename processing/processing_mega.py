"""Processor of MEGA: a multimodal processor that also tells where words and regions stand in the graphs of a post."""

from typing import Any

import torch

from .dependency_trees import (
    NUM_BUCKETS,
    box_neighbours,
    check_tree,
    first_tokens,
    parse,
    structures,
    tree_neighbours,
)
from .entity_markers import DEFAULT_MARKERS
from .picture_files import MAX_PIXELS
from .processing_multimodal import MultimodalProcessor
from .processing_relation_extraction import MarkedText, naming_the_post


class MegaProcessor(MultimodalProcessor):
    """Marks the entities in the text, cuts the regions out, and describes words and regions by their graphs.

    The words' graph is the dependency tree of the text, that of the regions has an edge where two boxes overlap. What
    describes a node, see [`~mmre.processing.dependency_trees.structures`], depends on its own graph alone, for none of
    the edges joins a word and a region: the model makes the structural alignment of the two descriptions.

    Args:
        image_processor: gives the model's image size, resampling, mean and standard deviation.
        tokenizer: a fast tokenizer; the entity markers are added to it where they are missing.
        entity_markers (`tuple[str]`): the tokens that open and close the head entity, then the tail entity.
        max_length (`int`): most tokens of a post, special tokens and markers included. A longer post loses first the
            tokens far from its entities.
        num_grounded_regions (`int`): slots for regions found by visual grounding; further ones are left out.
        num_detected_regions (`int`): slots for regions found by object detection.
        resize (`str`): `"squash"` scales each crop to the model's size; `"center_crop"` keeps proportions and cuts the
            sides off.
        inputs (`tuple[str]`, *optional*): what is read of a post, of "text", "regions", "boxes" and "structure"; by
            default all of it.
        max_image_pixels (`int`): most pixels of a picture; larger ones are refused before they are decoded.
        markers_in_text_order (`bool`): whether the entity that comes first in the text is marked as the head, whichever
            is the head: a post and its reverse, head and tail swapped, are then the same inputs, and the model is not
            told which entity is the head. Of two that start together, the longer one comes first.
        jpeg_draft (`bool`): whether the decoder may scale the file of a JPEG down, to twice the model's size at least:
            faster, with other pixels. A picture in memory is taken as it is.
        spacy_model (`str`): the spaCy model that finds the dependency trees of texts that come without; it is loaded
            when the first of them does.

    Raises:
        ValueError: if an argument has a value that is not listed here.
    """

    possible_inputs = ("text", "regions", "boxes", "structure")

    def __init__(
        self,
        image_processor=None,
        tokenizer=None,
        entity_markers: tuple[str, ...] | list[str] = DEFAULT_MARKERS,
        max_length: int = 128,
        num_grounded_regions: int = 4,
        num_detected_regions: int = 3,
        resize: str = "squash",
        inputs: tuple[str, ...] | list[str] | None = None,
        max_image_pixels: int = MAX_PIXELS,
        markers_in_text_order: bool = False,
        jpeg_draft: bool = False,
        spacy_model: str = "en_core_web_sm",
        **kwargs,
    ):
        self.spacy_model = spacy_model
        super().__init__(
            image_processor,
            tokenizer,
            entity_markers,
            max_length,
            num_grounded_regions,
            num_detected_regions,
            resize,
            inputs,
            max_image_pixels,
            markers_in_text_order,
            jpeg_draft,
            **kwargs,
        )

    @classmethod
    def _check_inputs(cls, inputs: Any) -> tuple[str, ...]:
        inputs = super()._check_inputs(inputs)
        if "structure" in inputs and "regions" not in inputs:
            raise ValueError(f"`inputs`: 'structure' is of words and 'regions', which is needed too, got {inputs!r}.")
        return inputs

    @property
    def picture_input_names(self) -> list[str]:
        """Return the names of the model's inputs that come from the picture alone."""
        return [*super().picture_input_names, *(["region_structure"] if "structure" in self.inputs else [])]

    def _encode_texts(self, marked: list[MarkedText], posts: list[dict], padding: bool | str) -> dict[str, Any]:
        data = super()._encode_texts(marked, posts, padding)
        if "structure" not in self.inputs:
            return data
        rows = []
        for index, (text, post, ids) in enumerate(zip(marked, posts, data["input_ids"])):
            with naming_the_post(index, len(posts)):
                rows.append(self._describe_words(text, post["dependencies"], len(ids)))
        # Without padding, texts differ in length.
        return data | {"word_structure": torch.stack(rows) if len({*map(len, rows)}) == 1 else rows}

    def _describe_words(self, marked: MarkedText, tree: Any, length: int) -> torch.Tensor:
        """Return a row for each token, (length, 8), of its word where it is the word's first, zero elsewhere."""
        words = parse(self.spacy_model, marked.text) if tree is None else check_tree(tree, marked.text)
        described, rows = structures(tree_neighbours(words)), torch.zeros(length, NUM_BUCKETS)
        for token, word in first_tokens(words, marked.offsets, marked.text).items():
            rows[token] = torch.tensor(described[word])
        return rows

    def _encode_pictures(self, posts: list[dict]) -> dict[str, torch.Tensor]:
        data = super()._encode_pictures(posts)
        if "structure" in self.inputs:
            data["region_structure"] = torch.zeros(*data["image_mask"].shape, NUM_BUCKETS)
            for rows, boxes, exists in zip(data["region_structure"], data["boxes"], data["image_mask"]):
                if exists.any():
                    rows[exists] = torch.tensor(structures(box_neighbours(boxes[exists].tolist())))
        return data


__all__ = ["MegaProcessor"]
