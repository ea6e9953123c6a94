"""Tests of pictures that are scaled with a rectangle drawn on them, against drawing and scaling the whole picture."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from mmre.processing.scaled_picture import ScaledPicture

RED = (255, 0, 0)
FILTERS = [None, *Image.Resampling]


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    """Return a picture of which every pixel is another."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def drawn_and_scaled(image: Image.Image, corners: tuple, width: int, size: tuple[int, int], resample) -> np.ndarray:
    """Draw on the full-size picture and scale all of it."""
    drawn = image.copy()
    ImageDraw.Draw(drawn).rectangle(corners, outline=RED, width=width)
    return np.asarray(drawn.resize(size, resample))


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_every_pixel_is_that_of_drawing_and_scaling(data):
    width, height = (data.draw(st.integers(1, 120)) for _ in range(2))
    size = tuple(data.draw(st.integers(1, 60)) for _ in range(2))
    resample = data.draw(st.sampled_from(FILTERS))
    image = noise(width, height, data.draw(st.integers(0, 9)))
    scaled = ScaledPicture(image, size, resample)
    for _ in range(3):
        left, right = sorted(data.draw(st.floats(0, width)) for _ in range(2))
        top, bottom = sorted(data.draw(st.floats(0, height)) for _ in range(2))
        outline = data.draw(st.integers(1, 5))
        shown = np.asarray(scaled.outlined((left, top, right, bottom), RED, outline))
        expected = drawn_and_scaled(image, (left, top, right, bottom), outline, size, resample)
        assert np.array_equal(shown, expected)


@pytest.mark.parametrize("resample", FILTERS)
@pytest.mark.parametrize("size", [(800, 600), (600, 800), (1200, 675), (150, 100), (2, 900), (900, 2), (3, 900)])
def test_pictures_of_posts(size, resample):
    image = noise(*size)
    scaled = ScaledPicture(image, (224, 224), resample)
    for box in [(0.1, 0.2, 0.4, 0.9), (0.0, 0.0, 1.0, 1.0), (0.5, 0.5, 0.505, 0.9), (0.3, 0.7, 0.8, 0.703)]:
        corners = tuple(fraction * side for fraction, side in zip(box, size * 2))
        shown = np.asarray(scaled.outlined(corners, RED, 3))
        assert np.array_equal(shown, drawn_and_scaled(image, corners, 3, (224, 224), resample))


def test_a_rectangle_leaves_no_trace_for_the_next():
    image = noise(80, 60)
    scaled = ScaledPicture(image, (32, 32), Image.Resampling.BICUBIC)
    before = np.asarray(scaled.outlined((5, 5, 30, 30), RED, 3))
    scaled.outlined((0, 0, 79, 59), (0, 0, 255), 3)
    assert np.array_equal(scaled.outlined((5, 5, 30, 30), RED, 3), before)
    assert np.array_equal(image, noise(80, 60))
