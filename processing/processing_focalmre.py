"""Processor of FocalMRE: posts with marked entities and regions become the model's inputs."""

from typing import Any

from PIL import Image

from .entity_markers import DEFAULT_MARKERS
from .focal_augmentation import DETECTED_COLOR, DRAW_AT, GROUNDED_COLOR, Box, Canvas
from .picture_files import MAX_PIXELS
from .processing_multimodal import WHOLE_IMAGE, MultimodalProcessor, Slot, check_choice
from .processing_relation_extraction import check_switch

INPUT_MODES = ("augmented", "cropped", "original")


class FocalMREProcessor(MultimodalProcessor):
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
        inputs (`tuple[str]`, *optional*): what is read of a post, of "text", "image" and "regions"; by default all of
            it. The slots of its pictures are `[grounded regions | detected regions]`.
        max_image_pixels (`int`): most pixels of a picture; larger ones are refused before they are decoded.
        markers_in_text_order (`bool`): whether the entity that comes first in the text is marked as the head, whichever
            is the head: a post and its reverse, head and tail swapped, are then the same inputs, and the model is not
            told which entity is the head. Of two that start together, the longer one comes first.
        jpeg_draft (`bool`): whether the decoder may scale the file of a JPEG down, to twice the model's size at least:
            faster, with other pixels. A picture in memory is taken as it is.

    Raises:
        ValueError: if an argument has a value that is not listed here.
    """

    possible_inputs = ("text", "image", "regions")
    regions_need_image = True

    def __init__(
        self,
        image_processor=None,
        tokenizer=None,
        entity_markers: tuple[str, ...] | list[str] = DEFAULT_MARKERS,
        max_length: int = 128,
        num_grounded_regions: int = 4,
        num_detected_regions: int = 3,
        input_mode: str = "augmented",
        resize: str = "squash",
        draw_at: str = "model",
        original_if_no_region: bool = True,
        inputs: tuple[str, ...] | list[str] | None = None,
        max_image_pixels: int = MAX_PIXELS,
        markers_in_text_order: bool = False,
        jpeg_draft: bool = False,
        **kwargs,
    ):
        self.input_mode = input_mode
        self.draw_at = draw_at
        self.original_if_no_region = original_if_no_region
        check_choice("input_mode", input_mode, INPUT_MODES)
        check_choice("draw_at", draw_at, DRAW_AT)
        check_switch("original_if_no_region", original_if_no_region)
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

    @property
    def num_slots(self) -> int:
        """Return how many pictures a post has room for."""
        return self.num_grounded_regions + self.num_detected_regions

    def _fill_slots(self, canvas: Canvas, grounded: list[Box], detected: list[Box]) -> list[Slot]:
        slots = self._group(canvas, grounded, self.num_grounded_regions, GROUNDED_COLOR)
        slots += [None] * (self.num_grounded_regions - len(slots))
        return slots + self._group(canvas, detected, self.num_detected_regions, DETECTED_COLOR)

    def _group(self, canvas: Canvas, boxes: list[Box], slots: int, color: tuple[int, int, int]) -> list[Slot]:
        if self.input_mode == "original" or (not boxes and self.original_if_no_region):
            return [(canvas.original(), WHOLE_IMAGE)][:slots]
        if self.input_mode == "cropped":
            return [(canvas.cropped(box), box) for box in boxes[:slots]]
        return [(canvas.framed(box, color, self.draw_at), box) for box in boxes[:slots]]

    def focal_images(
        self, image: Any, grounded_regions: list[Box] | None = None, detected_regions: list[Box] | None = None
    ) -> tuple[list[Image.Image], list[Image.Image]]:
        """Return the pictures that the model sees of one post, before they are normalized.

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
        slots = self.view_slots(image, grounded_regions, detected_regions)
        pictures = [slot and slot[0].draw() for slot in slots]
        groups = pictures[: self.num_grounded_regions], pictures[self.num_grounded_regions :]
        return tuple([picture for picture in group if picture is not None] for group in groups)


__all__ = ["FocalMREProcessor"]
