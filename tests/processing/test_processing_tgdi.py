"""The processor of TGDI: captions after the text, crops after the picture. What it shares is tested with FocalMRE's."""

import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoProcessor, CLIPImageProcessorPil, PreTrainedTokenizerFast

from mmre.posts import PostCollator
from mmre.processing import TGDIProcessor

TEXT, HEAD, TAIL = "rt @ rafael nadal weds mery", (5, 17), (23, 27)
SIZE = 32


@pytest.fixture
def make_tgdi_processor(make_tokenizer):
    def make(tokenizer=None, **arguments) -> TGDIProcessor:
        image_processor = CLIPImageProcessorPil(size={"shortest_edge": SIZE}, crop_size={"height": SIZE, "width": SIZE})
        return TGDIProcessor(image_processor, tokenizer or make_tokenizer(), **arguments)

    return make


def tokens(processor, ids) -> list[str]:
    return processor.tokenizer.convert_ids_to_tokens(ids)


def test_the_caption_follows_the_text_as_a_second_segment(make_tgdi_processor):
    processor = make_tgdi_processor()
    inputs = processor(text=TEXT, head=HEAD, tail=TAIL, caption="a new city")
    text = ["[CLS]", "rt", "@", "[E1]", "rafael", "nadal", "[/E1]", "weds", "[E2]", "mery", "[/E2]", "[SEP]"]
    assert tokens(processor, inputs["input_ids"][0]) == [*text, "a", "new", "city", "[SEP]"]
    assert inputs["text_mask"][0].tolist() == [True] * len(text) + [False] * 4
    assert inputs["entity_positions"].tolist() == [[3, 8]]


@pytest.mark.parametrize("caption", [None, "", " \n"])
def test_without_a_caption_the_text_stands_alone(make_tgdi_processor, caption):
    inputs = make_tgdi_processor()(text=TEXT, head=HEAD, tail=TAIL, caption=caption)
    assert inputs["input_ids"].shape == (1, 12)
    assert inputs["text_mask"].all()


@pytest.mark.parametrize("max_length", range(8, 20))
def test_the_caption_never_eats_the_post(make_tgdi_processor, max_length):
    processor = make_tgdi_processor(max_length=max_length)
    alone = processor(text=TEXT, head=HEAD, tail=TAIL)["input_ids"][0].tolist()
    both = processor(text=TEXT, head=HEAD, tail=TAIL, caption="a new city in south wales")
    ids = both["input_ids"][0].tolist()
    assert len(ids) <= max_length
    assert ids[: len(alone)] == alone
    assert both["text_mask"][0].sum() == len(alone)
    # One caption token and its [SEP] are the least that is added.
    assert len(ids) == len(alone) if max_length < 14 else len(ids) == min(max_length, 12 + 6 + 1)


def test_a_caption_cannot_forge_a_special_token(make_tgdi_processor):
    processor = make_tgdi_processor()
    inputs = processor(text=TEXT, head=HEAD, tail=TAIL, caption="[E1] [SEP] [CLS] [/E2]")
    special = [token for token in tokens(processor, inputs["input_ids"][0]) if token.startswith("[") and len(token) > 1]
    assert special == ["[CLS]", "[E1]", "[/E1]", "[E2]", "[/E2]", "[SEP]", "[SEP]"]


def test_the_separator_is_the_tokenizers_own(make_tgdi_processor):
    vocabulary = {token: index for index, token in enumerate(["<s>", "</s>", "<pad>", "<unk>", "a", "b", "c"])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.RobertaProcessing(("</s>", 1), ("<s>", 0))
    roberta = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )
    processor = make_tgdi_processor(roberta)
    inputs = processor(text="a b", head=(0, 1), tail=(2, 3), caption="c a")
    assert tokens(processor, inputs["input_ids"][0]) == [
        *("<s>", "[E1]", "a", "[/E1]", "[E2]", "b", "[/E2]", "</s>", "</s>", "c", "a", "</s>")
    ]
    assert inputs["text_mask"][0].sum() == 8


def test_a_tokenizer_that_changes_the_first_text_is_refused(make_tgdi_processor, make_tokenizer):
    tokenizer = make_tokenizer()
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    with pytest.raises(ValueError, match="second text after a first one"):
        make_tgdi_processor(tokenizer)


def test_the_picture_comes_first_then_grounded_then_detected_crops(make_tgdi_processor, picture):
    processor = make_tgdi_processor()
    grounded, detected = [[0, 0, 0.5, 0.5], [0.25, 0.25, 1, 1]], [[0.5, 0, 1, 0.5], [0, 0, 1, 0.1]]
    inputs = processor(
        text=TEXT, head=HEAD, tail=TAIL, images=picture, grounded_regions=grounded, detected_regions=detected
    )
    crops = [(0, 0, 80, 60), (0, 0, 40, 30), (20, 15, 80, 60), (40, 0, 80, 30)]
    pictures = [picture.crop(crop).resize((SIZE, SIZE), Image.Resampling.BICUBIC) for crop in crops]
    expected = processor.image_processor(pictures, do_resize=False, do_center_crop=False, return_tensors="pt")
    assert inputs["image_mask"].tolist() == [[True] * 4]
    assert torch.equal(inputs["pixel_values"][0], expected["pixel_values"])


def test_a_batch_is_its_posts_one_by_one(make_tgdi_processor, picture):
    processor = make_tgdi_processor()
    posts = [
        {"images": picture, "grounded_regions": [[0, 0, 1, 0.5]], "detected_regions": None, "caption": "a city"},
        {"images": None, "grounded_regions": None, "detected_regions": None, "caption": "new york city in the south"},
        {"images": picture, "grounded_regions": [], "detected_regions": [[0, 0, 1, 1]] * 5, "caption": None},
    ]
    columns = {name: [post[name] for post in posts] for name in posts[0]}
    batch = processor(text=[TEXT] * 3, head=[HEAD] * 3, tail=[TAIL] * 3, **columns)
    assert batch["image_mask"].sum(dim=1).tolist() == [2, 0, 4]
    for index, post in enumerate(posts):
        single = processor(text=TEXT, head=HEAD, tail=TAIL, **post)
        length = single["input_ids"].shape[1]
        for name, tensor in single.items():
            together = batch[name][index]
            together = together[:length] if name in ("input_ids", "attention_mask", "text_mask") else together
            assert torch.equal(together, tensor[0]), name
        assert not batch["attention_mask"][index, length:].any()
        assert not batch["text_mask"][index, length:].any()


def test_errors_name_the_post(make_tgdi_processor):
    with pytest.raises(ValueError, match=r"Post 1 of the batch: `detected_regions\[0\]`"):
        make_tgdi_processor()(
            text=[TEXT] * 2,
            head=[HEAD] * 2,
            tail=[TAIL] * 2,
            images=[Image.new("RGB", (4, 4))] * 2,
            detected_regions=[[], [[0, 0, 2, 1]]],
        )
    with pytest.raises(ValueError, match="no image that they are regions of"):
        make_tgdi_processor()(text=TEXT, head=HEAD, tail=TAIL, grounded_regions=[[0, 0, 1, 1]])


def test_every_argument_survives_saving_and_loading(make_tgdi_processor, tmp_path, picture):
    processor = make_tgdi_processor(
        entity_markers=["<s>", "</s>", "<o>", "</o>"], max_length=14, num_object_images=1, resize="center_crop"
    )
    processor.save_pretrained(tmp_path)
    loaded = AutoProcessor.from_pretrained(tmp_path)
    assert isinstance(loaded, TGDIProcessor)
    post = {"text": TEXT, "head": HEAD, "tail": TAIL, "images": picture, "caption": "a city in the south"}
    before, after = (p(**post, grounded_regions=[[0, 0, 0.5, 1]] * 2) for p in (processor, loaded))
    assert before["pixel_values"].shape[1] == 2
    assert before["input_ids"].shape[1] == 14
    for name in before:
        assert torch.equal(before[name], after[name]), name
    assert list(before) == TGDIProcessor.model_input_names


def test_the_collator_gives_each_processor_what_it_takes(make_tgdi_processor, make_processor, picture):
    row = {
        "id": "test-0",
        "tokens": TEXT.split(),
        "head": {"start": 2, "end": 4},
        "tail": {"start": 5, "end": 6},
        "image": picture,
        "relation": 3,
        "grounded_regions": [[0, 0, 0.5, 0.5]],
        "detected_regions": [],
        "caption": "a city",
    }
    for processor in (make_tgdi_processor(), make_processor()):
        batch = PostCollator(processor)([row])
        assert batch["labels"].tolist() == [3]
        assert set(batch) == {*processor.model_input_names, "labels"}
        assert ("city" in tokens(processor, batch["input_ids"][0])) == isinstance(processor, TGDIProcessor)


@pytest.mark.parametrize("caption", [5, float("nan"), ["a tennis player"], {"a": 1}, False, []])
def test_a_caption_that_is_no_text_is_named(make_tgdi_processor, caption):
    with pytest.raises(ValueError, match="`caption` must be a text or None"):
        make_tgdi_processor()(text="nadal weds perello", head=(0, 5), tail=(11, 18), caption=caption)
    with pytest.raises(ValueError, match="Post 1 of the batch: `caption`"):
        make_tgdi_processor()(
            text=["nadal weds perello"] * 2, head=[(0, 5)] * 2, tail=[(11, 18)] * 2, caption=["a man", caption]
        )
