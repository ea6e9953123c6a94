"""Pictures are read within limits: of formats, of pixels, of memory; and always the same way."""

import io
import os

import numpy as np
import pytest
import torch
from PIL import Image

from mmre.posts.image_checks import check_images
from mmre.processing import picture_files as module
from mmre.processing.picture_cache import PictureCache
from mmre.processing.picture_files import check_image, load_image

POST = {"text": "rafael nadal and mery", "head": (0, 12), "tail": (17, 21)}


def encode(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def test_the_limit_of_pixels_is_an_argument(make_processor, tmp_path):
    picture = Image.new("RGB", (11, 10), "red")
    picture.save(tmp_path / "a.png")
    for image in (picture, np.asarray(picture), str(tmp_path / "a.png"), encode(picture, "WEBP")):
        with pytest.raises(ValueError, match="is too large: 11 x 10, more than 109 pixels"):
            load_image(image, max_pixels=109)
        assert load_image(image, max_pixels=110).size == (11, 10)
        with pytest.raises(ValueError, match="more than 109 pixels"):
            make_processor(max_image_pixels=109)(**POST, images=image)
    with pytest.raises(ValueError, match="`max_image_pixels` must be a whole number, 1 or more, got 0"):
        make_processor(max_image_pixels=0)


@pytest.mark.parametrize("name", ["a.eps", "a.png", "a.jpg"])
def test_a_format_that_other_programs_would_read_is_refused_whatever_the_name(tmp_path, name):
    (tmp_path / name).write_bytes(encode(Image.new("RGB", (8, 6)), "EPS"))
    assert Image.open(tmp_path / name).format == "EPS"  # PIL would
    for read in (load_image, check_image):
        with pytest.raises(ValueError, match="cannot identify image file"):
            read(tmp_path / name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_what_is_no_regular_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")  # to open it would wait for a writer
    for path in (tmp_path / "pipe.png", "/dev/zero", tmp_path):
        with pytest.raises(ValueError, match="it is no regular file"):
            load_image(path)


def test_the_photographs_of_phones_have_a_hint(tmp_path):
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(20))
    for image in (tmp_path / "a.heic", (tmp_path / "a.heic").read_bytes()):
        with pytest.raises(ValueError, match="it is HEIC; pip install pillow-heif"):
            load_image(image)


REFUSED = {
    "floats": encode(Image.new("F", (4, 4), 0.5), "TIFF"),
    "negative": encode(Image.fromarray(np.full((4, 4), -1, np.int32)), "TIFF"),
    "too large numbers": encode(Image.fromarray(np.full((4, 4), 70_000, np.int32)), "TIFF"),
    "cut": encode(Image.effect_noise((40, 40), 99), "PNG")[:300],
    "no picture": b"<html>",
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_check_of_a_data_set_refuses_what_a_processor_refuses(make_processor, name, tmp_path):
    (tmp_path / "a.tif").write_bytes(REFUSED[name])
    with pytest.raises(ValueError, match="cannot be read"):
        make_processor()(**POST, images=tmp_path / "a.tif")
    (reason,) = check_images([{"bytes": REFUSED[name], "path": None}])
    assert reason and check_images([str(tmp_path / "a.tif")])[0]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_the_check_passes_what_a_processor_reads(kind):
    good = encode(Image.effect_noise((20, 16), 50), kind)
    assert check_images([{"bytes": good, "path": None}]) == [None] and load_image(good).size == (20, 16)


def test_all_numbers_of_sixteen_bits_become_the_nearest_of_eight():
    values = np.arange(65536, dtype=np.uint16).reshape(512, 128)
    found = np.asarray(load_image(encode(Image.fromarray(values), "PNG")))
    assert (found == (values / 257).round().astype(np.uint8)[..., None]).all()


@pytest.fixture
def small_is_large(monkeypatch):
    monkeypatch.setattr(module, "LARGE_PIXELS", 300)


@pytest.mark.parametrize("kind, options", [("PNG", {}), ("JPEG", {"quality": 95}), ("WEBP", {"lossless": True})])
def test_a_large_picture_becomes_smaller_by_a_whole_factor_and_stays_what_it_shows(small_is_large, kind, options):
    left = Image.new("RGB", (40, 30), "red")
    left.paste("blue", (20, 0, 40, 30))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    found = load_image(encode(left, kind, exif=exif, **options))
    assert found.width * found.height <= 300 and found.height > found.width  # turned
    corners = [found.getpixel(place) for place in ((found.width // 2, 1), (found.width // 2, found.height - 2))]
    assert np.abs(np.array(corners) - [[255, 0, 0], [0, 0, 255]]).max() <= 12
    # A picture of the caller's is reduced likewise, and left as it is.
    assert load_image(left).size == (13, 10) or load_image(left).size == (20, 15)
    assert left.size == (40, 30)


def test_the_colour_of_what_is_transparent_does_not_bleed(small_is_large):
    picture = Image.new("RGBA", (40, 40), (0, 255, 0, 0))  # green that nobody sees
    picture.paste((255, 0, 0, 255), (0, 0, 40, 19))
    found = np.asarray(load_image(encode(picture, "PNG"))).astype(int)
    assert (found[..., 1] <= found[..., 0]).all()  # red to white, never green
    assert (found[-1] == 255).all() and (found[0] == [255, 0, 0]).all()


@pytest.mark.parametrize("mode", ["L", "P", "1", "RGB", "RGBA", "LA", "CMYK", "I;16"])
def test_every_mode_can_be_reduced(small_is_large, mode):
    image = Image.effect_noise((40, 30), 60)
    image = Image.fromarray(np.asarray(image).astype(np.uint16) * 257) if mode == "I;16" else image.convert(mode)
    found = load_image(image)
    assert found.mode == "RGB" and found.width * found.height <= 300
    assert (
        abs(np.asarray(found).mean() - np.asarray(load_image(image.convert("L") if mode != "I;16" else image)).mean())
        < 60
    )


def test_an_ordinary_picture_is_not_touched():
    picture = Image.effect_noise((64, 48), 80).convert("RGB")
    assert (np.asarray(load_image(encode(picture, "PNG"))) == np.asarray(picture)).all()
    jpeg = encode(picture, "JPEG")
    assert (np.asarray(load_image(jpeg)) == np.asarray(Image.open(io.BytesIO(jpeg)))).all()


def detailed(width: int, height: int) -> Image.Image:
    """Return a picture of smooth noise, which changes wherever it is scaled in another way."""
    coarse = np.random.default_rng(0).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


@pytest.mark.parametrize(
    ("least_side", "size"), [(100, (200, 150)), (75, (100, 75)), (301, (800, 600)), (1, (100, 75))]
)
def test_a_jpeg_is_decoded_at_a_fraction_of_its_size_as_far_as_its_sides_stay_long_enough(least_side, size, tmp_path):
    picture = detailed(800, 600)
    jpeg = encode(picture, "JPEG", quality=95)
    (tmp_path / "a.jpg").write_bytes(jpeg)
    for image in (jpeg, str(tmp_path / "a.jpg"), {"bytes": jpeg, "path": None}):
        assert load_image(image, least_side=least_side).size == size
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    turned = load_image(encode(picture, "JPEG", exif=exif, quality=95), least_side=least_side)
    assert turned.size == size[::-1]
    near = np.asarray(picture.resize(size, Image.Resampling.BOX), dtype=float)
    assert np.abs(np.asarray(load_image(jpeg, least_side=least_side), dtype=float) - near).mean() < 4
    for image in (encode(picture, "PNG"), picture, np.asarray(picture)):  # no decoder of a JPEG, no other pixels
        assert load_image(image, least_side=least_side).tobytes() == picture.tobytes()


def test_a_processor_scales_jpegs_down_if_told_to_and_a_cache_tells_both_apart(make_processor, tmp_path):
    jpeg = encode(detailed(800, 600), "JPEG", quality=95)
    whole, drafted = make_processor(), make_processor(jpeg_draft=True)
    least_side = 2 * whole(**POST, images=jpeg)["pixel_values"].shape[-1]
    expected = [
        whole(**POST, images=load_image(jpeg, least_side=least))["pixel_values"] for least in (None, least_side)
    ]
    assert not torch.equal(*expected)
    for cache in (None, PictureCache(tmp_path), PictureCache(tmp_path)):
        for processor, pixel_values in zip((whole, drafted), expected):
            processor.picture_cache = cache
            assert torch.equal(processor(**POST, images=jpeg)["pixel_values"], pixel_values)
