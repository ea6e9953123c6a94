"""Processor of FocalMRE: posts with marked entities and regions become the model's inputs."""

from typing import Any

import torch
from transformers import AutoImageProcessor, AutoTokenizer, BatchFeature, ProcessorMixin

from .entity_markers import NUM_MARKERS, Span, add_markers, encode_marked_text, join_words, special_token_ids
from .focal_augmentation import DETECTED_COLOR, GROUNDED_COLOR, Box, Canvas, check_boxes, load_image

CHOICES = {
    "input_mode": ("augmented", "cropped", "original"),
    "resize": ("squash", "center_crop"),
    "draw_at": ("model", "source"),
}


class FocalMREProcessor(ProcessorMixin):
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
        self.entity_markers = list(entity_markers)
        self.max_length = max_length
        self.num_grounded_regions = num_grounded_regions
        self.num_detected_regions = num_detected_regions
        self.input_mode = input_mode
        self.resize = resize
        self.draw_at = draw_at
        self.original_if_no_region = original_if_no_region
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"`{name}` must be one of {', '.join(choices)}, got {getattr(self, name)!r}.")
        for name in ("num_grounded_regions", "num_detected_regions"):
            if getattr(self, name) < 0:
                raise ValueError(f"`{name}` must not be negative, got {getattr(self, name)}.")
        self._marker_ids = add_markers(tokenizer, self.entity_markers)
        self._text_starts, self._text_ends = special_token_ids(tokenizer)
        needed = len(self._text_starts) + len(self._text_ends) + NUM_MARKERS + 2
        if max_length < needed:
            raise ValueError(f"`max_length` must be at least {needed} to hold two marked entities, got {max_length}.")
        super().__init__(image_processor, tokenizer, **kwargs)

    @classmethod
    def from_encoders(cls, text: str, vision: str, **kwargs) -> "FocalMREProcessor":
        """Build the processor for two pretrained encoders.

        Args:
            text (`str`): name on the Hub or path of the text encoder.
            vision (`str`): name or path of the vision encoder.
            kwargs: arguments of [`FocalMREProcessor`].

        Returns:
            The processor. Its tokenizer has the entity markers: give the model `vocab_size=len(processor.tokenizer)`.
        """
        # Pictures are scaled here; the image processor only normalizes, for which PIL's backend needs no torchvision.
        image_processor = AutoImageProcessor.from_pretrained(vision, backend="pil")
        return cls(image_processor, AutoTokenizer.from_pretrained(text), **kwargs)

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
        posts = _as_posts(text, images, head, tail, grounded_regions, detected_regions)
        encoded, positions = self._encode_texts(posts)
        inputs = self.tokenizer.pad(
            {"input_ids": encoded},
            padding=padding,
            max_length=self.max_length if padding == "max_length" else None,
            padding_side="right",  # the left would move the entities
        )
        pixel_values, region_mask = self._encode_images(posts)
        data = {
            "input_ids": inputs["input_ids"],
            "attention_mask": inputs["attention_mask"],
            "entity_positions": positions,
            "pixel_values": pixel_values,
            "region_mask": region_mask,
        }
        return BatchFeature(data, tensor_type=return_tensors)

    def _encode_texts(self, posts: list[dict]) -> tuple[list[list[int]], list[list[int]]]:
        encoded, positions = [], []
        room = self.max_length - len(self._text_starts) - len(self._text_ends)
        for index, post in enumerate(posts):
            with _naming_the_post(index, len(posts)):
                text, spans = post["text"], [post["head"], post["tail"]]
                if not isinstance(text, str):
                    spans = [join_words(text, span, name) for span, name in zip(spans, ("head", "tail"))]
                    text = " ".join(text)
                ids, opens = encode_marked_text(self.tokenizer, text, *spans, self._marker_ids, room)
            encoded.append([*self._text_starts, *ids, *self._text_ends])
            positions.append([len(self._text_starts) + position for position in opens])
        return encoded, positions

    def _encode_images(self, posts: list[dict]) -> tuple[torch.Tensor, torch.Tensor]:
        num_regions = self.num_grounded_regions + self.num_detected_regions
        region_mask = torch.zeros(len(posts), num_regions, dtype=torch.bool)
        pictures = []
        for index, post in enumerate(posts):
            with _naming_the_post(index, len(posts)):
                grounded, detected = self.focal_images(
                    post["images"], post["grounded_regions"], post["detected_regions"]
                )
            region_mask[index, : len(grounded)] = True
            region_mask[index, self.num_grounded_regions : self.num_grounded_regions + len(detected)] = True
            pictures += grounded + detected
        width, height = self._image_size()
        pixel_values = torch.zeros(len(posts), num_regions, 3, height, width)
        if pictures:
            normalized = self.image_processor(pictures, do_resize=False, do_center_crop=False, return_tensors="pt")
            pixel_values[region_mask] = normalized["pixel_values"]
        return pixel_values, region_mask

    def focal_images(
        self, image: Any, grounded_regions: list[Box] | None = None, detected_regions: list[Box] | None = None
    ) -> tuple[list, list]:
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
        grounded = check_boxes(grounded_regions, "grounded_regions")
        detected = check_boxes(detected_regions, "detected_regions")
        if image is None:
            if grounded or detected:
                raise ValueError("There are regions, but no image that they are regions of: `images` is None.")
            return [], []
        canvas = Canvas(
            load_image(image),
            size=self._image_size(),
            shortest_edge=self._shortest_edge(),
            resample=self.image_processor.resample,
            resize=self.resize,
            draw_at=self.draw_at,
        )
        return (
            self._group_images(canvas, grounded, self.num_grounded_regions, GROUNDED_COLOR),
            self._group_images(canvas, detected, self.num_detected_regions, DETECTED_COLOR),
        )

    def _group_images(self, canvas: Canvas, boxes: list[Box], slots: int, color: tuple[int, int, int]) -> list:
        if self.input_mode == "original" or (not boxes and self.original_if_no_region):
            return [canvas.original()][:slots]
        if self.input_mode == "cropped":
            return [canvas.cropped(box) for box in boxes[:slots]]
        return [canvas.framed(box, color) for box in boxes[:slots]]

    def _image_size(self) -> tuple[int, int]:
        """Width and height that the vision encoder wants."""
        size = self.image_processor.size
        if getattr(self.image_processor, "do_center_crop", False):
            size = self.image_processor.crop_size
        if size.get("height"):
            return size["width"], size["height"]
        return size["shortest_edge"], size["shortest_edge"]

    def _shortest_edge(self) -> int:
        """What `resize="center_crop"` scales the shorter side to."""
        return self.image_processor.size.get("shortest_edge") or max(self._image_size())


class _naming_the_post:
    """Put the number of the post in front of an error about it, if there are several."""

    def __init__(self, index: int, count: int):
        self.index, self.count = index, count

    def __enter__(self):
        return self

    def __exit__(self, error_type, error, traceback):
        if self.count > 1 and isinstance(error, ValueError):
            raise ValueError(f"Post {self.index} of the batch: {error}") from error


def _as_posts(text, images, head, tail, grounded_regions, detected_regions) -> list[dict]:
    """One dictionary per post, whether one post was given or a list of them."""
    if text is None or head is None or tail is None:
        raise ValueError(
            "A post needs its text and both entities: processor(text='Rafael Nadal weds Mery Perello', images=image, "
            "head=(0, 12), tail=(18, 30))."
        )
    columns = {
        "text": text,
        "images": images,
        "head": head,
        "tail": tail,
        "grounded_regions": grounded_regions,
        "detected_regions": detected_regions,
    }
    if _is_one_post(text, head):
        if isinstance(images, (list, tuple)) and len(images) == 1:
            columns["images"] = images[0]
        return [columns]
    posts = len(text)
    for name, column in columns.items():
        if column is None:
            columns[name] = [None] * posts
        elif isinstance(column, (str, bytes)) or not hasattr(column, "__len__"):
            raise ValueError(f"There are {posts} texts, so `{name}` must be a list, got {column!r}.")
        elif len(column) != posts:
            raise ValueError(f"There are {posts} texts, but {len(column)} values of `{name}`.")
    return [dict(zip(columns, values)) for values in zip(*columns.values())]


def _is_one_post(text, head) -> bool:
    """A list of strings is one post, word by word, if there is one span for it; with a list of spans it is several."""
    if isinstance(text, str) or not hasattr(head, "__iter__"):
        return True
    has_spans = any(hasattr(span, "__iter__") and not isinstance(span, str) for span in head)
    return all(isinstance(words, str) for words in text) and not has_spans


__all__ = ["FocalMREProcessor"]
