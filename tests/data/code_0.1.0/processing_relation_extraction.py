"""What all processors here have in common: posts in, marked text and normalized pictures out."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoTokenizer, ProcessorMixin

from .entity_markers import NUM_MARKERS, add_markers, encode_marked_text, join_words, special_token_ids
from .focal_augmentation import Canvas, check_boxes, load_image

RESIZE = ("squash", "center_crop")


class RelationExtractionProcessor(ProcessorMixin):
    """Base of the processors: an image processor, a tokenizer with entity markers, and how pictures are scaled."""

    def __init__(self, image_processor, tokenizer, entity_markers, max_length: int, resize: str, **kwargs):
        self.entity_markers = list(entity_markers)
        self.max_length = max_length
        self.resize = resize
        check_choice("resize", resize, RESIZE)
        self._marker_ids = add_markers(tokenizer, self.entity_markers)
        self._text_starts, self._text_ends = special_token_ids(tokenizer)
        needed = len(self._text_starts) + len(self._text_ends) + NUM_MARKERS + 2
        if max_length < needed:
            raise ValueError(f"`max_length` must be at least {needed} to hold two marked entities, got {max_length}.")
        super().__init__(image_processor, tokenizer, **kwargs)

    @classmethod
    def from_encoders(cls, text: str, vision: str, **kwargs) -> "RelationExtractionProcessor":
        """Build the processor for two pretrained encoders.

        Args:
            text (`str`): name on the Hub or path of the text encoder.
            vision (`str`): name or path of the vision encoder.
            kwargs: arguments of the processor.

        Returns:
            The processor. Its tokenizer has the entity markers: give the model `vocab_size=len(processor.tokenizer)`.
        """
        # Pictures are scaled here; the image processor only normalizes, for which PIL's backend needs no torchvision.
        image_processor = AutoImageProcessor.from_pretrained(vision, backend="pil")
        return cls(image_processor, AutoTokenizer.from_pretrained(text), **kwargs)

    def encode_texts(self, posts: list[dict]) -> tuple[list[list[int]], list[list[int]]]:
        """The token ids of each post, `[CLS]` and `[SEP]` included, and where its two opening markers stand."""
        encoded, positions = [], []
        room = self.max_length - len(self._text_starts) - len(self._text_ends)
        for index, post in enumerate(posts):
            with naming_the_post(index, len(posts)):
                text, spans = post["text"], [post["head"], post["tail"]]
                if not isinstance(text, str):
                    spans = [join_words(text, span, name) for span, name in zip(spans, ("head", "tail"))]
                    text = " ".join(text)
                ids, opens = encode_marked_text(self.tokenizer, text, *spans, self._marker_ids, room)
            encoded.append([*self._text_starts, *ids, *self._text_ends])
            positions.append([len(self._text_starts) + position for position in opens])
        return encoded, positions

    def pad_texts(self, encoded: list[list[int]], padding: bool | str) -> dict:
        """`input_ids` and `attention_mask` of token ids, padded on the right: the left would move the entities."""
        inputs = self.tokenizer.pad(
            {"input_ids": encoded},
            padding=padding,
            max_length=self.max_length if padding == "max_length" else None,
            padding_side="right",
        )
        return {name: inputs[name] for name in ("input_ids", "attention_mask")}

    def open_post(self, post: dict, draw_at: str = "model") -> tuple[Canvas | None, list, list]:
        """A post's picture, ready to be framed and cropped, and its checked boxes; no picture, no boxes."""
        grounded = check_boxes(post["grounded_regions"], "grounded_regions")
        detected = check_boxes(post["detected_regions"], "detected_regions")
        if post["images"] is None:
            if grounded or detected:
                raise ValueError("There are regions, but no image that they are regions of: `images` is None.")
            return None, [], []
        canvas = Canvas(
            load_image(post["images"]),
            size=self._image_size(),
            shortest_edge=self.image_processor.size.get("shortest_edge") or max(self._image_size()),
            resample=self.image_processor.resample,
            resize=self.resize,
            draw_at=draw_at,
        )
        return canvas, grounded, detected

    def normalize(self, pictures: list[Image.Image], mask: torch.Tensor) -> torch.Tensor:
        """Pixel values (B, slots, 3, H, W) of pictures at the model's size, in the order of the mask (B, slots)."""
        width, height = self._image_size()
        pixel_values = torch.zeros(*mask.shape, 3, height, width)
        if pictures:
            normalized = self.image_processor(pictures, do_resize=False, do_center_crop=False, return_tensors="pt")
            pixel_values[mask] = normalized["pixel_values"]
        return pixel_values

    def _image_size(self) -> tuple[int, int]:
        """Width and height that the vision encoder wants."""
        size = self.image_processor.size
        if getattr(self.image_processor, "do_center_crop", False):
            size = self.image_processor.crop_size
        if size.get("height"):
            return size["width"], size["height"]
        return size["shortest_edge"], size["shortest_edge"]


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"`{name}` must be one of {', '.join(choices)}, got {value!r}.")


def check_count(name: str, value: int) -> None:
    if value < 0:
        raise ValueError(f"`{name}` must not be negative, got {value}.")


@contextmanager
def naming_the_post(index: int, count: int) -> Iterator[None]:
    """Put the number of the post in front of an error about it, if there are several."""
    try:
        yield
    except ValueError as error:
        if count == 1:
            raise
        raise ValueError(f"Post {index} of the batch: {error}") from error


def as_posts(text: Any, head: Any, **columns: Any) -> list[dict]:
    """One dictionary per post, whether one post was given or a list of them.

    Args:
        text: the text or the words of a post, or a list of these.
        head: the span of the head entity, or a list of spans.
        columns: what else posts have: `images`, `tail` and others; none, one value, or a list of values.

    Returns:
        For each post its text, its head and its columns.

    Raises:
        ValueError: if the text or an entity is missing, or the lists differ in length.
    """
    if text is None or head is None or columns["tail"] is None:
        raise ValueError(
            "A post needs its text and both entities: processor(text='Rafael Nadal weds Mery Perello', images=image, "
            "head=(0, 12), tail=(18, 30))."
        )
    columns = {"text": text, "head": head, **columns}
    if _is_one_post(text, head):
        if isinstance(columns["images"], (list, tuple)) and len(columns["images"]) == 1:
            columns["images"] = columns["images"][0]
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


def _is_one_post(text: Any, head: Any) -> bool:
    """A list of strings is one post, word by word, if there is one span for it; with a list of spans it is several."""
    if isinstance(text, str) or not hasattr(head, "__iter__"):
        return True
    has_spans = any(hasattr(span, "__iter__") and not isinstance(span, str) for span in head)
    return all(isinstance(words, str) for words in text) and not has_spans


__all__ = ["RelationExtractionProcessor"]
