"""The special of TGDI's processor: the whole picture, then its objects cut out."""

import pytest
import torch
from PIL import Image
from transformers import CLIPImageProcessorPil

from mmre.processing import TGDIProcessor

TEXT, HEAD, TAIL = "rt @ rafael nadal weds mery", (5, 17), (23, 27)
SIZE = 32


@pytest.fixture
def make_tgdi_processor(make_tokenizer):
    def make(tokenizer=None, **arguments) -> TGDIProcessor:
        image_processor = CLIPImageProcessorPil(size={"shortest_edge": SIZE}, crop_size={"height": SIZE, "width": SIZE})
        return TGDIProcessor(image_processor, tokenizer or make_tokenizer(), **arguments)

    return make


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


def test_what_it_returns(make_tgdi_processor, picture):
    inputs = make_tgdi_processor()(TEXT, picture, HEAD, TAIL, caption="a city")
    assert list(inputs) == [
        *("input_ids", "attention_mask", "text_mask", "entity_positions", "pixel_values", "image_mask")
    ]


def test_the_slots_stay_without_regions_in_the_inputs(make_tgdi_processor, picture):
    processor = make_tgdi_processor(inputs=["text", "image"])
    inputs = processor(TEXT, picture, HEAD, TAIL, grounded_regions=[[0, 0, 1, 0.5]], caption="a city")
    assert inputs["image_mask"].tolist() == [[True, False, False, False]]
    assert inputs["pixel_values"].shape == (1, 4, 3, SIZE, SIZE)
    assert "text_mask" not in inputs
    with pytest.raises(ValueError, match="'regions' need the 'image'"):
        make_tgdi_processor(inputs=["text", "regions"])
