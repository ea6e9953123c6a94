"""The special of the processor of text with pictures: its slots, their boxes, and the spans of entities."""

import pytest
import torch
from PIL import Image
from transformers import CLIPImageProcessorPil

from mmre.processing import MultimodalProcessor

SIZE = 32
TEXT, HEAD, TAIL = "rt @ rafael nadal weds mery", (5, 17), (23, 27)
GROUNDED = [[0, 0, 0.5, 0.5], [0.25, 0.25, 1, 1], [0, 0, 1, 0.1]]
DETECTED = [[0.5, 0, 1, 0.5], [0, 0.5, 0.25, 1]]
CROPS = {  # pixels of `picture`, 80 x 60
    "whole": (0, 0, 80, 60),
    "grounded": [(0, 0, 40, 30), (20, 15, 80, 60), (0, 0, 80, 6)],
    "detected": [(40, 0, 80, 30), (0, 30, 20, 60)],
}


@pytest.fixture
def make_multimodal_processor(make_tokenizer):
    def make(**arguments) -> MultimodalProcessor:
        image_processor = CLIPImageProcessorPil(size={"shortest_edge": SIZE}, crop_size={"height": SIZE, "width": SIZE})
        return MultimodalProcessor(image_processor, make_tokenizer(), **arguments)

    return make


@pytest.mark.parametrize("has_image", [True, False])
@pytest.mark.parametrize("has_regions", [True, False])
@pytest.mark.parametrize("num_grounded", [0, 1, 3])
@pytest.mark.parametrize("num_detected", [0, 1, 2])
@pytest.mark.parametrize("slots", [(4, 3), (2, 1), (0, 2), (2, 0)])
def test_the_whole_image_then_grounded_then_detected_regions(
    make_multimodal_processor, picture, has_image, has_regions, num_grounded, num_detected, slots
):
    if not (has_image or has_regions):
        return
    inputs = ["text", *["image"] * has_image, *["regions"] * has_regions, "boxes"]
    processor = make_multimodal_processor(
        num_grounded_regions=slots[0], num_detected_regions=slots[1], inputs=inputs, resize="squash"
    )
    regions = {"grounded_regions": GROUNDED[:num_grounded], "detected_regions": DETECTED[:num_detected]}
    result = processor(TEXT, picture, HEAD, TAIL, **regions)

    expected = [(CROPS["whole"], [0, 0, 1, 1])] if has_image else []
    if has_regions:
        for name, size in zip(("grounded", "detected"), slots):
            found = list(zip(CROPS[name], regions[f"{name}_regions"]))[:size]
            expected += found + [None] * (size - len(found))
    assert result["image_mask"].tolist() == [[slot is not None for slot in expected]]
    assert result["pixel_values"].shape == (1, len(expected), 3, SIZE, SIZE)
    assert result["boxes"].shape == (1, len(expected), 4)
    for slot, pixels, box in zip(expected, result["pixel_values"][0], result["boxes"][0]):
        if slot is None:
            assert not pixels.any() and not box.any()
        else:
            crop = picture.crop(slot[0]).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
            shown = processor.image_processor([crop], do_resize=False, do_center_crop=False, return_tensors="pt")
            assert torch.equal(pixels, shown["pixel_values"][0])
            assert torch.equal(box, torch.tensor(slot[1], dtype=torch.float32))


def test_a_post_without_a_picture_has_empty_slots(make_multimodal_processor):
    inputs = make_multimodal_processor()(TEXT, None, HEAD, TAIL)
    assert inputs["pixel_values"].shape == (1, 8, 3, SIZE, SIZE)
    for name in ("pixel_values", "image_mask", "boxes"):
        assert not inputs[name].any()


def test_boxes_are_of_pictures(make_multimodal_processor):
    with pytest.raises(ValueError, match="'boxes' are of pictures, so 'image' or 'regions' is needed"):
        make_multimodal_processor(inputs=["text", "boxes"])


@pytest.mark.parametrize(
    ("head", "tail", "marked"),
    [
        ((5, 17), (23, 27), "[CLS] rt @ [E1] rafael nadal [/E1] weds [E2] mery [/E2] [SEP]"),
        ((23, 27), (5, 11), "[CLS] rt @ [E2] rafael [/E2] nadal weds [E1] mery [/E1] [SEP]"),
        ((5, 17), (12, 17), "[CLS] rt @ [E1] rafael [E2] nadal [/E2] [/E1] weds mery [SEP]"),
        ((5, 17), (12, 22), "[CLS] rt @ [E1] rafael [E2] nadal [/E1] weds [/E2] mery [SEP]"),
    ],
)
def test_the_span_of_an_entity_goes_from_its_opening_to_its_closing_marker(
    make_multimodal_processor, head, tail, marked
):
    processor = make_multimodal_processor()
    inputs = processor(TEXT, None, head, tail)
    tokens = processor.tokenizer.convert_ids_to_tokens(inputs["input_ids"][0])
    assert tokens == marked.split()
    assert inputs["entity_spans"].shape == (1, 2, 2)
    for (start, end), (opens, closes) in zip(inputs["entity_spans"][0], (("[E1]", "[/E1]"), ("[E2]", "[/E2]"))):
        assert (tokens[start], tokens[end - 1]) == (opens, closes)
    assert torch.equal(inputs["entity_spans"][:, :, 0], inputs["entity_positions"])


@pytest.mark.parametrize("max_length", range(8, 20))
def test_truncated_entities_keep_their_spans(make_multimodal_processor, max_length):
    processor = make_multimodal_processor(max_length=max_length)
    inputs = processor("of " * 9 + TEXT, None, (32, 44), (50, 54), caption="a city")
    tokens = processor.tokenizer.convert_ids_to_tokens(inputs["input_ids"][0])
    (head, tail) = inputs["entity_spans"][0].tolist()
    assert tokens[slice(*tail)] == ["[E2]", "mery", "[/E2]"]
    assert tokens[slice(*head)] in (["[E1]", "rafael", "[/E1]"], ["[E1]", "rafael", "nadal", "[/E1]"])
