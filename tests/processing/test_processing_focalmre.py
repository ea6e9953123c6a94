"""The processor of FocalMRE: posts of every kind, alone and in batches, before and after it is saved."""

import itertools
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoProcessor, BertConfig, CLIPVisionConfig

import mmre.processing
from mmre.posts import PostCollator
from mmre.processing import FocalMREProcessor

RED, BLUE = (255, 0, 0), (0, 0, 255)
SIZE = 32
TEXT = "rafael nadal weds mery perello in south wales"
HEAD, TAIL = (0, 12), (18, 30)
BOXES = [[0.0, 0.0, 0.5, 0.5], [0.25, 0.25, 1.0, 1.0], [0.5, 0.0, 0.75, 1.0], [0.0, 0.5, 1.0, 0.75], [0.0, 0.0, 1, 1]]


def shown(processor, image: Image.Image) -> torch.Tensor:
    """What the model sees of a picture that already has its size."""
    values = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1) / 255
    mean, std = (
        torch.tensor(value)[:, None, None]
        for value in (processor.image_processor.image_mean, processor.image_processor.image_std)
    )
    return (values - mean) / std


def squashed(image: Image.Image) -> Image.Image:
    return image.resize((SIZE, SIZE), Image.Resampling.BICUBIC)


def framed(image: Image.Image, box: list[float], color: tuple) -> Image.Image:
    """A frame drawn pixel by pixel onto the scaled picture."""
    image = squashed(image)
    left, top, right, bottom = (round(edge * SIZE) for edge in box)
    for x, y in itertools.product(range(left, right), range(top, bottom)):
        if min(x - left, right - 1 - x, y - top, bottom - 1 - y) < 3:
            image.putpixel((x, y), color)
    return image


def cropped(image: Image.Image, box: list[float]) -> Image.Image:
    width, height = image.size
    edges = [box[0] * width, box[1] * height, box[2] * width, box[3] * height]
    return squashed(image.crop([round(edge) for edge in edges]))


def check_slots(processor, inputs, grounded: list[Image.Image], detected: list[Image.Image]):
    """The pictures fill the first slots of their group; the rest is zero."""
    slots, mask = inputs["pixel_values"][0], inputs["image_mask"][0].tolist()
    sizes = processor.num_grounded_regions, processor.num_detected_regions
    expected = []
    for pictures, size in ((grounded, sizes[0]), (detected, sizes[1])):
        expected += [shown(processor, picture) for picture in pictures] + [None] * (size - len(pictures))
    assert slots.shape == (sum(sizes), 3, SIZE, SIZE)
    assert mask == [picture is not None for picture in expected]
    for slot, picture in zip(slots, expected):
        assert (slot == 0).all() if picture is None else torch.allclose(slot, picture, atol=1e-5)


# What the model sees of a post


@pytest.mark.parametrize("num_grounded", [0, 1, 2, 4, 5, 7])
@pytest.mark.parametrize("num_detected", [0, 1, 3, 5])
@pytest.mark.parametrize("if_none", [True, False])
@pytest.mark.parametrize("mode", ["augmented", "cropped", "original"])
def test_regions_fill_their_slots_in_order(make_processor, picture, num_grounded, num_detected, if_none, mode):
    processor = make_processor(input_mode=mode, original_if_no_region=if_none)
    boxes = [*BOXES, *BOXES[1:3]]
    grounded, detected = boxes[:num_grounded], boxes[::-1][:num_detected]
    inputs = processor(TEXT, picture, HEAD, TAIL, grounded_regions=grounded, detected_regions=detected)
    groups = []
    for group, color, slots in ((grounded, RED, 4), (detected, BLUE, 3)):
        if mode == "original" or (not group and if_none):
            pictures = [squashed(picture)]
        elif mode == "cropped":
            pictures = [cropped(picture, box) for box in group]
        else:
            pictures = [framed(picture, box, color) for box in group]
        groups.append(pictures[:slots])
    check_slots(processor, inputs, *groups)


@pytest.mark.parametrize(("num_grounded", "num_detected"), [(0, 0), (0, 2), (2, 0), (1, 1)])
@pytest.mark.parametrize("mode", ["augmented", "original"])
def test_numbers_of_slots(make_processor, picture, num_grounded, num_detected, mode):
    processor = make_processor(input_mode=mode, num_grounded_regions=num_grounded, num_detected_regions=num_detected)
    inputs = processor(TEXT, picture, HEAD, TAIL, grounded_regions=BOXES[:2], detected_regions=BOXES[1:3])
    groups = [
        [framed(picture, box, color) if mode == "augmented" else squashed(picture) for box in boxes]
        for boxes, color in ((BOXES[:2], RED), (BOXES[1:3], BLUE))
    ]
    pictures = 1 if mode == "original" else 2
    check_slots(processor, inputs, groups[0][: min(num_grounded, pictures)], groups[1][: min(num_detected, pictures)])


@pytest.mark.parametrize("if_none", [True, False])
@pytest.mark.parametrize("mode", ["augmented", "cropped", "original"])
def test_a_post_without_an_image_has_no_region(make_processor, if_none, mode):
    processor = make_processor(input_mode=mode, original_if_no_region=if_none)
    for regions in ({}, {"grounded_regions": [], "detected_regions": []}):
        check_slots(processor, processor(TEXT, None, HEAD, TAIL, **regions), [], [])


def test_input_modes_differ(make_processor, picture):
    posts = [
        make_processor(input_mode=mode)(TEXT, picture, HEAD, TAIL, BOXES[:1])["pixel_values"][0, 0]
        for mode in ("augmented", "cropped", "original")
    ]
    assert not any(torch.equal(a, b) for a, b in itertools.combinations(posts, 2))


# Tokens


def test_entity_positions_point_at_the_opening_markers(make_processor):
    processor = make_processor()
    inputs = processor(text=TEXT, head=TAIL, tail=HEAD)
    tokens = processor.tokenizer.convert_ids_to_tokens(inputs["input_ids"][0])
    expected = "[CLS] [E2] rafael nadal [/E2] weds [E1] mery perello [/E1] in south wales [SEP]"
    assert tokens == expected.split()
    assert inputs["entity_positions"].tolist() == [[6, 1]]
    assert inputs["attention_mask"].tolist() == [[1] * 14]
    assert set(inputs) == {"input_ids", "attention_mask", "entity_positions", "pixel_values", "image_mask"}


@pytest.mark.parametrize("text", [TEXT, "a #nadal  weds&amp;mery 🎾 [E1] </s> [SEP]", "rafael e\u0301 nadal\u00a0mery"])
def test_words_and_characters_give_the_same_ids(make_processor, text):
    processor = make_processor()
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
def test_a_long_post_keeps_its_entities(make_processor, max_length):
    words = ["of"] * 30 + ["rafael", "nadal"] + ["weds"] * 3 + ["mery"] + ["in"] * 40
    processor = make_processor(max_length=max_length)
    inputs = processor(text=words, head=(30, 32), tail=(35, 36))
    tokens = processor.tokenizer.convert_ids_to_tokens(inputs["input_ids"][0])
    assert len(tokens) == max_length
    assert (tokens[0], tokens[-1]) == ("[CLS]", "[SEP]")
    inside = " ".join(tokens).partition("[E1] ")[2].partition(" [/E2]")[0]
    expected = {8: "rafael [/E1] [E2] mery", 9: "rafael nadal [/E1] [E2] mery"}
    assert inside == expected.get(max_length, "rafael nadal [/E1] weds weds weds [E2] mery")
    assert [tokens[position] for position in inputs["entity_positions"][0]] == ["[E1]", "[E2]"]
    if max_length == 20:
        assert tokens[1:6] == ["of", "of", "of", "of", "[E1]"]
        assert tokens[-6:-1] == ["[/E2]", "in", "in", "in", "in"]


def test_a_short_post_is_not_cut(make_processor):
    processor = make_processor(max_length=14)
    assert processor(TEXT, None, HEAD, TAIL)["input_ids"].shape == (1, 14)
    assert torch.equal(
        processor(TEXT, None, HEAD, TAIL)["input_ids"], make_processor()(TEXT, None, HEAD, TAIL)["input_ids"]
    )


def test_the_tokenizer_still_knows_its_special_tokens(make_processor):
    processor = make_processor()
    before = processor.tokenizer("[E1] nadal [SEP]")["input_ids"]
    processor("[E1] nadal [SEP]", None, (0, 4), (5, 10))
    assert processor.tokenizer("[E1] nadal [SEP]")["input_ids"] == before
    assert processor.tokenizer.convert_tokens_to_ids("[E1]") in before


# Batches


def mixed_posts(picture: Image.Image, tmp_path: Path) -> list[dict]:
    """Posts of every kind: long and short, in words, with and without image and regions."""
    path = tmp_path / "picture.png"
    picture.save(path)
    wide = picture.resize((120, 30))
    return [
        {"text": TEXT, "images": picture, "grounded_regions": BOXES[:2], "detected_regions": BOXES[2:5]},
        {"text": "rafael nadal + mery in new york", "images": None},
        {"text": TEXT.upper(), "images": str(path), "grounded_regions": BOXES},
        {"text": "x" * 12 + " and " + "y" * 50, "images": path.read_bytes(), "grounded_regions": None},
        {"text": TEXT[:31], "images": np.asarray(wide), "grounded_regions": [], "detected_regions": BOXES[:1]},
        {"text": TEXT, "images": wide.convert("L"), "grounded_regions": np.array(BOXES[:1]), "detected_regions": []},
    ]


def as_batch(posts: list[dict]) -> dict:
    names = ("text", "images", "grounded_regions", "detected_regions")
    return {name: [post.get(name) for post in posts] for name in names}


ARGUMENTS = [
    {},
    {"input_mode": "cropped", "original_if_no_region": False},
    {"input_mode": "original", "num_detected_regions": 0},
    {"draw_at": "source", "resize": "center_crop", "num_grounded_regions": 1},
    {"max_length": 12, "original_if_no_region": False},
]


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
@pytest.mark.parametrize("side", ["right", "left"])
def test_a_batch_is_its_posts(make_processor, picture, tmp_path, arguments, side):
    processor = make_processor(**arguments)
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
        for name in ("entity_positions", "pixel_values", "image_mask"):
            assert torch.equal(batch[name][index], alone[name][0])
    assert batch["input_ids"].shape[1] == max(len(row.nonzero()) for row in batch["attention_mask"])


def test_padding_to_the_greatest_length(make_processor):
    processor = make_processor(max_length=40)
    inputs = processor(TEXT, None, HEAD, TAIL, padding="max_length")
    assert inputs["input_ids"].shape == inputs["attention_mask"].shape == (1, 40)
    assert inputs["attention_mask"].sum() == 14
    assert torch.equal(inputs["input_ids"][:, :14], processor(TEXT, None, HEAD, TAIL)["input_ids"])
    assert (inputs["input_ids"][:, 14:] == processor.tokenizer.pad_token_id).all()


def test_kinds_of_tensors(make_processor, picture):
    processor = make_processor()
    batch = {"text": [TEXT, TEXT[:30]], "images": [picture, None], "head": [HEAD] * 2, "tail": [TAIL] * 2}
    tensors = processor(**batch)
    types = {"input_ids": torch.int64, "attention_mask": torch.int64, "entity_positions": torch.int64}
    types |= {"pixel_values": torch.float32, "image_mask": torch.bool}
    assert {name: value.dtype for name, value in tensors.items()} == types
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
    assert torch.equal(torch.as_tensor(lists["pixel_values"]), tensors["pixel_values"])


def test_the_image_of_one_post_may_come_in_a_list(make_processor, picture):
    processor = make_processor()
    expected = processor(TEXT, picture, HEAD, TAIL, BOXES[:1])["pixel_values"]
    for images in ([picture], (picture,)):
        assert torch.equal(processor(TEXT, images, HEAD, TAIL, BOXES[:1])["pixel_values"], expected)
    many = processor([TEXT], [picture], [HEAD], [TAIL], [BOXES[:1]])
    assert torch.equal(many["pixel_values"], expected)


def test_spans_may_be_lists_and_arrays(make_processor):
    processor = make_processor()
    expected = processor(TEXT, None, HEAD, TAIL)["input_ids"]
    for kind in (list, np.array, torch.tensor):
        assert torch.equal(processor(TEXT, None, kind(HEAD), kind(TAIL))["input_ids"], expected)
        spans = [[kind(span), kind(span)] for span in (HEAD, TAIL)]
        assert torch.equal(processor([TEXT] * 2, None, *spans)["input_ids"], expected.repeat(2, 1))
    spans = [np.array([span, span]) for span in (HEAD, TAIL)]
    assert torch.equal(processor([TEXT] * 2, None, *spans)["input_ids"], expected.repeat(2, 1))
    words = processor(TEXT.split(), None, np.array([0, 2]), np.array([3, 5]))
    assert torch.equal(words["input_ids"], expected)


def test_the_collator_feeds_rows_of_a_data_set(make_processor, picture):
    row = {"tokens": TEXT.split(), "head": {"start": 0, "end": 2}, "tail": {"start": 3, "end": 5}, "image": picture}
    row |= {"grounded_regions": BOXES[:1], "detected_regions": [], "relation": 2, "id": "test-0", "caption": None}
    processor = make_processor()
    batch = PostCollator(processor)([row, {**row, "image": None, "grounded_regions": [], "relation": 0}])
    alone = processor(TEXT, picture, HEAD, TAIL, BOXES[:1])
    assert batch["labels"].tolist() == [2, 0]
    assert torch.equal(batch["input_ids"], alone["input_ids"].repeat(2, 1))
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
        {"start": 0, "end": 6},
        5,
        "nadal",
        (),
    ],
    ids=repr,
)
def test_a_bad_span_is_named_with_its_post(make_processor, name, span):
    processor = make_processor()
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
def test_white_space_is_no_entity(make_processor, name):
    with pytest.raises(ValueError, match=f"`{name}` must name an entity, but .* is white space"):
        make_processor()(text=TEXT, **{"head": HEAD, "tail": TAIL, name: (12, 13)})


def test_missing_arguments_are_asked_for(make_processor):
    processor = make_processor()
    whole = {"text": TEXT, "head": HEAD, "tail": TAIL}
    for name in whole:
        for arguments in ({key: value for key, value in whole.items() if key != name}, {**whole, name: None}):
            with pytest.raises(ValueError, match="A post needs its text and both entities"):
                processor(**arguments)


def test_columns_of_a_batch_must_be_of_one_length(make_processor, picture):
    processor = make_processor()
    batch = {
        "text": [TEXT] * 3,
        "images": [picture] * 3,
        "head": [HEAD] * 3,
        "tail": [TAIL] * 3,
        "grounded_regions": [BOXES] * 3,
        "detected_regions": [[]] * 3,
    }
    processor(**batch)
    for name in list(batch)[1:]:
        for length in (0, 2, 4):
            if name == "head" and length == 0:
                continue
            with pytest.raises(ValueError, match=f"There are 3 texts, but {length} values of `{name}`"):
                processor(**{**batch, name: (batch[name] * 2)[:length]})
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
def test_a_text_must_be_a_text(make_processor, text):
    with pytest.raises(ValueError, match="^Post 1 of the batch: A text must be a string or a list of words"):
        make_processor()(text=[TEXT, text], head=[HEAD] * 2, tail=[TAIL] * 2)


def test_a_bad_box_or_image_is_named_with_its_post(make_processor, picture):
    processor = make_processor()
    batch = {"text": [TEXT] * 2, "head": [HEAD] * 2, "tail": [TAIL] * 2, "images": [picture, picture]}
    with pytest.raises(ValueError, match=r"^Post 1 of the batch: `detected_regions\[1\]` must be"):
        processor(**batch, detected_regions=[BOXES, [BOXES[0], [0, 0, 2, 1]]])
    with pytest.raises(ValueError, match="^Post 1 of the batch: The image <bytes> cannot be read"):
        processor(**{**batch, "images": [picture, b"text"]})
    with pytest.raises(ValueError, match="^Post 0 of the batch: There are regions, but no image"):
        processor(**{**batch, "images": [None, picture]}, grounded_regions=[BOXES, BOXES])


def test_typing_errors_in_arguments_are_errors(make_processor, picture):
    processor = make_processor()
    with pytest.raises(TypeError, match="image"):
        processor(text=TEXT, image=picture, head=HEAD, tail=TAIL)
    with pytest.raises(TypeError, match="truncation"):
        processor(text=TEXT, head=HEAD, tail=TAIL, truncation=True)
    with pytest.raises(TypeError, match="max_lenght"):
        make_processor(max_lenght=32)
    with pytest.raises(TypeError, match="resise"):
        FocalMREProcessor(processor.image_processor, processor.tokenizer, resise="squash")


@pytest.mark.parametrize(
    "arguments",
    [
        {"input_mode": "croped"},
        {"resize": "crop"},
        {"resize": None},
        {"draw_at": "target"},
        {"num_grounded_regions": -1},
        {"num_detected_regions": -2},
        {"max_length": 7},
        {"max_length": 0},
        {"entity_markers": ("<s>", "</s>")},
        {"entity_markers": ("<e>", "</e>", "<e>", "</e>")},
    ],
    ids=str,
)
def test_a_bad_setting_is_refused_by_name(make_processor, arguments):
    ((name, value),) = arguments.items()
    with pytest.raises(
        ValueError, match=f"`{name}` .*{list(value) if isinstance(value, tuple) else value}".replace("[", r"\[")
    ):
        make_processor(**arguments)


# Saving and loading

CHANGED = {
    "entity_markers": ["<s>", "</s>", "<o>", "</o>"],
    "max_length": 40,
    "num_grounded_regions": 2,
    "num_detected_regions": 5,
    "input_mode": "cropped",
    "resize": "center_crop",
    "draw_at": "source",
    "original_if_no_region": False,
}


def settings_of(processor) -> dict:
    return {name: getattr(processor, name) for name in CHANGED}


def without_code(config: dict) -> dict:
    parts = {key: without_code(value) if isinstance(value, dict) else value for key, value in config.items()}
    return {key: value for key, value in parts.items() if key != "auto_map"}


def assert_same_outputs(first, second, posts: list[dict]):
    for post in [*posts, as_batch(posts)]:
        count = 1 if isinstance(post["text"], str) else len(posts)
        spans = {"head": HEAD, "tail": TAIL} if count == 1 else {"head": [HEAD] * count, "tail": [TAIL] * count}
        one, other = first(**post, **spans), second(**post, **spans)
        assert set(one) == set(other)
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_no_default_is_saved_in_the_place_of_a_setting(make_processor):
    defaults = settings_of(make_processor())
    assert all(defaults[name] != value for name, value in CHANGED.items())


@pytest.mark.parametrize("arguments", [CHANGED, {}, *({name: value} for name, value in CHANGED.items())], ids=str)
@pytest.mark.parametrize("loader", [FocalMREProcessor, AutoProcessor])
def test_saved_and_loaded_it_is_the_same(make_processor, picture, tmp_path, arguments, loader):
    processor = make_processor(**arguments)
    processor.save_pretrained(tmp_path / "processor")
    loaded = loader.from_pretrained(tmp_path / "processor")
    assert type(loaded) is FocalMREProcessor is mmre.processing.PROCESSORS["focalmre"]
    assert settings_of(loaded) == settings_of(processor)
    # Saving writes down where the code is; nothing else differs.
    assert without_code(loaded.to_dict()) == without_code(processor.to_dict())
    assert len(loaded.tokenizer) == len(processor.tokenizer)
    assert_same_outputs(processor, loaded, mixed_posts(picture, tmp_path))
    loaded.save_pretrained(tmp_path / "again")
    for name in ("processor_config.json", "tokenizer.json"):
        assert (tmp_path / "again" / name).read_text() == (tmp_path / "processor" / name).read_text()


@pytest.mark.parametrize("loader", [FocalMREProcessor, AutoProcessor])
def test_settings_can_be_changed_when_it_is_loaded(make_processor, picture, tmp_path, loader):
    make_processor().save_pretrained(tmp_path / "processor")
    loaded = loader.from_pretrained(tmp_path / "processor", **CHANGED)
    assert settings_of(loaded) == CHANGED
    expected = make_processor()
    expected = FocalMREProcessor(expected.image_processor, expected.tokenizer, **CHANGED)
    assert_same_outputs(expected, loaded, mixed_posts(picture, tmp_path))
    with pytest.raises(ValueError, match="`input_mode` must be one of"):
        loader.from_pretrained(tmp_path / "processor", input_mode="croped")


def test_it_is_built_for_two_encoders(make_processor, picture, tmp_path):
    processor = make_processor()
    text, vision = tmp_path / "text", tmp_path / "vision"
    BertConfig().save_pretrained(text)
    CLIPVisionConfig().save_pretrained(vision)
    processor.tokenizer.save_pretrained(text)
    processor.image_processor.save_pretrained(vision)
    try:
        built = FocalMREProcessor.from_encoders(str(text), str(vision), **CHANGED)
    except ImportError as error:
        pytest.skip(f"this transformers needs more to load an image processor: {error}")
    assert settings_of(built) == CHANGED
    expected = FocalMREProcessor(processor.image_processor, processor.tokenizer, **CHANGED)
    assert_same_outputs(expected, built, mixed_posts(picture, tmp_path))
    with pytest.raises(TypeError, match="max_lenght"):
        FocalMREProcessor.from_encoders(str(text), str(vision), max_lenght=3)
