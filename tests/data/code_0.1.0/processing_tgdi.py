"""Processor of TGDI: posts with marked entities, captions and object crops become the model's inputs."""

from typing import Any

import torch
from transformers import BatchFeature

from .entity_markers import Span, encode_plain_text
from .processing_relation_extraction import RelationExtractionProcessor, as_posts, check_count, naming_the_post


class TGDIProcessor(RelationExtractionProcessor):
    """Marks the entities in the text, puts the caption after it, and cuts the objects out of the picture.

    Args:
        image_processor: gives the model's image size, resampling, mean and standard deviation.
        tokenizer: a fast tokenizer; the entity markers are added to it where they are missing.
        entity_markers (`tuple[str]`): the tokens that open and close the head entity, then the tail entity.
        max_length (`int`): most tokens of text and caption, special tokens and markers included. The caption gets what
            the text leaves; a longer text loses first the tokens far from its entities.
        num_object_images (`int`): m, the most object crops of a post; further boxes are left out.
        resize (`str`): `"squash"` scales the whole picture and each crop to the model's size, as in the paper;
            `"center_crop"` keeps proportions and cuts the sides off.

    Raises:
        ValueError: if an argument has a value that is not listed here, or the tokenizer separates two texts in a way
            that changes the first one.
    """

    model_input_names = [
        "input_ids",
        "attention_mask",
        "text_mask",
        "entity_positions",
        "pixel_values",
        "image_mask",
    ]

    def __init__(
        self,
        image_processor=None,
        tokenizer=None,
        entity_markers: tuple[str, ...] | list[str] = ("[E1]", "[/E1]", "[E2]", "[/E2]"),
        max_length: int = 128,
        num_object_images: int = 3,
        resize: str = "squash",
        **kwargs,
    ):
        self.num_object_images = num_object_images
        check_count("num_object_images", num_object_images)
        super().__init__(image_processor, tokenizer, entity_markers, max_length, resize, **kwargs)
        # What stands between a text's own end and a second text: nothing for BERT, one more </s> for RoBERTa.
        word = tokenizer("a", add_special_tokens=False)["input_ids"]
        text, pair = tokenizer("a")["input_ids"], tokenizer("a", "a")["input_ids"]
        self._separator = pair[len(text) : len(pair) - len(word) - len(self._text_ends)]
        if [*text, *self._separator, *word, *self._text_ends] != pair:
            raise ValueError(
                f"{type(tokenizer).__name__} does not put a second text after a first one that ends as it does alone."
            )

    def __call__(
        self,
        text: str | list[str] | list[list[str]] | None = None,
        images: Any = None,
        head: Span | list[Span] | None = None,
        tail: Span | list[Span] | None = None,
        grounded_regions: list | None = None,
        detected_regions: list | None = None,
        caption: str | list[str | None] | None = None,
        padding: bool | str = True,
        return_tensors: str | None = "pt",
    ) -> BatchFeature:
        """Turn a post, or a list of posts, into the model's inputs.

        Args:
            text: the text, or its words. For several posts, a list of these.
            images: the picture: a PIL image, a path, the bytes of a file, a uint8 array, or `None` for a post without
                one: such a post gets no visual prefix, and its matching gate is open (m = 1). For several posts, a list
                of these, or `None` if no post has one.
            head: span (start, end) of the head entity, end exclusive: in characters, or in words if the text is given
                as words. For several posts, a list of spans.
            tail: span of the tail entity.
            grounded_regions: boxes `[x_min, y_min, x_max, y_max]` in fractions of the image, of visual grounding. The
                first `num_object_images` of these and the detected ones are cut out. For several posts, a list of
                lists of boxes.
            detected_regions: boxes found by object detection.
            caption: a description of the picture; without one the text stands alone. For several posts, a list.
            padding: `True` to the longest text, `"max_length"` to `max_length`.
            return_tensors: `"pt"`, `"np"`, or `None`, which leaves the token ids in lists.

        Returns:
            `BatchFeature` with `input_ids` and `attention_mask` (B, T_e), `text_mask` (B, T_e), true on the text with
            its special tokens, `entity_positions` (B, 2), `pixel_values` (B, 1 + m, 3, H, W), the whole picture and the
            crops, zero in absent slots, and `image_mask` (B, 1 + m), all false for a post without a picture.

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
            caption=caption,
        )
        texts, positions = self.encode_texts(posts)
        encoded = []
        for index, (ids, post) in enumerate(zip(texts, posts)):
            with naming_the_post(index, len(posts)):
                encoded.append(self._add_caption(ids, post["caption"]))
        inputs = self.pad_texts(encoded, padding)
        longest = len(inputs["input_ids"][0])
        pixel_values, image_mask = self._encode_images(posts)
        data = {
            **inputs,
            "text_mask": [[position < len(ids) for position in range(longest)] for ids in texts],
            "entity_positions": positions,
            "pixel_values": pixel_values,
            "image_mask": image_mask,
        }
        return BatchFeature(data, tensor_type=return_tensors)

    def _add_caption(self, ids: list[int], caption: str | None) -> list[int]:
        """Put as much of the caption after the text as there is room for."""
        if not isinstance(caption, (str, type(None))):
            raise ValueError(f"`caption` must be a text or None, got {caption!r}.")
        room = self.max_length - len(ids) - len(self._separator) - len(self._text_ends)
        if not caption or room < 1:
            return ids
        caption_ids = encode_plain_text(self.tokenizer, caption)[0][:room]
        return [*ids, *self._separator, *caption_ids, *self._text_ends] if caption_ids else ids

    def _encode_images(self, posts: list[dict]) -> tuple[torch.Tensor, torch.Tensor]:
        image_mask = torch.zeros(len(posts), 1 + self.num_object_images, dtype=torch.bool)
        pictures = []
        for index, post in enumerate(posts):
            with naming_the_post(index, len(posts)):
                canvas, grounded, detected = self.open_post(post)
                if canvas is None:
                    continue
                boxes = [*grounded, *detected][: self.num_object_images]
                pictures += [canvas.original(), *(canvas.cropped(box) for box in boxes)]
            image_mask[index, : 1 + len(boxes)] = True
        return self.normalize(pictures, image_mask), image_mask


__all__ = ["TGDIProcessor"]
