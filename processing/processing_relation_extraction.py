"""Base of the processors: posts with two entities become token ids in which the entities are marked."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from transformers import AutoTokenizer, BatchFeature, ProcessorMixin
from transformers.utils import logging

from .entity_markers import (
    DEFAULT_MARKERS,
    NUM_MARKERS,
    add_markers,
    character_span,
    check_characters,
    check_span,
    encode_marked_text,
    encode_plain_text,
    special_token_ids,
)
from .suggestions import unknown
from .utf16_spans import counted_in_utf16
from .words import Span

logger = logging.get_logger(__name__)


class MarkedText(NamedTuple):
    """A post's text with its entities marked.

    Args:
        ids: token ids, `[CLS]` and `[SEP]` included.
        entities: where the entities stand in them, markers included.
        text: the text; of words, what they are joined to.
        offsets: for each token its characters of the text, none for markers, `[CLS]` and `[SEP]`.
    """

    ids: list[int]
    entities: list[list[int]]
    text: str
    offsets: list[Span | None]


class RelationExtractionProcessor(ProcessorMixin):
    """Base of the processors: marks the entities in the text and puts the caption after it.

    A processor reads of a post what its `inputs` say, and passes over the rest unread. `possible_inputs` are what a
    class can read.

    Args:
        tokenizer: a fast tokenizer; the entity markers are added to it where they are missing.
        entity_markers (`tuple[str]`): the tokens that open and close the head entity, then the tail entity.
        max_length (`int`): most tokens of a post, special tokens and markers included. The caption gets what the text
            leaves; a longer text loses first the tokens far from its entities.
        inputs (`tuple[str]`, *optional*): what is read of a post; by default all that the class can read.
        markers_in_text_order (`bool`): whether the entity that comes first in the text is marked as the head, whichever
            is the head: a post and its reverse, head and tail swapped, are then the same inputs, and the model is not
            told which entity is the head. Of two that start together, the longer one comes first.

    Raises:
        ValueError: if an argument has a value that is not listed here, or the tokenizer separates a text and a caption
            in a way that changes the text.
    """

    possible_inputs = ("text", "caption")

    def __init__(
        self,
        tokenizer=None,
        entity_markers: tuple[str, ...] | list[str] = DEFAULT_MARKERS,
        max_length: int = 128,
        inputs: tuple[str, ...] | list[str] | None = None,
        markers_in_text_order: bool = False,
        **kwargs,
    ):
        check_count("max_length", max_length)
        check_switch("markers_in_text_order", markers_in_text_order)
        self.entity_markers = list(entity_markers)
        self.max_length = max_length
        self.markers_in_text_order = markers_in_text_order
        self.inputs = self._check_inputs(self.possible_inputs if inputs is None else inputs)
        self._marker_ids = add_markers(tokenizer, self.entity_markers)
        self._text_starts, self._text_ends = special_token_ids(tokenizer)
        needed = len(self._text_starts) + len(self._text_ends) + NUM_MARKERS + 2
        if max_length < needed:
            raise ValueError(f"`max_length` must be at least {needed} to hold two marked entities, got {max_length}.")
        self._separator = self._caption_separator(tokenizer) if "caption" in self.inputs else []
        super().__init__(tokenizer=tokenizer, **kwargs)

    @classmethod
    def _check_inputs(cls, inputs: Any) -> tuple[str, ...]:
        """Return the inputs in the order of `possible_inputs`."""
        if isinstance(inputs, str) or not hasattr(inputs, "__iter__"):
            raise ValueError(f"`inputs` must be a list of names, got {inputs!r}.")
        inputs = list(inputs)
        for name in inputs:
            if name not in cls.possible_inputs:
                raise ValueError(f"`inputs` of a {cls.__name__}: {unknown('input', name, cls.possible_inputs)}")
        if "text" not in inputs:
            raise ValueError(f"`inputs` must hold 'text', got {inputs!r}.")
        return tuple(name for name in cls.possible_inputs if name in inputs)

    def _caption_separator(self, tokenizer) -> list[int]:
        """Return what stands between a text's own end and a second text: nothing for BERT, `</s>` for RoBERTa."""
        word = tokenizer("a", add_special_tokens=False)["input_ids"]
        text, pair = tokenizer("a")["input_ids"], tokenizer("a", "a")["input_ids"]
        separator = pair[len(text) : len(pair) - len(word) - len(self._text_ends)]
        if [*text, *separator, *word, *self._text_ends] != pair:
            raise ValueError(
                f"{type(tokenizer).__name__} does not put a second text after a first one that ends as it does alone."
            )
        return separator

    @classmethod
    def from_encoders(cls, text: str, **arguments) -> "RelationExtractionProcessor":
        """Build the processor for a pretrained text encoder.

        Args:
            text (`str`): name on the Hub or path of the text encoder.
            arguments: arguments of the processor.

        Returns:
            The processor. Its tokenizer has the entity markers: give the model `vocab_size=len(processor.tokenizer)`.
        """
        return cls(tokenizer=AutoTokenizer.from_pretrained(text), **arguments)

    @property
    def picture_input_names(self) -> list[str]:
        """Return the names of the model's inputs that come from the picture alone."""
        return []

    @property
    def model_input_names(self) -> list[str]:
        """Return the names of the model's inputs that the processor makes."""
        return [
            *("input_ids", "attention_mask"),
            *(["text_mask"] if "caption" in self.inputs else []),
            "entity_positions",
            *(["entity_spans"] if "entity_spans" in self.inputs else []),
            *(["word_structure"] if "structure" in self.inputs else []),
            *self.picture_input_names,
        ]

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
        dependencies: list | None = None,
    ) -> BatchFeature:
        """Turn a post, or a list of posts, into the model's inputs.

        What is not in the processor's `inputs` is passed over unread, so that every processor takes the same post.

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
            caption: a description of the picture; without one the text stands alone. For several posts, a list.
            padding: `True` to the longest text, `"max_length"` to `max_length`.
            return_tensors: `"pt"`, `"np"`, or `None`, which leaves the token ids in lists.
            dependencies: the dependency tree of the text, found before: for each word `[first character, end, number of
                the word it depends on]`; without one, it is found here. For several posts, a list of trees.

        Returns:
            `BatchFeature` with

            - `input_ids` and `attention_mask` (B, T): the text with its markers, then the caption;
            - `text_mask` (B, T), for a processor that reads captions: true on the text with its special tokens;
            - `entity_positions` (B, 2): where the opening markers of head and tail stand, or with
              `markers_in_text_order` of the first and the second entity, as in `entity_spans`;
            - `entity_spans` (B, 2, 2), where `inputs` has them: first token and end (exclusive) of head and tail, the
              markers included: no span is empty, and `[start + 1, end - 1)` is the entity alone;
            - `word_structure` (B, T, 8), where `inputs` has "structure": what the words see around themselves in their
              dependency tree, each at its first token; zero at other tokens;
            - `pixel_values` (B, slots, 3, H, W), for a processor that reads pictures: zero in absent slots;
            - `image_mask` (B, slots): true where a slot holds a picture; all false for a post without one;
            - `boxes` (B, slots, 4), where `inputs` has them: what each slot shows, in fractions of the image; zero in
              absent slots;
            - `region_structure` (B, slots, 8), where `inputs` has "structure": the same of the regions in the graph of
              their boxes; zero in absent slots.

        Raises:
            ImportError, OSError: if a dependency tree has to be found, and spaCy or its model is not installed.
            ValueError: if a span, a box, a picture or a caption cannot be right; for several posts it names the post.
        """
        posts = as_posts(
            text,
            head,
            tail=tail,
            images=images if {"image", "regions"} & set(self.inputs) else None,
            grounded_regions=grounded_regions if "regions" in self.inputs else None,
            detected_regions=detected_regions if "regions" in self.inputs else None,
            caption=caption if "caption" in self.inputs else None,
            dependencies=dependencies if "structure" in self.inputs else None,
        )
        marked = []
        for index, post in enumerate(posts):
            with naming_the_post(index, len(posts)):
                marked.append(self.mark(post["text"], post["head"], post["tail"]))
        data = {**self._encode_texts(marked, posts, padding), **self._encode_pictures(posts)}
        return BatchFeature({name: data[name] for name in self.model_input_names}, tensor_type=return_tensors)

    def _encode_texts(self, marked: list[MarkedText], posts: list[dict], padding: bool | str) -> dict[str, Any]:
        """Return the inputs that come from texts, entities and captions, padded."""
        encoded = [text.ids for text in marked]
        if "caption" in self.inputs:
            for index, (text, post) in enumerate(zip(marked, posts)):
                with naming_the_post(index, len(posts)):
                    encoded[index] = self._add_caption(text.ids, post["caption"])
        # On the right: on the left the padding would move the entities.
        padded = self.tokenizer.pad(
            {"input_ids": encoded},
            padding=padding,
            max_length=self.max_length if padding == "max_length" else None,
            padding_side="right",
        )
        return {
            "input_ids": padded["input_ids"],
            "attention_mask": padded["attention_mask"],
            "text_mask": [
                [position < len(text.ids) for position in range(len(ids))]
                for text, ids in zip(marked, padded["input_ids"])
            ],
            "entity_positions": [[start for start, _ in text.entities] for text in marked],
            "entity_spans": [text.entities for text in marked],
        }

    def mark(self, text: str | list[str], head: Span, tail: Span) -> MarkedText:
        """Tokenize a post's text, and mark its entities.

        Args:
            text: the text, or its words.
            head: span of the head entity, in characters or in words.
            tail: span of the tail entity.

        Returns:
            The token ids, without the caption, and where each of them stands in the text.

        Raises:
            ValueError: if the text or a span cannot be right.
        """
        spans = [head, tail]
        if not isinstance(text, str):
            text = text.tolist() if hasattr(text, "tolist") else text
            spans = [character_span(text, span, name) for span, name in zip(spans, ("head", "tail"))]
            text = " ".join(text)
        else:
            spans = [
                check_span(span, len(text), name, "characters", text) for span, name in zip(spans, ("head", "tail"))
            ]
        check_characters(text, "text")
        room = self.max_length - len(self._text_starts) - len(self._text_ends)
        ids, entities, offsets = encode_marked_text(
            self.tokenizer, text, *spans, self._marker_ids, room, self.markers_in_text_order
        )
        for name, span in zip(("head", "tail"), spans):
            meant = counted_in_utf16(text, span)
            if meant is not None:
                logger.warning_once(
                    f"`{name}` {[*span]} cuts a word of {text!r}; counted in UTF-16, as JavaScript does, {[*meant]} is "
                    f"{text[slice(*meant)]!r}. Expected are Unicode code points."
                )
        start = len(self._text_starts)
        return MarkedText(
            [*self._text_starts, *ids, *self._text_ends],
            [[start + edge for edge in span] for span in entities],
            text,
            [*[None] * start, *offsets, *[None] * len(self._text_ends)],
        )

    def _add_caption(self, ids: list[int], caption: str | None) -> list[int]:
        """Put as much of the caption after the text as there is room for."""
        if not isinstance(caption, (str, type(None))):
            raise ValueError(f"`caption` must be a text or None, got {caption!r}.")
        check_characters(caption or "", "caption")
        room = self.max_length - len(ids) - len(self._separator) - len(self._text_ends)
        if not caption or room < 1:
            return ids
        caption_ids = encode_plain_text(self.tokenizer, caption)[0][:room]
        return [*ids, *self._separator, *caption_ids, *self._text_ends] if caption_ids else ids

    def _encode_pictures(self, posts: list[dict]) -> dict[str, Any]:
        """Return the inputs named by `picture_input_names`."""
        return {}


@contextmanager
def naming_the_post(index: int, count: int) -> Iterator[None]:
    """Put the number of the post in front of an error about it, if there are several."""
    try:
        yield
    except ValueError as error:
        if count == 1:
            raise
        raise ValueError(f"Post {index} of the batch: {error}") from error


def as_posts(text: Any, head: Any, images: Any, **columns: Any) -> list[dict]:
    """Return one dictionary per post, whether one post was given or a list of them.

    Args:
        text: the text or the words of a post, or a list of these.
        head: the span of the head entity, or a list of spans.
        images: the picture, a list of pictures, or `None`.
        columns: what else posts have: `tail` and others; `None`, one value, or a list of values.

    Returns:
        For each post its `text`, `head`, `image` and columns.

    Raises:
        ValueError: if the text or an entity is missing, or the lists differ in length.
    """
    if text is None or head is None or columns["tail"] is None:
        raise ValueError(
            "A post needs its text and both entities: processor(text='Rafael Nadal weds Mery Perello', images=image, "
            "head=(0, 12), tail=(18, 30))."
        )
    if isinstance(text, (list, tuple)) and not text:
        raise ValueError("`text` is an empty list; expected a post, or a list of at least one.")
    columns = {"text": text, "head": head, "images": images, **columns}
    if _is_one_post(text, head):
        if isinstance(images, (list, tuple)) and len(images) == 1:
            columns["images"] = images[0]
        columns["image"] = columns.pop("images")
        return [columns]
    count = len(text)
    for name, column in columns.items():
        if column is None:
            columns[name] = [None] * count
        elif isinstance(column, (str, bytes)) or not hasattr(column, "__len__"):
            raise ValueError(f"There are {count} texts, so `{name}` must be a list, got {column!r}.")
        elif len(column) != count:
            raise ValueError(f"There are {count} texts, but {len(column)} values of `{name}`.")
    columns["image"] = columns.pop("images")
    return [dict(zip(columns, values)) for values in zip(*columns.values())]


def _is_one_post(text: Any, head: Any) -> bool:
    """Tell a post from a list of posts: a list of strings with one span is one post, given word by word."""
    if isinstance(text, (str, bytes, Mapping)) or not hasattr(text, "__iter__") or not hasattr(head, "__iter__"):
        return True
    has_spans = any(hasattr(span, "__iter__") and not isinstance(span, str) for span in head)
    return all(isinstance(words, str) for words in text) and not has_spans


def check_count(name: str, value: int, least: int = 0) -> None:
    """Raise a `ValueError` that names the argument unless its value is a whole number, `least` or more."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"`{name}` must be a whole number, {least} or more, got {value!r}.")


def check_switch(name: str, value: bool) -> None:
    """Raise a `ValueError` that names the argument unless its value is true or false: any text would count as true."""
    if not isinstance(value, bool):
        raise ValueError(f"`{name}` must be true or false, got {value!r}.")


__all__ = ["RelationExtractionProcessor"]
