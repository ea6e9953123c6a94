"""Entity markers: the text of a post as token ids, with its two entities marked.

Markers are inserted as ids between the tokens of the plain text, never pasted into the text: a post that literally
contains a marker cannot forge one.
"""

import operator
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from transformers import PreTrainedTokenizerBase

from .words import Span, join_words

# Head opens, head closes, tail opens, tail closes: their order wherever they are listed.
DEFAULT_MARKERS = ("[E1]", "[/E1]", "[E2]", "[/E2]")
NUM_MARKERS = len(DEFAULT_MARKERS)


def head_comes_first(head: Span, tail: Span) -> bool:
    """Tell whether the head comes first in the text: where both start together, the longer one does.

    Args:
        head: span of the head entity, in characters or in words.
        tail: span of the tail entity.

    Returns:
        `True` also for two equal spans.
    """
    # The longer one's marker opens first, too.
    return (head[0], -head[1]) <= (tail[0], -tail[1])


def add_markers(tokenizer: PreTrainedTokenizerBase, markers: list[str] | tuple[str, ...]) -> list[int]:
    """Add the marker tokens to the tokenizer where they are missing.

    Args:
        tokenizer: a fast tokenizer; it is changed in place.
        markers: head opens, head closes, tail opens, tail closes.

    Returns:
        The ids of the four markers.

    Raises:
        ValueError: if there are not four distinct markers, or the tokenizer cannot tell where its tokens stand.
    """
    if len(markers) != NUM_MARKERS or len(set(markers)) != NUM_MARKERS:
        raise ValueError(
            f"`entity_markers` must be four distinct tokens (head opens, head closes, tail opens, tail closes), "
            f"got {list(markers)!r}."
        )
    if not tokenizer.is_fast:
        raise ValueError(
            f"A fast tokenizer is needed, for entities are found by character offsets; {type(tokenizer).__name__} "
            "gives none."
        )
    missing = [marker for marker in markers if marker not in tokenizer.all_special_tokens]
    if missing:
        tokenizer.add_special_tokens({"additional_special_tokens": missing}, replace_extra_special_tokens=False)
    return tokenizer.convert_tokens_to_ids(list(markers))


def character_span(words: list[str], span: Span, name: str) -> Span:
    """Turn a span of words into a span of characters of these words joined by single spaces.

    Raises:
        ValueError: if the span is empty or not within the words, or these are not strings.
    """
    if not isinstance(words, (list, tuple)) or not all(isinstance(word, str) for word in words):
        raise ValueError(f"A text must be a string or a list of words, got {words!r}.")
    start, end = check_span(span, len(words), name, "words", words)
    return join_words(words, [(start, end)])[1][0]


def check_characters(text: str, name: str) -> None:
    """Refuse half of a pair of surrogates, which JSON can hold and no tokenizer encodes.

    Raises:
        ValueError: if the text holds one.
    """
    half = re.search("[\ud800-\udfff]", text)
    if half:
        raise ValueError(
            f"`{name}` holds {half[0]!r} at {half.start()}, half of a pair of surrogates, which is no character."
        )


def check_span(span: Any, length: int, name: str, unit: str, content: str | list[str]) -> Span:
    """Check a span of words or characters.

    Args:
        span: a list, a tuple, an array of NumPy or a tensor of two whole numbers, or a dictionary that has them as
            `start` and `end`.
        length: length of what the span is of.
        name: what to call the span in an error.
        unit: what the span counts.
        content: what the span is of, for the error.

    Returns:
        The span as a tuple of two integers.

    Raises:
        ValueError: if it is no pair of integers, is empty, or does not lie within the text.
    """
    # Bytes have a `tolist` too, as an `array.array` and a `memoryview`; NumPy's and torch's have a `dtype`.
    values = span.tolist() if hasattr(span, "dtype") else span
    if isinstance(span, Mapping) and {"start", "end"} <= span.keys():
        values = [span["start"], span["end"]]
    is_pair = isinstance(values, (list, tuple)) and len(values) == 2 and bool not in map(type, values)
    try:
        start, end = map(operator.index, values) if is_pair else (0, 0)
        is_span = 0 <= start < end <= length
    except TypeError:
        is_span = False
    if not is_span:
        raise ValueError(
            f"`{name}` must be a span (start, end) of {unit} with 0 <= start < end <= {length}, got {span!r} "
            f"for the text {content!r}."
        )
    return start, end


def encode_marked_text(
    tokenizer: PreTrainedTokenizerBase,
    text: str,
    head: Span,
    tail: Span,
    marker_ids: list[int],
    max_tokens: int,
    in_text_order: bool = False,
) -> tuple[list[int], list[Span], list[Span | None]]:
    """Tokenize a text and mark its two entities; they may nest, overlap, touch, or be the same.

    The tokens are those of the plain text, except that a word is cut where an entity starts or ends inside it. A text
    that is too long loses first the tokens far outside both entities, then those between the entities, then the ends
    of the entities; the markers stay.

    Args:
        tokenizer: a fast tokenizer.
        text: the text of the post.
        head: character span of the head entity, end exclusive.
        tail: character span of the tail entity.
        marker_ids: ids of the four markers.
        max_tokens: most tokens to return, the four markers included; at least six, one for each entity.
        in_text_order: whether the entity that comes first in the text is marked as the head, whichever is the head.

    Returns:
        The token ids, without the model's own special tokens; where the entities marked as head and tail stand in
        them: from the opening marker to the closing one, end exclusive; and for each token its characters of the text,
        none for a marker.

    Raises:
        ValueError: if a span is not within the text or has nothing but white space in it.
    """
    entities = [_entity_span(text, span, name) for span, name in ((head, "head"), (tail, "tail"))]
    if in_text_order and not head_comes_first(*entities):
        entities.reverse()
    ids, offsets = encode_plain_text(tokenizer, text, cuts={edge for entity in entities for edge in entity})
    spans = [_token_span(offsets, entity) for entity in entities]
    kept = _tokens_to_keep(len(ids), spans, max_tokens - NUM_MARKERS)
    spans = [tuple(sum(index < edge for index in kept) for edge in span) for span in spans]
    return _insert_markers([(ids[index], offsets[index]) for index in kept], spans, marker_ids)


def special_token_ids(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """Return the ids that the tokenizer puts before and after a text, for example [CLS] and [SEP]."""
    content = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole = tokenizer("a")["input_ids"]
    for start in range(len(whole) - len(content) + 1):
        if whole[start : start + len(content)] == content:
            return whole[:start], whole[start + len(content) :]
    raise ValueError(f"{type(tokenizer).__name__} does not keep a text's tokens when it adds its special tokens.")


def _entity_span(text: str, span: Span, name: str) -> Span:
    """Return the span without white space at its ends, which many tokenizers take for a part of the next word."""
    start, end = check_span(span, len(text), name, "characters", text)
    entity = text[start:end].strip()
    if not entity:
        raise ValueError(f"`{name}` must name an entity, but {span!r} is white space in the text {text!r}.")
    start = text.index(entity, start)
    return start, start + len(entity)


def encode_plain_text(
    tokenizer: PreTrainedTokenizerBase, text: str, cuts: set[int] = frozenset()
) -> tuple[list[int], list[Span]]:
    """Return token ids and their character offsets; no token reaches over a cut, and none is a special one."""
    inside_words = [
        cut for cut in sorted(cuts) if 0 < cut < len(text) and not (_is_space(text[cut - 1]) or _is_space(text[cut]))
    ]
    edges = [0, *inside_words, len(text)]
    ids, offsets = [], []
    for start, end in zip(edges, edges[1:]):
        # `split_special_tokens`: what looks like a special token in a post is plain text.
        piece = tokenizer(
            text[start:end],
            add_special_tokens=False,
            split_special_tokens=True,
            return_offsets_mapping=True,
            truncation=False,
            verbose=False,  # no warning about long texts: they are cut below
        )
        ids += piece["input_ids"]
        offsets += [(start + first, start + last) for first, last in piece["offset_mapping"]]
    # Unigram tokenizers find their special tokens all the same, as words of the vocabulary: cut off their last letter.
    special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    forged = {last - 1 for index, (first, last) in zip(ids, offsets) if index in special and last - first > 1}
    return (ids, offsets) if forged <= cuts else encode_plain_text(tokenizer, text, cuts | forged)


def _is_space(character: str) -> bool:
    """Tell if every tokenizer ends a word here; some drop control characters and join the words around them."""
    return character in "\t\n\r" or (character.isspace() and unicodedata.category(character) != "Cc")


def _token_span(offsets: list[Span], span: Span) -> Span:
    """Return the tokens that share a character with the span: an empty span in its place if all were dropped."""
    start, end = span
    first = next((index for index, (_, last) in enumerate(offsets) if last > start), len(offsets))
    after = next((index for index, (begin, _) in enumerate(offsets) if begin >= end), len(offsets))
    return first, max(first, after)


def _tokens_to_keep(num_tokens: int, spans: list[Span], limit: int) -> list[int]:
    """Return the indices of at most `limit` tokens: entities go first, then tokens between them, then the rest."""
    if num_tokens <= limit:
        return list(range(num_tokens))
    first, last = min(start for start, _ in spans), max(end for _, end in spans)

    def priority(index: int) -> tuple[int, int]:
        inside = [index - start for start, end in spans if start <= index < end]
        if inside:
            return 0, min(inside)
        distance = min(start - index if index < start else index - end + 1 for start, end in spans)
        return (1 if first <= index < last else 2), distance

    return sorted(sorted(range(num_tokens), key=priority)[:limit])


def _insert_markers(
    tokens: list[tuple[int, Span]], spans: list[Span], marker_ids: list[int]
) -> tuple[list[int], list[Span], list[Span | None]]:
    """Put each entity's markers around its tokens, properly nested where one entity contains the other."""
    # Where several markers stand between the same two tokens: first those that close, the entity opened last first;
    # then entities without a token; then those that open, the longer entity first.
    events = []
    for entity, (start, end) in enumerate(spans):
        opens, closes = marker_ids[2 * entity : 2 * entity + 2]
        if start == end:
            events += [(start, 1, entity, 0, opens), (start, 1, entity, 1, closes)]
        else:
            events += [(start, 2, -end, entity, opens), (end, 0, -start, -entity, closes)]
    marked, position = [], 0
    for gap, *_, marker in sorted(events):
        marked += tokens[position:gap]
        marked.append((marker, None))
        position = gap
    marked += tokens[position:]
    ids, offsets = map(list, zip(*marked))
    head_opens, head_closes, tail_opens, tail_closes = map(ids.index, marker_ids)
    return ids, [(head_opens, head_closes + 1), (tail_opens, tail_closes + 1)], offsets
