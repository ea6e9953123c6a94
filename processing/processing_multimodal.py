"""Processor of the systems that read text with pictures: the whole image, and its regions cut out."""

from collections import Counter
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoTokenizer

from .entity_markers import DEFAULT_MARKERS
from .focal_augmentation import Box, CachedCanvas, Canvas, View, check_boxes
from .picture_cache import PictureCache, picture_content, same_picture
from .picture_files import MAX_PIXELS, load_image
from .processing_relation_extraction import RelationExtractionProcessor, check_count, check_switch, naming_the_post
from .suggestions import unknown

RESIZE = ("squash", "center_crop")
WHOLE_IMAGE = (0.0, 0.0, 1.0, 1.0)
# So many pictures are normalized by the image processor itself.
FEW_IMAGES = 4

# What a slot shows, with its box, or nothing.
Slot = tuple[View, Box] | None


class MultimodalProcessor(RelationExtractionProcessor):
    """Marks the entities in the text, puts the caption after it, and cuts the regions out of the picture.

    The slots of a post's pictures are `[whole image | grounded regions | detected regions]`: the whole image if
    `inputs` has "image", `num_grounded_regions` and `num_detected_regions` slots for regions if it has "regions".

    Args:
        image_processor: gives the model's image size, resampling, mean and standard deviation.
        tokenizer: a fast tokenizer; the entity markers are added to it where they are missing.
        entity_markers (`tuple[str]`): the tokens that open and close the head entity, then the tail entity.
        max_length (`int`): most tokens of a post, special tokens and markers included. The caption gets what the text
            leaves; a longer text loses first the tokens far from its entities.
        num_grounded_regions (`int`): slots for regions found by visual grounding; further ones are left out.
        num_detected_regions (`int`): slots for regions found by object detection.
        resize (`str`): `"squash"` scales the whole picture and each crop to the model's size; `"center_crop"` keeps
            proportions and cuts the sides off.
        inputs (`tuple[str]`, *optional*): what is read of a post, of "text", "caption", "image", "regions", "boxes"
            (of what each slot shows) and "entity_spans"; by default all of it.
        max_image_pixels (`int`): most pixels of a picture; larger ones are refused before they are decoded.
        markers_in_text_order (`bool`): whether the entity that comes first in the text is marked as the head, whichever
            is the head: a post and its reverse, head and tail swapped, are then the same inputs, and the model is not
            told which entity is the head. Of two that start together, the longer one comes first.
        jpeg_draft (`bool`): whether the decoder may scale the file of a JPEG down, to twice the model's size at least:
            faster, with other pixels. A picture in memory is taken as it is.

    Raises:
        ValueError: if an argument has a value that is not listed here, or the tokenizer separates a text and a caption
            in a way that changes the text.
    """

    possible_inputs = ("text", "caption", "image", "regions", "boxes", "entity_spans")
    regions_need_image = False  # of a class whose regions are never read without the whole image
    picture_cache: PictureCache | None = None  # where pictures are kept, each decoded and scaled once; not saved

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
        **kwargs,
    ):
        self.num_grounded_regions = num_grounded_regions
        self.num_detected_regions = num_detected_regions
        self.resize = resize
        self.max_image_pixels = max_image_pixels
        self.jpeg_draft = jpeg_draft
        check_count("num_grounded_regions", num_grounded_regions)
        check_count("num_detected_regions", num_detected_regions)
        check_choice("resize", resize, RESIZE)
        check_count("max_image_pixels", max_image_pixels, least=1)
        check_switch("jpeg_draft", jpeg_draft)
        super().__init__(
            tokenizer,
            entity_markers,
            max_length,
            inputs,
            markers_in_text_order,
            image_processor=image_processor,
            **kwargs,
        )

    @classmethod
    def _check_inputs(cls, inputs: Any) -> tuple[str, ...]:
        inputs = super()._check_inputs(inputs)
        if cls.regions_need_image and "regions" in inputs and "image" not in inputs:
            raise ValueError(f"`inputs`: 'regions' need the 'image' that they are of, got {inputs!r}.")
        if "boxes" in inputs and not {"image", "regions"} & set(inputs):
            raise ValueError(f"`inputs`: 'boxes' are of pictures, so 'image' or 'regions' is needed, got {inputs!r}.")
        return inputs

    @classmethod
    def from_encoders(cls, text: str, vision: str, **arguments) -> "MultimodalProcessor":
        """Build the processor for two pretrained encoders.

        Args:
            text (`str`): name on the Hub or path of the text encoder.
            vision (`str`): name or path of the vision encoder.
            arguments: arguments of the processor.

        Returns:
            The processor. Its tokenizer has the entity markers: give the model `vocab_size=len(processor.tokenizer)`.
        """
        # Pictures are scaled here; the image processor only normalizes, for which PIL's backend needs no torchvision.
        image_processor = AutoImageProcessor.from_pretrained(vision, backend="pil")
        return cls(image_processor=image_processor, tokenizer=AutoTokenizer.from_pretrained(text), **arguments)

    @property
    def picture_input_names(self) -> list[str]:
        """Return the names of the model's inputs that come from the picture alone."""
        if not {"image", "regions"} & set(self.inputs):
            return []
        return ["pixel_values", "image_mask", *(["boxes"] if "boxes" in self.inputs else [])]

    @property
    def num_slots(self) -> int:
        """Return how many pictures a post has room for."""
        num_regions = self.num_grounded_regions + self.num_detected_regions if "regions" in self.inputs else 0
        return int("image" in self.inputs) + num_regions

    def view_slots(
        self, image: Any, grounded_regions: list[Box] | None = None, detected_regions: list[Box] | None = None
    ) -> list[Slot]:
        """Return what the model sees of one post's picture, before it is normalized.

        Args:
            image: the picture, as in `__call__`, or `None`.
            grounded_regions: boxes found by visual grounding.
            detected_regions: boxes found by object detection.

        Returns:
            For each of the `num_slots` slots its [`~mmre.processing.focal_augmentation.View`] with the box that it is
            of; `None` for an absent one.

        Raises:
            ValueError: if a box or the picture cannot be right, or there are boxes but no picture.
        """
        reads_regions = "regions" in self.inputs
        grounded, detected = _check_regions(
            image, grounded_regions if reads_regions else None, detected_regions if reads_regions else None
        )
        canvas = None if image is None else self._open_picture(image)
        slots = [] if canvas is None else self._fill_slots(canvas, grounded, detected)
        return slots + [None] * (self.num_slots - len(slots))

    def _fill_slots(self, canvas: Canvas, grounded: list[Box], detected: list[Box]) -> list[Slot]:
        """Return what the slots of one post hold; absent ones at the end are left out."""
        slots = [(canvas.original(), WHOLE_IMAGE)] if "image" in self.inputs else []
        slots += [(canvas.cropped(box), box) for box in grounded[: self.num_grounded_regions]]
        if detected:
            slots += [None] * (self.num_slots - self.num_detected_regions - len(slots))
        return slots + [(canvas.cropped(box), box) for box in detected[: self.num_detected_regions]]

    def _encode_pictures(self, posts: list[dict]) -> dict[str, torch.Tensor]:
        if not self.picture_input_names:
            return {}
        absent = [0.0] * 4
        image_mask = [[False] * self.num_slots for _ in posts]
        boxes = [[absent] * self.num_slots for _ in posts]
        views, canvases = [], {}
        names = [same_picture(post["image"]) for post in posts]
        posts_to_come = Counter(names)
        for index, (post, name) in enumerate(zip(posts, names)):
            with naming_the_post(index, len(posts)):
                image = post["image"]
                grounded, detected = _check_regions(image, post["grounded_regions"], post["detected_regions"])
                canvas = canvases.pop(name, None)
                if canvas is None and image is not None:
                    canvas = self._open_picture(image)
                posts_to_come[name] -= 1
                if posts_to_come[name]:  # no picture stays in memory longer than that
                    canvases[name] = canvas
                slots = [] if canvas is None else self._fill_slots(canvas, grounded, detected)
            for slot, content in enumerate(slots):
                if content is not None:
                    image_mask[index][slot] = True
                    boxes[index][slot] = content[1]
                    views.append(content[0])
        shape = len(posts), self.num_slots
        image_mask = torch.tensor(image_mask, dtype=torch.bool).view(shape)
        return {
            "pixel_values": self._normalize(views, image_mask),
            "image_mask": image_mask,
            "boxes": torch.tensor(boxes, dtype=torch.float32).view(*shape, 4),
        }

    def _open_picture(self, image: Any) -> Canvas:
        """Return a picture, ready to be framed and cropped."""
        settings = {
            "size": self._image_size(),
            "shortest_edge": self._shortest_edge(),
            "resample": self.image_processor.resample,
            "resize": self.resize,
        }
        content = None if self.picture_cache is None else picture_content(image)
        if content is None:
            return Canvas(self.load_picture(image), **settings)
        limits = self.max_image_pixels, self._least_side()
        return CachedCanvas(self.picture_cache, content, partial(self.load_picture, image), limits, **settings)

    def load_picture(self, image: Any) -> Image.Image:
        """Read a picture as this processor does, before it is scaled; see [`load_image`]."""
        return load_image(image, self.max_image_pixels, self._least_side())

    def _least_side(self) -> int | None:
        """Return how long the sides of a JPEG stay at least; none if it is decoded whole."""
        return 2 * max(*self._image_size(), self._shortest_edge()) if self.jpeg_draft else None

    def _shortest_edge(self) -> int:
        return self.image_processor.size.get("shortest_edge") or max(self._image_size())

    def _normalize(self, views: list[View], mask: torch.Tensor) -> torch.Tensor:
        """Return pixel values (B, slots, 3, H, W) of views, in the order of the mask; each picture is normalized once.

        Pixels are normalized one by one, so the values of a frame are those of a picture of its color.
        """
        size = self._image_size()
        pixel_values = torch.zeros(*mask.shape, 3, *reversed(size))
        if not views:
            return pixel_values
        array = pixel_values.numpy()  # the same memory, and slices that cost less
        slots = [array[post, slot] for post, slot in mask.nonzero().tolist()]
        first = {}  # each picture with the slot that it stands in first
        for slot, view in zip(slots, views):
            first.setdefault(id(view.image), (view.image, slot))
        colors = {view.color: np.empty_like(slots[0]) for view in views if view.frame}
        painted = [(Image.new("RGB", size, color), values) for color, values in colors.items()]
        self._normalize_images([*first.values(), *painted])
        for slot, view in zip(slots, views):
            normalized = first[id(view.image)][1]
            if slot is not normalized:
                slot[...] = normalized
        for slot, view in zip(slots, views):  # once no slot without a frame is taken from it
            for left, top, right, bottom in view.frame:
                slot[:, top:bottom, left:right] = colors[view.color][:, :1, :1]
        return pixel_values

    def _normalize_images(self, images: list[tuple[Image.Image, np.ndarray]]) -> None:
        """Normalize pictures of one size, each into the array (3, H, W) beside it.

        Of several, the values are looked up in a table of what the image processor makes of each value of each channel,
        which is less work; unless it makes more of a pixel than of its channels one by one.
        """
        table = self._values_of_channels() if len(images) > FEW_IMAGES else None
        if table is None:
            for (_, array), values in zip(images, self._process([image for image, _ in images])):
                array[...] = values
            return
        for image, array in images:
            for values, channel, normalized in zip(table, image.split(), array):
                # With the default "raise", NumPy fills a copy and copies that.
                np.take(values, np.asarray(channel), out=normalized, mode="clip")

    def _values_of_channels(self) -> np.ndarray | None:
        """Return what the image processor makes of the 256 values of red, of green and of blue, (3, 256)."""
        ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
        gray, mixed = np.stack([ramp] * 3, axis=-1), np.stack([ramp, ramp[::-1], ramp.T], axis=-1)
        values, others = self._process([Image.fromarray(gray), Image.fromarray(mixed)])
        if values.shape != (3, 16, 16):
            return None
        expected = np.stack([values[0], values[1][::-1], values[2].T])
        return values.reshape(3, 256) if np.array_equal(others, expected) else None

    def _process(self, images: list[Image.Image]) -> np.ndarray:
        """Return what the image processor makes of pictures that have their size, (N, 3, H, W)."""
        options = {"do_resize": False, "do_center_crop": False, "return_tensors": "pt"}
        return self.image_processor(images, **options)["pixel_values"].numpy()

    def _image_size(self) -> tuple[int, int]:
        """Return the width and height that the vision encoder wants."""
        size = self.image_processor.size
        if getattr(self.image_processor, "do_center_crop", False):
            size = self.image_processor.crop_size
        if size.get("height"):
            return size["width"], size["height"]
        return size["shortest_edge"], size["shortest_edge"]


def _check_regions(
    image: Any, grounded_regions: list[Box] | None, detected_regions: list[Box] | None
) -> tuple[list[Box], list[Box]]:
    """Return a post's boxes, checked; without a picture there are none."""
    grounded = check_boxes(grounded_regions, "grounded_regions")
    detected = check_boxes(detected_regions, "detected_regions")
    if image is None and (grounded or detected):
        raise ValueError("There are regions, but no image that they are regions of: `images` is None.")
    return grounded, detected


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise a `ValueError` that names the argument unless its value is one of the choices."""
    if value not in choices:
        raise ValueError(unknown(name, value, choices))


__all__ = ["MultimodalProcessor"]
