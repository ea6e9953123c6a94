"""Processor of FocalMRE: posts with marked entities and regions become the model's inputs."""

from typing import Any

import torch
from PIL import Image
from transformers import BatchFeature

from .entity_markers import Span
from .focal_augmentation import DETECTED_COLOR, GROUNDED_COLOR, Box, Canvas
from .processing_relation_extraction import (
    RelationExtractionProcessor,
    as_posts,
    check_choice,
    check_count,
    naming_the_post,
)

INPUT_MODES = ("augmented", "cropped", "original")
DRAW_AT = ("model", "source")


class FocalMREProcessor(RelationExtractionProcessor):
    """Marks the entities in the text and draws the regions onto the picture.

    Args:
        image_processor: gives the model's image size, resampling, mean and standard deviation.
        tokenizer: a fast tokenizer; the entity markers are added to it where they are missing.
        entity_markers (`tuple[str]`): the tokens that open and close the head entity, then the tail entity.
        max_length (`int`): most tokens of a post, special tokens and markers included. A longer post loses first the
            tokens far from its entities.
        num_grounded_regions (`int`): slots for regions found by visual grounding; further ones are left out.
        num_detected_regions (`int`): slots for regions found by object detection.
        input_mode (`str`): what the model sees of a region (Table 5): `"augmented"`, the whole picture with a frame
            around it; `"cropped"`, the region alone; `"original"`, the picture as it is, whatever the regions.
        resize (`str`): `"squash"` scales the whole picture to the model's size, as in the paper; `"center_crop"` cuts
            the sides off, as in the official code.
        draw_at (`str`): `"model"` draws 3 px frames at the model's resolution; `"source"` on the full-size picture, as
            in the official code.
        original_if_no_region (`bool`): whether a group without regions gets the picture as it is as its only region.
            In the official code it gets none.

    Raises:
        ValueError: if an argument has a value that is not listed here.
    """

    model_input_names = ["input_ids", "attention_mask", "entity_positions", "pixel_values", "region_mask"]

    def __init__(
        self,
        image_processor=None,
        tokenizer=None,
        entity_markers: tuple[str, ...] | list[str] = ("[E1]", "[/E1]", "[E2]", "[/E2]"),
        max_length: int = 128,
        num_grounded_regions: int = 4,
        num_detected_regions: int = 3,
        input_mode: str = "augmented",
        resize: str = "squash",
        draw_at: str = "model",
        original_if_no_region: bool = True,
        **kwargs,
    ):
        self.num_grounded_regions = num_grounded_regions
        self.num_detected_regions = num_detected_regions
        self.input_mode = input_mode
        self.draw_at = draw_at
        self.original_if_no_region = original_if_no_region
        check_choice("input_mode", input_mode, INPUT_MODES)
        check_choice("draw_at", draw_at, DRAW_AT)
        check_count("num_grounded_regions", num_grounded_regions)
        check_count("num_detected_regions", num_detected_regions)
        super().__init__(image_processor, tokenizer, entity_markers, max_length, resize, **kwargs)

    def __call__(
        self,
        text: str | list[str] | list[list[str]] | None = None,
        images: Any = None,
        head: Span | list[Span] | None = None,
        tail: Span | list[Span] | None = None,
        grounded_regions: list | None = None,
        detected_regions: list | None = None,
        padding: bool | str = True,
        return_tensors: str | None = "pt",
    ) -> BatchFeature:
        """Turn a post, or a list of posts, into the model's inputs.

        Args:
            text: the text, or its words. For several posts, a list of these.
            images: the picture: a PIL image, a path, the bytes of a file, a uint8 array, or `None` for a post without
                one. For several posts, a list of these, or `None` if no post has one.
            head: span (start, end) of the head entity, end exclusive: in characters, or in words if the text is given
                as words. For several posts, a list of spans.
            tail: span of the tail entity.
            grounded_regions: boxes `[x_min, y_min, x_max, y_max]` in fractions of the image, of visual grounding.
                For several posts, a list of lists of boxes.
            detected_regions: boxes found by object detection.
            padding: `True` to the longest text, `"max_length"` to `max_length`.
            return_tensors: `"pt"`, `"np"`, or `None`, which leaves the token ids in lists.

        Returns:
            `BatchFeature` with `input_ids` and `attention_mask` (B, T), `entity_positions` (B, 2), `pixel_values`
            (B, R, 3, H, W), zero in absent slots, and `region_mask` (B, R), all false for a post without a picture.

        Raises:
            ValueError: if a span, a box or a picture cannot be right; for several posts it names the post.
        """
        posts = as_posts(
            text,
            head,
            tail=tail,
            images=images,
            grounded_regions=grounded_regions,
            detected_regions=detected_regions,
        )
        encoded, positions = self.encode_texts(posts)
        pixel_values, region_mask = self._encode_images(posts)
        data = {
            **self.pad_texts(encoded, padding),
            "entity_positions": positions,
            "pixel_values": pixel_values,
            "region_mask": region_mask,
        }
        return BatchFeature(data, tensor_type=return_tensors)

    def _encode_images(self, posts: list[dict]) -> tuple[torch.Tensor, torch.Tensor]:
        region_mask = torch.zeros(len(posts), self.num_grounded_regions + self.num_detected_regions, dtype=torch.bool)
        pictures = []
        for index, post in enumerate(posts):
            with naming_the_post(index, len(posts)):
                grounded, detected = self.focal_images(
                    post["images"], post["grounded_regions"], post["detected_regions"]
                )
            region_mask[index, : len(grounded)] = True
            region_mask[index, self.num_grounded_regions : self.num_grounded_regions + len(detected)] = True
            pictures += grounded + detected
        return self.normalize(pictures, region_mask), region_mask

    def focal_images(
        self, image: Any, grounded_regions: list[Box] | None = None, detected_regions: list[Box] | None = None
    ) -> tuple[list[Image.Image], list[Image.Image]]:
        """The pictures that the model sees of one post, before they are normalized.

        Args:
            image: the picture, as in `__call__`, or `None`.
            grounded_regions: boxes found by visual grounding.
            detected_regions: boxes found by object detection.

        Returns:
            PIL images at the model's resolution: those of the grounded regions, at most `num_grounded_regions`, and
            those of the detected ones. Both empty without a picture.

        Raises:
            ValueError: if a box or the picture cannot be right, or there are boxes but no picture.
        """
        post = {"images": image, "grounded_regions": grounded_regions, "detected_regions": detected_regions}
        canvas, grounded, detected = self.open_post(post, self.draw_at)
        if canvas is None:
            return [], []
        return (
            self._group_images(canvas, grounded, self.num_grounded_regions, GROUNDED_COLOR),
            self._group_images(canvas, detected, self.num_detected_regions, DETECTED_COLOR),
        )

    def _group_images(
        self, canvas: Canvas, boxes: list[Box], slots: int, color: tuple[int, int, int]
    ) -> list[Image.Image]:
        if self.input_mode == "original" or (not boxes and self.original_if_no_region):
            return [canvas.original()][:slots]
        if self.input_mode == "cropped":
            return [canvas.cropped(box) for box in boxes[:slots]]
        return [canvas.framed(box, color) for box in boxes[:slots]]


__all__ = ["FocalMREProcessor"]
