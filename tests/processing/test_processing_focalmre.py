"""The special of FocalMRE's processor: regions framed in the picture, cut out of it, or neither."""

import itertools

import numpy as np
import pytest
import torch
from PIL import Image

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


@pytest.mark.parametrize("if_none", [True, False])
@pytest.mark.parametrize("mode", ["augmented", "cropped", "original"])
def test_without_regions_in_the_inputs_boxes_are_as_if_there_were_none(make_processor, picture, if_none, mode):
    arguments = {"input_mode": mode, "original_if_no_region": if_none}
    processor = make_processor(inputs=["text", "image"], **arguments)
    inputs = processor(TEXT, picture, HEAD, TAIL, grounded_regions=BOXES[:2], detected_regions=BOXES[1:3])
    expected = make_processor(**arguments)(TEXT, picture, HEAD, TAIL)
    assert torch.equal(inputs["pixel_values"], expected["pixel_values"])
    assert torch.equal(inputs["image_mask"], expected["image_mask"])


def test_regions_need_the_image_that_they_are_framed_in(make_processor):
    with pytest.raises(ValueError, match="'regions' need the 'image'"):
        make_processor(inputs=["text", "regions"])


def test_what_it_returns(make_processor, picture):
    inputs = make_processor()(TEXT, picture, HEAD, TAIL, caption="a city")
    assert set(inputs) == {"input_ids", "attention_mask", "entity_positions", "pixel_values", "image_mask"}
    inputs = make_processor(inputs=["text"])(TEXT, picture, HEAD, TAIL)
    assert set(inputs) == {"input_ids", "attention_mask", "entity_positions"}
