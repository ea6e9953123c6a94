"""Entity markers: the text of a post as token ids, with its two entities marked.

Markers are inserted as ids between the tokens of the plain text, never pasted into the text: a post that literally
contains a marker cannot forge one.
"""

import operator
import unicodedata

from transformers import PreTrainedTokenizerBase

Span = tuple[int, int]

# The order of the four marker tokens wherever they are listed.
NUM_MARKERS = 4


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


def join_words(words: list[str], span: Span, name: str) -> Span:
    """The character span, in the words joined by single spaces, of a span of words.

    Raises:
        ValueError: if the span is empty or not within the words, or these are not strings.
    """
    if not hasattr(words, "__iter__") or not all(isinstance(word, str) for word in words):
        raise ValueError(f"A text must be a string or a list of words, got {words!r}.")
    start, end = check_span(span, len(words), name, "words", words)
    offset = sum(len(word) + 1 for word in words[:start])
    return offset, offset + len(" ".join(words[start:end]))


def check_span(span: Span, length: int, name: str, unit: str, content: str | list[str]) -> Span:
    """Check a span of words or characters.

    Returns:
        The span as a tuple of two integers.

    Raises:
        ValueError: if it is no pair of integers, is empty, or does not lie within the text.
    """
    try:
        start, end = (operator.index(value) for value in span)
        is_span = 0 <= start < end <= length
    except (TypeError, ValueError):
        is_span = False
    if not is_span:
        raise ValueError(
            f"`{name}` must be a span (start, end) of {unit} with 0 <= start < end <= {length}, got {span!r} "
            f"for the text {content!r}."
        )
    return start, end


def encode_marked_text(
    tokenizer: PreTrainedTokenizerBase, text: str, head: Span, tail: Span, marker_ids: list[int], max_tokens: int
) -> tuple[list[int], Span]:
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

    Returns:
        The token ids, without the model's own special tokens, and the positions of the two opening markers.

    Raises:
        ValueError: if a span is not within the text or has nothing but white space in it.
    """
    entities = [_entity_span(text, span, name) for span, name in ((head, "head"), (tail, "tail"))]
    ids, offsets = encode_plain_text(tokenizer, text, cuts={edge for entity in entities for edge in entity})
    spans = [_token_span(offsets, entity) for entity in entities]
    kept = _tokens_to_keep(len(ids), spans, max_tokens - NUM_MARKERS)
    spans = [tuple(sum(index < edge for index in kept) for edge in span) for span in spans]
    return _insert_markers([ids[index] for index in kept], spans, marker_ids)


def special_token_ids(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """The ids that the tokenizer puts before and after a text, for example [CLS] and [SEP]."""
    content = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole = tokenizer("a")["input_ids"]
    for start in range(len(whole) - len(content) + 1):
        if whole[start : start + len(content)] == content:
            return whole[:start], whole[start + len(content) :]
    raise ValueError(f"{type(tokenizer).__name__} does not keep a text's tokens when it adds its special tokens.")


def _entity_span(text: str, span: Span, name: str) -> Span:
    """The span without the white space at its ends, which many tokenizers take for a part of the next word."""
    start, end = check_span(span, len(text), name, "characters", text)
    entity = text[start:end].strip()
    if not entity:
        raise ValueError(f"`{name}` must name an entity, but {span!r} is white space in the text {text!r}.")
    start = text.index(entity, start)
    return start, start + len(entity)


def encode_plain_text(
    tokenizer: PreTrainedTokenizerBase, text: str, cuts: set[int] = frozenset()
) -> tuple[list[int], list[Span]]:
    """Token ids and their character offsets; no token reaches over a cut, and none is a special one."""
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
    """Whether words end here for every tokenizer; some drop control characters and join what they separate."""
    return character in "\t\n\r" or (character.isspace() and unicodedata.category(character) != "Cc")


def _token_span(offsets: list[Span], span: Span) -> Span:
    """The tokens that share a character with the span. Empty, but in place, if the tokenizer dropped all of them."""
    start, end = span
    first = next((index for index, (_, last) in enumerate(offsets) if last > start), len(offsets))
    after = next((index for index, (begin, _) in enumerate(offsets) if begin >= end), len(offsets))
    return first, max(first, after)


def _tokens_to_keep(num_tokens: int, spans: list[Span], limit: int) -> list[int]:
    """The indices of at most `limit` tokens, in order: entities first, then what stands between, then the rest."""
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


def _insert_markers(ids: list[int], spans: list[Span], marker_ids: list[int]) -> tuple[list[int], Span]:
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
        marked += ids[position:gap]
        marked.append(marker)
        position = gap
    marked += ids[position:]
    return marked, (marked.index(marker_ids[0]), marked.index(marker_ids[2]))
