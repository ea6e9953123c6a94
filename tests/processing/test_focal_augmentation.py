"""Focal augmentation: hostile pictures and boxes, and frames that stand where they should, to the pixel."""

import io
import itertools
import os
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from transformers import CLIPImageProcessorPil

from mmre.processing.focal_augmentation import BOX_TOLERANCE, check_boxes, drawn_edges
from mmre.processing.picture_cache import PictureCache
from mmre.processing.picture_files import load_image

RED, BLUE = (255, 0, 0), (0, 0, 255)
SIZE = 32  # of the model's pictures
POST = {"text": "rafael nadal weds mery", "head": (0, 12), "tail": (18, 22)}
PROPERTY = settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def pixels(image: Image.Image) -> np.ndarray:
    assert image.mode == "RGB"
    return np.asarray(image).astype(int)


def encode(image: Image.Image, file_format: str = "PNG", **arguments) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format, **arguments)
    return file.getvalue()


def as_path_bytes_and_image(tmp_path: Path, data: bytes) -> list:
    """The same file in all the ways in which a picture can be given."""
    path = tmp_path / "picture.jpg"
    path.write_bytes(data)
    return [path, str(path), data, Image.open(path), Image.open(io.BytesIO(data))]


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def make_processor(make_processor):
    """With the image processor that scales by PIL, whatever is installed: the others differ in the last bits."""

    def make(size: int = SIZE, **arguments):
        processor = make_processor(size=size, **arguments)
        processor.image_processor = _clip_image_processor("center_crop", size)
        return processor

    return make


@pytest.fixture
def check_all(tmp_path, make_processor):
    """Check what the processor shows of a file, given as a path, as bytes and as an image, in every input mode."""

    def check(data: bytes, expected: np.ndarray, tolerance: int = 0):
        for image in as_path_bytes_and_image(tmp_path, data):
            assert np.abs(pixels(load_image(image)) - expected.astype(int)).max() <= tolerance
        size = expected.shape[0]
        assert expected.shape == (size, size, 3)
        processor = make_processor(size=size)  # nothing is scaled
        for image in as_path_bytes_and_image(tmp_path, data):
            (shown,), _ = processor.focal_images(image)
            assert np.abs(pixels(shown) - expected.astype(int)).max() <= tolerance

    return check


# Kinds of pictures


def test_grayscale(check_all):
    gray = noise(20, 20)
    check_all(encode(Image.fromarray(gray)), np.stack([gray] * 3, axis=-1))


def test_one_bit(check_all):
    black_and_white = noise(20, 20) > 127
    gray = black_and_white.astype(np.uint8) * 255
    check_all(encode(Image.fromarray(black_and_white)), np.stack([gray] * 3, axis=-1))


def test_palette(check_all):
    colors, index = noise(256, 3), noise(20, 20)
    image = Image.fromarray(index)
    image.putpalette(colors.tobytes())
    assert image.mode == "P"
    check_all(encode(image), colors[index])


def test_transparent_color_of_a_palette_is_white(check_all):
    colors, index = noise(256, 3), noise(20, 20)
    image = Image.fromarray(index)
    image.putpalette(colors.tobytes())
    expected = colors[index]
    expected[index == index[3, 4]] = 255
    check_all(encode(image, transparency=int(index[3, 4])), expected)


def test_transparent_color_of_a_grayscale_picture_is_white(check_all):
    gray = noise(20, 20)
    expected = np.stack([gray] * 3, axis=-1)
    expected[gray == gray[3, 4]] = 255
    check_all(encode(Image.fromarray(gray), transparency=int(gray[3, 4])), expected)


def test_transparent_color_is_white(check_all):
    colors = noise(20, 20, 3)
    expected = colors.copy()
    expected[3, 4] = 255
    check_all(encode(Image.fromarray(colors), transparency=tuple(colors[3, 4].tolist())), expected)


@pytest.mark.parametrize("channels", [4, 2], ids=["RGBA", "LA"])
def test_transparency_shows_white(check_all, channels):
    values = noise(20, 20, channels)
    values[:4, :, -1], values[4:8, :, -1] = 0, 255
    alpha = values[..., -1:] / 255
    color = values[..., :-1] if channels == 4 else np.repeat(values[..., :1], 3, axis=-1)
    check_all(encode(Image.fromarray(values)), (alpha * color + (1 - alpha) * 255).round(), tolerance=1)


def test_cmyk(check_all):
    values = noise(20, 20, 4)
    ink, black = values[..., :3] / 255, values[..., 3:] / 255
    image = Image.frombytes("CMYK", (20, 20), values.tobytes())
    check_all(encode(image, "TIFF"), ((1 - ink) * (1 - black) * 255).round(), tolerance=2)


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_look_as_eight_bits(check_all, file_format):
    gray = noise(20, 20)
    image = Image.fromarray(gray.astype(np.uint16) * 257)
    assert image.mode == "I;16"
    check_all(encode(image, file_format), np.stack([gray] * 3, axis=-1))


def test_big_endian_sixteen_bits(check_all):
    gray = noise(20, 20)
    tags = [(256, 20), (257, 20), (258, 16), (259, 1), (262, 1), (273, 110), (277, 1), (278, 20), (279, 800)]
    header = b"MM\0*" + struct.pack(">IH", 8, len(tags))
    for tag, value in tags:
        header += struct.pack(">HHII", tag, 4, 1, value)
    data = (header + bytes(4)).ljust(122, b"\0") + (gray.astype(">u2") * 257).tobytes()
    check_all(data.replace(struct.pack(">HHII", 273, 4, 1, 110), struct.pack(">HHII", 273, 4, 1, 122)), _rgb(gray))


def test_eight_bits_stored_in_32_bits_do_not_turn_black():
    gray = noise(20, 20)
    assert (pixels(load_image(Image.fromarray(gray).convert("I"))) == _rgb(gray)).all()


def _rgb(gray: np.ndarray) -> np.ndarray:
    return np.stack([gray] * 3, axis=-1)


@pytest.mark.parametrize(
    "image",
    [
        Image.new("F", (4, 4), 0.5),
        Image.new("I", (4, 4), 65536),
        Image.new("I", (4, 4), -1),
        Image.new("La", (4, 4)),
        Image.new("RGB", (0, 4)),
    ],
    ids=["F", "more than 16 bits", "negative", "La", "no pixel"],
)
def test_a_picture_that_cannot_be_shown_is_refused(make_processor, image):
    with pytest.raises(ValueError, match="^The image <Image> cannot be read: "):
        make_processor()(**POST, images=image)


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "TIFF", "PNG"])
def test_the_first_frame_of_an_animation_is_shown(check_all, file_format):
    frames = [Image.new("RGB", (20, 20), color) for color in ("red", "lime", "blue")]
    arguments = {"lossless": True} if file_format == "WEBP" else {}
    data = encode(frames[0], file_format, save_all=True, append_images=frames[1:], **arguments)
    assert Image.open(io.BytesIO(data)).n_frames == 3
    check_all(data, np.full((20, 20, 3), RED))


def test_an_open_animation_shows_the_frame_it_stands_at():
    colors = ("red", "lime", "blue")
    frames = [Image.new("RGB", (20, 20), color) for color in colors]
    animation = Image.open(io.BytesIO(encode(frames[0], "GIF", save_all=True, append_images=frames[1:])))
    for position, color in enumerate([(255, 0, 0), (0, 255, 0), (0, 0, 255)]):
        animation.seek(position)
        assert (pixels(load_image(animation)) == color).all()
        assert animation.tell() == position


# How a camera stores an upright picture, by EXIF orientation.
STORED = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.transpose(1, 0, 2),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: upright[::-1, ::-1].transpose(1, 0, 2),
    8: lambda upright: np.rot90(upright, -1),
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_a_rotated_photo_is_shown_upright(tmp_path, orientation, mode):
    upright = noise(12, 20, 3)
    if mode != "RGB":
        upright = _rgb(upright[..., 0])
    image = Image.fromarray(np.ascontiguousarray(STORED[orientation](upright))).convert(mode)
    exif = Image.Exif()
    exif[0x0112] = orientation
    for given_as in as_path_bytes_and_image(tmp_path, encode(image, exif=exif)):
        assert (pixels(load_image(given_as)) == upright).all()


def test_a_rotated_jpeg_is_framed_upright(make_processor):
    upright = np.zeros((40, 80, 3), np.uint8)
    upright[:, 40:] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(Image.fromarray(np.rot90(upright, 1).copy()), "JPEG", quality=100, exif=exif)
    (framed,), _ = make_processor(resize="squash").focal_images(data, [[0.5, 0.0, 1.0, 1.0]])
    shown = pixels(framed)
    assert (shown[16, :14] < 60).all()
    assert (shown[16, 20:28] > 200).all()
    assert (shown[16, 16:19] == RED).all()


@pytest.mark.parametrize("size", [(1, 1), (8000, 10), (10, 8000), (3, 1000), (5, 4)])
@pytest.mark.parametrize("resize", ["squash", "center_crop"])
@pytest.mark.parametrize("draw_at", ["model", "source"])
def test_extreme_shapes(make_processor, size, resize, draw_at):
    width, height = size
    processor = make_processor(resize=resize, draw_at=draw_at, num_detected_regions=1)
    image = Image.fromarray(noise(height, width, 3))
    released = (0.625, 0.625, 0.75, 0.75)
    box = [0.25, 0.25, 1.0, 1.0]
    inputs = processor(**POST, images=image, grounded_regions=[box])
    assert inputs["pixel_values"].shape == (1, 5, 3, SIZE, SIZE)
    reference = _clip_image_processor(resize)
    assert torch.equal(inputs["pixel_values"][0, 4], reference(image, return_tensors="pt")["pixel_values"][0])
    (framed,), _ = processor.focal_images(image, [box])
    if draw_at == "source":
        assert (pixels(framed) == pixels(_fit(_drawn_by_the_official_code(image, released, RED), resize))).all()
    elif resize == "squash" or size == (1, 1):
        assert _changed(image, framed, resize) <= _frame(8, 8, 32, 32)
    for mode in ("cropped", "original"):
        assert make_processor(resize=resize, input_mode=mode).focal_images(image, [box])[0][0].size == (SIZE, SIZE)


def test_a_picture_too_narrow_to_be_scaled_is_refused(make_processor):
    image = Image.new("RGB", (1, 100_000))
    with pytest.raises(ValueError, match="1 x 100000 pixels is too narrow .* Use resize='squash'"):
        make_processor(resize="center_crop")(**POST, images=image)
    make_processor(resize="squash")(**POST, images=image)


# Files that are broken


def png_of(width: int, height: int) -> bytes:
    """A few bytes that claim to be a picture of that size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


def truncated(file_format: str) -> bytes:
    data = encode(Image.fromarray(noise(100, 100, 3)), file_format)
    return data[: len(data) // 2]


BROKEN = {
    "truncated JPEG": truncated("JPEG"),
    "truncated PNG": truncated("PNG"),
    "truncated BMP": truncated("BMP"),
    "truncated WEBP": truncated("WEBP"),
    "truncated TIFF": truncated("TIFF"),
    "text": b"this is not a picture\n",
    "page": b"<!DOCTYPE html><title>404</title>",
    "empty": b"",
    "pixels missing": png_of(100, 100),
    "bomb": png_of(30_000, 30_000),
    "small bomb": png_of(10_000, 10_000),  # PIL would only warn
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_refused(tmp_path, make_processor, data):
    processor = make_processor()
    path = tmp_path / "photo.jpg"
    path.write_bytes(data)
    for image in (path, str(path)):
        with pytest.raises(ValueError, match=r"The image .*photo\.jpg'\)? (cannot be read|is too large)"):
            processor(**POST, images=image)
    with pytest.raises(ValueError, match="The image <bytes> (cannot be read|is too large)"):
        processor(**POST, images=data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(path)
    except (OSError, Image.DecompressionBombError):
        return  # the caller's own error
    with pytest.raises(ValueError, match=r"The image .*photo\.jpg (cannot be read|is too large)"):
        processor(**POST, images=image)


def test_large_pictures_in_memory_are_refused(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    for image in (Image.new("RGB", (10, 11)), np.zeros((10, 11, 3), np.uint8)):
        with pytest.raises(ValueError, match="is too large: 1. x 1., more than 100 pixels"):
            load_image(image)
    assert load_image(Image.new("RGB", (10, 10))).size == (10, 10)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert load_image(Image.new("RGB", (10, 11))).size == (10, 11)


@pytest.mark.parametrize("path", ["no/such/photo.jpg", Path("no_such_photo.jpg"), "", "https://example.org/a.jpg"])
def test_a_missing_file_is_named(make_processor, path):
    with pytest.raises(FileNotFoundError) as error:
        make_processor()(**POST, images=path)
    assert str(path) in str(error.value)


def test_a_folder_is_no_picture(tmp_path, make_processor):
    with pytest.raises(ValueError, match="The image .* cannot be read"):
        make_processor()(**POST, images=tmp_path)


def _valid_files() -> list[bytes]:
    colors, gray = Image.fromarray(noise(9, 8, 3)), Image.fromarray(noise(9, 8))
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "a photo"
    animation = {"save_all": True, "append_images": [gray]}
    return [
        encode(colors, "JPEG", exif=exif),
        encode(colors, "PNG", exif=exif),
        encode(gray, "PNG", transparency=3),
        encode(colors.quantize(), "GIF", **animation),
        encode(colors, "TIFF", compression="tiff_lzw", exif=exif),
        encode(colors, "WEBP", exif=exif),
        encode(colors.convert("CMYK"), "JPEG"),
        *(encode(colors, file_format) for file_format in ("BMP", "PPM", "TGA", "PCX", "ICO", "SGI", "JPEG2000")),
    ]


@settings(PROPERTY, max_examples=400)
@given(data=st.data(), file=st.sampled_from(_valid_files()))
def test_damaged_files_are_shown_or_refused_with_a_clear_error(data, file):
    damaged = bytearray(file)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, min(len(file), 400) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        damaged = damaged[: data.draw(st.integers(0, len(damaged)))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = load_image(bytes(damaged))
        except ValueError as error:
            assert str(error).startswith("The image <bytes> ")
        else:
            assert image.mode == "RGB"
            image.load()


# What the caller holds


def _state(image: Image.Image) -> tuple:
    palette = image.palette and image.palette.tobytes()
    return image.mode, image.size, image.tell(), image.tobytes(), palette, dict(image.info), dict(image.getexif())


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "RGBA", "LA", "CMYK", "I;16", "YCbCr"])
@pytest.mark.parametrize("arguments", [{}, {"draw_at": "source", "resize": "center_crop"}, {"input_mode": "cropped"}])
def test_an_image_of_the_caller_is_not_changed(make_processor, mode, arguments):
    color = Image.fromarray(noise(SIZE, SIZE, 3))
    image = color.quantize() if mode == "P" else (color.convert("L") if mode == "I;16" else color).convert(mode)
    image.info["transparency"] = 3 if mode in ("P", "L") else image.info.get("transparency")
    if image.info["transparency"] is None:
        del image.info["transparency"]
    exif = image.getexif()
    exif[0x0112] = 6
    image.info["exif"] = exif.tobytes()
    before = _state(image)
    processor = make_processor(**arguments)
    boxes = [[0.1, 0.1, 0.9, 0.9], [0.2, 0.3, 0.8, 0.6]]
    first = processor(**POST, images=image, grounded_regions=boxes, detected_regions=boxes)
    assert _state(image) == before
    assert torch.equal(
        processor(**POST, images=image, grounded_regions=boxes, detected_regions=boxes)["pixel_values"],
        first["pixel_values"],
    )


def test_what_is_returned_is_no_view_of_what_the_caller_holds():
    for image in (Image.fromarray(noise(8, 8, 3)), noise(8, 8, 3), noise(8, 8)):
        before = np.array(image)
        load_image(image).paste("red", (0, 0, 8, 8))
        assert (np.array(image) == before).all()


@pytest.mark.parametrize("shape", [(20, 20, 3), (20, 20), (20, 20, 1)])
def test_arrays(make_processor, shape):
    array = noise(*shape)
    expected = np.broadcast_to(array if array.ndim == 3 else array[..., None], (20, 20, 3))
    (shown,), _ = make_processor(size=20).focal_images(array)
    assert (pixels(shown) == expected).all()


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4, 3), np.int64),
        np.zeros((4, 4), bool),
        np.zeros((3, 40, 40), np.uint8),
        np.zeros((4, 4, 5), np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
        np.zeros(4, np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.uint8(7),
        5,
        [],
        [None, None],
        {"url": "photo.jpg"},
        object(),
        torch.zeros(3, 4, 4),
        io.BytesIO(b""),
    ],
    ids=lambda image: f"{type(image).__name__} {getattr(image, 'shape', '')}",
)
def test_what_is_no_picture_is_refused(make_processor, image):
    with pytest.raises(ValueError, match="^An image (array )?must be "):
        make_processor()(**POST, images=image)


# Boxes

BAD_BOXES = {
    "NaN first": [float("nan"), 0.1, 0.5, 0.5],
    "NaN second": [0.1, float("nan"), 0.5, 0.5],
    "NaN third": [0.1, 0.1, float("nan"), 0.5],
    "NaN fourth": [0.1, 0.1, 0.5, float("nan")],
    "infinite": [0.1, 0.1, float("inf"), 0.5],
    "minus infinite": [-float("inf"), 0.1, 0.5, 0.5],
    "left of the image": [-0.1, 0.1, 0.5, 0.5],
    "below the image": [0.1, 0.1, 0.5, 1.1],
    "a little outside": [0.1, 0.1, 1.00001, 0.5],
    "pixels": [10, 20, 200, 300],
    "inverted": [0.5, 0.1, 0.1, 0.5],
    "upside down": [0.1, 0.5, 0.5, 0.1],
    "no width": [0.5, 0.1, 0.5, 0.5],
    "no height": [0.1, 0.5, 0.5, 0.5],
    "no width when clipped": [1 + 2e-7, 0.1, 1 + 8e-7, 0.5],
    "three numbers": [0.1, 0.1, 0.5],
    "five numbers": [0.1, 0.1, 0.5, 0.5, 0.16],
    "strings": ["0.1", "0.1", "0.5", "0.5"],
    "words": ["a", "b", "c", "d"],
    "a string": "0.1 0.1 0.5 0.5",
    "four letters": "abcd",
    "None": None,
    "None inside": [None, 0.1, 0.5, 0.5],
    "a list inside": [[0.1], 0.1, 0.5, 0.5],
    "a list of boxes": [[0.1, 0.1, 0.5, 0.5]],
    "a dictionary": {"xmin": 0.1, "ymin": 0.1, "xmax": 0.5, "ymax": 0.5},
    "huge": [0, 0, 10**400, 1],
    "a number": 0.5,
    "empty": [],
    "array of NaN": np.full(4, np.nan),
    "tensor of boxes": torch.zeros(1, 4),
    "square tensor": torch.zeros(4, 4),
}


@pytest.mark.parametrize("name", ["grounded_regions", "detected_regions"])
@pytest.mark.parametrize("box", BAD_BOXES.values(), ids=BAD_BOXES)
def test_a_bad_box_is_refused_by_name(make_processor, picture, name, box):
    good = [0.1, 0.1, 0.5, 0.5]
    with pytest.raises(ValueError) as error:
        make_processor()(**POST, images=picture, **{name: [good, good, box, good]})
    assert str(error.value).startswith(f"`{name}[2]` must be [x_min, y_min, x_max, y_max]")
    assert repr(box) in str(error.value)


@pytest.mark.parametrize("boxes", [5, 0.5, object()])
def test_regions_must_be_a_list(make_processor, picture, boxes):
    with pytest.raises(ValueError, match="`grounded_regions` must be a list of boxes, got "):
        make_processor()(**POST, images=picture, grounded_regions=boxes)


def test_a_box_without_its_list_is_refused(make_processor, picture):
    with pytest.raises(ValueError, match=r"`grounded_regions\[0\]` .* got 0.1"):
        make_processor()(**POST, images=picture, grounded_regions=[0.1, 0.1, 0.5, 0.5])


@pytest.mark.parametrize("mode", ["augmented", "cropped", "original"])
def test_further_boxes_than_slots_are_checked_too(make_processor, picture, mode):
    boxes = [[0.1, 0.1, 0.5, 0.5]] * 5 + [[0.5, 0.1, 0.1, 0.5]]
    with pytest.raises(ValueError, match=r"`grounded_regions\[5\]`"):
        make_processor(input_mode=mode)(**POST, images=picture, grounded_regions=boxes)


def test_rounding_errors_are_cut_off():
    error = 0.9 * BOX_TOLERANCE
    assert check_boxes([[-error, 0.25, 0.5, 1 + error], [0, 0, 1, 1]], "boxes") == [[0, 0.25, 0.5, 1], [0, 0, 1, 1]]
    assert check_boxes([[0.1, 0.2, 0.3, 0.4]], "boxes") == [[0.1, 0.2, 0.3, 0.4]]
    assert check_boxes(None, "boxes") == check_boxes([], "boxes") == check_boxes(np.zeros((0, 4)), "boxes") == []


def test_arrays_and_tensors_of_boxes(make_processor, picture):
    boxes = [[0.125, 0.25, 0.5, 0.75], [0, 0, 1, 1]]
    processor = make_processor()
    expected = processor(**POST, images=picture, grounded_regions=boxes)["pixel_values"]
    array, tensor = np.array(boxes), torch.tensor(boxes)
    for given_as in (
        array,
        array.astype(np.float32),
        tensor,
        list(array),
        list(tensor),
        [[*row] for row in tensor],
        tuple(map(tuple, boxes)),
    ):
        inputs = processor(**POST, images=picture, grounded_regions=given_as)
        assert torch.equal(inputs["pixel_values"], expected)


@pytest.mark.parametrize("name", ["grounded_regions", "detected_regions"])
def test_boxes_need_an_image(make_processor, name):
    with pytest.raises(ValueError, match="no image"):
        make_processor()(**POST, **{name: [[0.1, 0.1, 0.5, 0.5]]})


# Frames


def _frame(left: int, top: int, right: int, bottom: int, width: int = SIZE, height: int = SIZE) -> set:
    """The pixels (x, y) of a frame 3 px wide inside of left <= x < right, top <= y < bottom."""
    return {
        (x, y)
        for x, y in itertools.product(range(left, right), range(top, bottom))
        if min(x - left, right - 1 - x, y - top, bottom - 1 - y) < 3 and 0 <= x < width and 0 <= y < height
    }


def _clip_image_processor(resize: str, size: int = SIZE):
    whole = {"height": size, "width": size}
    if resize == "squash":
        return CLIPImageProcessorPil(size=whole, do_center_crop=False)
    return CLIPImageProcessorPil(size={"shortest_edge": size}, crop_size=whole)


def _fit(image: Image.Image, resize: str, size: int = SIZE) -> Image.Image:
    """The picture at the model's resolution, by PIL."""
    if resize == "squash":
        return image.resize((size, size), Image.Resampling.BICUBIC)
    width, height = image.size
    if width < height:
        image = image.resize((size, int(size * height / width)), Image.Resampling.BICUBIC)
    else:
        image = image.resize((int(size * width / height), size), Image.Resampling.BICUBIC)
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return image.crop((left, top, left + size, top + size))


def _changed(image: Image.Image, framed: Image.Image, resize: str) -> set:
    """The pixels (x, y) that are not those of the picture without a frame."""
    differs = (pixels(framed) != pixels(_fit(image, resize))).any(axis=-1)
    return {(int(x), int(y)) for y, x in np.argwhere(differs)}


def _official_edges(box: tuple, width: int, height: int) -> list[float]:
    """The official arithmetic, on a box as it is released: centre, width and height in fractions of the picture."""
    x, y, w, h = box
    left, top = (x - w / 2) * width, (y - h / 2) * height
    return [left, top, left + w * width, top + h * height]


def _drawn_by_the_official_code(image: Image.Image, box: tuple, color: tuple) -> Image.Image:
    image = image.copy()
    ImageDraw.Draw(image).rectangle(_official_edges(box, *image.size), outline=color, width=3)
    return image


def _corners(box: tuple) -> list[float]:
    """The corners of a released box, as data sets of posts hold them."""
    x, y, w, h = box
    (corners,) = check_boxes([[x - w / 2, y - h / 2, x + w / 2, y + h / 2]], "boxes")
    return corners


def _gray(width: int, height: int) -> Image.Image:
    """A picture in which neither colour of a frame occurs."""
    return Image.fromarray(_rgb(noise(height, width) // 2 + 50))


pixel_range = st.tuples(st.integers(0, SIZE), st.integers(0, SIZE)).filter(lambda pair: pair[0] != pair[1]).map(sorted)


@PROPERTY
@given(columns=pixel_range, rows=pixel_range)
@example(columns=[0, SIZE], rows=[0, SIZE])
@example(columns=[SIZE - 1, SIZE], rows=[0, 1])
@example(columns=[5, 6], rows=[5, 6])
@example(columns=[5, 7], rows=[0, SIZE])
@example(columns=[0, 5], rows=[27, SIZE])
def test_the_frame_is_three_pixels_inside_the_box(make_processor, columns, rows):
    image = _gray(50, 41)
    box = [columns[0] / SIZE, rows[0] / SIZE, columns[1] / SIZE, rows[1] / SIZE]
    (grounded,), (detected,) = make_processor().focal_images(image, [box], [box])
    expected = _frame(columns[0], rows[0], columns[1], rows[1])
    for framed, color in ((grounded, RED), (detected, BLUE)):
        assert _changed(image, framed, "squash") == expected
        assert {framed.getpixel(pixel) for pixel in expected} == {color}


@PROPERTY
@given(data=st.data())
def test_the_frame_of_a_center_crop_is_cut_off_with_the_sides(make_processor, data):
    width, height, scaled = data.draw(st.sampled_from([(80, 60, (42, 32)), (60, 80, (32, 42)), (64, 32, (64, 32))]))
    columns, rows = (
        sorted(data.draw(st.lists(st.integers(0, length), min_size=2, max_size=2, unique=True))) for length in scaled
    )
    image = _gray(width, height)
    box = [columns[0] / scaled[0], rows[0] / scaled[1], columns[1] / scaled[0], rows[1] / scaled[1]]
    (framed,), _ = make_processor(resize="center_crop").focal_images(image, [box])
    left, top = ((length - SIZE) // 2 for length in scaled)
    expected = _frame(columns[0] - left, rows[0] - top, columns[1] - left, rows[1] - top)
    assert _changed(image, framed, "center_crop") == expected
    assert {framed.getpixel(pixel) for pixel in expected} <= {RED}


@PROPERTY
@given(
    box=st.tuples(*[st.floats(0, 1)] * 4).map(
        lambda box: [min(box[0], box[2]), min(box[1], box[3]), max(box[0], box[2]), max(box[1], box[3])]
    )
)
def test_a_frame_is_never_more_than_half_a_pixel_off(make_processor, box):
    if box[0] >= box[2] or box[1] >= box[3]:
        return
    image = _gray(50, 41)
    (framed,), _ = make_processor().focal_images(image, [box])
    changed = _changed(image, framed, "squash")
    for start, end, values in (
        (box[0], box[2], [x for x, _ in changed]),
        (box[1], box[3], [y for _, y in changed]),
    ):
        if (end - start) * SIZE < 1:  # a pixel at the least
            assert len(set(values)) == 1
            assert min(values) < end * SIZE
            assert start * SIZE < max(values) + 1
        else:
            assert abs(start * SIZE - min(values)) <= 0.5 + 1e-9
            assert abs(end * SIZE - (max(values) + 1)) <= 0.5 + 1e-9


@pytest.mark.parametrize("resize", ["squash", "center_crop"])
@pytest.mark.parametrize(("color", "group"), [(RED, 0), (BLUE, 1)])
def test_a_frame_at_the_source_is_three_pixels_of_the_source(make_processor, resize, color, group):
    image = _gray(SIZE, SIZE)  # not scaled
    for columns, rows in [((4, 20), (6, 30)), ((0, 32), (0, 32)), ((20, 32), (3, 12))]:
        box = [columns[0] / SIZE, rows[0] / SIZE, columns[1] / SIZE, rows[1] / SIZE]
        ((framed, *_),) = make_processor(resize=resize, draw_at="source", original_if_no_region=False).focal_images(
            image, *([[], [box]] if group else [[box], []])
        )[group : group + 1]
        # PIL's last column and row belong to the frame.
        expected = _frame(columns[0], rows[0], columns[1] + 1, rows[1] + 1)
        assert _changed(image, framed, resize) == expected
        assert {framed.getpixel(pixel) for pixel in expected} == {color}


@st.composite
def pictures_with_boxes(draw):
    """The size of a picture, and a box of whole pixels of it: centre, width and height in fractions, as released."""
    width, height = draw(st.tuples(st.integers(8, 120), st.integers(8, 120)))
    sides = []
    for length in (width, height):
        start, end = draw(st.tuples(st.integers(0, length), st.integers(0, length)).filter(lambda p: p[0] < p[1]))
        sides.append(((start + end) / 2 / length, (end - start) / length))
    (x, w), (y, h) = sides
    return (width, height), (x, y, w, h)


@PROPERTY
@given(case=pictures_with_boxes())
@example(case=((800, 600), (0.5, 0.55, 0.8, 0.9)))
@example(case=((600, 800), (0.5, 0.5, 1.0, 1.0)))
@example(case=((223, 225), (0.45, 0.45, 0.3, 0.3)))
@example(case=((32, 32), (0.45, 0.45, 0.3, 0.3)))
def test_the_official_pixels_are_reproduced(make_processor, case):
    size, released = case
    image, box = Image.fromarray(noise(size[1], size[0], 3)), _corners(released)
    processor = make_processor(draw_at="source", resize="center_crop")
    reference = _clip_image_processor("center_crop")
    found = processor(**POST, images=image, grounded_regions=[box], detected_regions=[box])["pixel_values"]
    for slot, color in ((0, RED), (4, BLUE)):
        framed = _drawn_by_the_official_code(image, released, color)
        assert torch.equal(found[0, slot], reference(framed, return_tensors="pt")["pixel_values"][0])


def test_each_released_box_is_framed_at_the_official_pixels(shared_mnre):
    boxes = {}
    for path in sorted((shared_mnre / "regions").glob("*_box_dict.pth")):
        content = torch.load(path, weights_only=True)
        boxes |= {(path.name, name): (x, y, w, h) for name, (x, y, w, h, _) in content.items()}
    assert len(boxes) == 67_363
    summed = 0
    for released in boxes.values():
        left, top, right, bottom = _corners(released)
        (x_min, x_max), (y_min, y_max) = drawn_edges(left, right, 800), drawn_edges(top, bottom, 600)
        official = [int(edge) for edge in _official_edges(released, 800, 600)]  # PIL cuts
        assert [int(edge) for edge in (x_min, y_min, x_max, y_max)] == official
        summed += [int(left * 800), int(top * 600), int(right * 800), int(bottom * 600)] != official
    assert summed == 13_117  # from the corners alone


def _released_boxes(shared_mnre: Path) -> dict[Path, tuple[list, list]]:
    """The real images with the boxes of their first post as they are released, grounded and detected ones."""

    def found(boxes: dict, prefix: str) -> list[tuple]:
        return [tuple(box[:4]) for name, box in boxes.items() if name.startswith(prefix)]

    released = {}
    paths = {path.name: path for path in shared_mnre.glob("img_org/*/*.jpg")}
    for split, alias in (("train", "train"), ("val ", "dev"), ("test", "test")):
        lines = (shared_mnre / "mnre_txt" / f"mnre_{split}.txt").read_text(encoding="utf-8").split("\n")
        files = [shared_mnre / "regions" / f"{alias}_{kind}_box_dict.pth" for kind in ("vg", "detect")]
        grounded, detected = (torch.load(file, weights_only=True) for file in files)
        for number, line in enumerate(lines):
            name = line.partition("'img_id': '")[2].partition("'")[0]
            if name in paths and paths[name] not in released:
                released[paths[name]] = (
                    found(grounded, f"{number}_pred_"),
                    found(detected, f"{Path(name).stem}_crop_"),
                )
    return released


def test_the_official_pixels_are_reproduced_on_real_images(shared_mnre, make_processor):
    processor = make_processor(size=224, draw_at="source", resize="center_crop", original_if_no_region=False)
    reference = _clip_image_processor("center_crop", 224)
    released = _released_boxes(shared_mnre)
    assert len(released) >= 32
    for path, (grounded, detected) in released.items():
        assert grounded
        grounded, detected = grounded[-1:], detected[:1]
        regions = {"grounded_regions": [*map(_corners, grounded)], "detected_regions": [*map(_corners, detected)]}
        inputs = processor(**POST, images=path, **regions)
        found = inputs["pixel_values"][inputs["image_mask"]]
        with Image.open(path) as file:
            image = file.convert("RGB")
        framed = [
            _drawn_by_the_official_code(image, box, color)
            for boxes, color in ((grounded, RED), (detected, BLUE))
            for box in boxes
        ]
        assert torch.equal(found, reference(framed, return_tensors="pt")["pixel_values"])


def test_without_a_frame_real_images_are_those_of_the_image_processor(shared_mnre, make_processor):
    paths = sorted((shared_mnre / "img_org" / "val").iterdir())
    for resize in ("squash", "center_crop"):
        processor = make_processor(size=224, resize=resize, num_grounded_regions=1, num_detected_regions=0)
        reference = _clip_image_processor(resize, 224)
        for path in paths:
            with Image.open(path) as image:
                expected = reference(image, return_tensors="pt")["pixel_values"][0]
            assert torch.equal(processor(**POST, images=path)["pixel_values"][0, 0], expected)


@pytest.mark.parametrize("resize", ["squash", "center_crop"])
def test_at_the_source_the_framed_picture_is_scaled(make_processor, picture, resize):
    released = (0.4, 0.55, 0.6, 0.7)
    (framed,), _ = make_processor(draw_at="source", resize=resize).focal_images(picture, [_corners(released)])
    assert (pixels(framed) == pixels(_fit(_drawn_by_the_official_code(picture, released, RED), resize))).all()


@pytest.mark.parametrize("is_kept", [False, True], ids=["no cache", "cache"])
@pytest.mark.parametrize(
    "arguments", [{}, {"draw_at": "source"}, {"input_mode": "cropped"}, {"draw_at": "source", "resize": "center_crop"}]
)
def test_each_of_many_regions_is_shown_as_if_it_were_the_only_one(
    make_processor, picture, tmp_path, arguments, is_kept
):
    picture.save(tmp_path / "picture.png")
    processor = make_processor(**arguments, original_if_no_region=False)
    if is_kept:
        processor.picture_cache = PictureCache(tmp_path / "cache")
    boxes = [[0.1, 0.2, 0.5, 0.6], [0.1, 0.2, 0.5, 0.7], [0.0, 0.0, 1.0, 1.0], [0.6, 0.1, 0.9, 0.9]]
    shown = processor.focal_images(tmp_path / "picture.png", boxes, boxes[:3])
    assert [len(group) for group in shown] == [4, 3]
    assert len({image.tobytes() for group in shown for image in group}) == (4 if arguments.get("input_mode") else 7)
    alone = make_processor(**arguments, original_if_no_region=False)
    for number, group in enumerate(shown):
        for box, image in zip(boxes, group):
            (expected,) = alone.focal_images(picture, *([[box]] if number == 0 else [[], [box]]))[number]
            assert np.array_equal(pixels(image), pixels(expected))


@PROPERTY
@given(data=st.data())
@pytest.mark.parametrize("resize", ["squash", "center_crop"])
def test_a_crop_is_the_scaled_part_of_the_picture(make_processor, picture, resize, data):
    columns, rows = (
        sorted(data.draw(st.lists(st.integers(0, length), min_size=2, max_size=2, unique=True)))
        for length in picture.size
    )
    width, height = picture.size
    box = [columns[0] / width, rows[0] / height, columns[1] / width, rows[1] / height]
    (shown,), _ = make_processor(input_mode="cropped", resize=resize).focal_images(picture, [box])
    part = Image.fromarray(pixels(picture)[rows[0] : rows[1], columns[0] : columns[1]].astype(np.uint8))
    assert (pixels(shown) == pixels(_fit(part, resize))).all()


def test_one_picture_is_scaled_once_and_decoded_once(tmp_path, make_processor, picture, monkeypatch):
    path = tmp_path / "picture.png"
    picture.save(path)
    calls = []
    for name, owner in (("open", Image), ("resize", Image.Image)):
        function = getattr(owner, name)

        def counted(*args, _name=name, _function=function, **kwargs):
            calls.append(_name)
            return _function(*args, **kwargs)

        monkeypatch.setattr(owner, name, counted)
    boxes = [[0.1 * index, 0.1, 0.9, 0.9] for index in range(4)]
    for mode, resizes in (("augmented", 1), ("original", 1), ("cropped", 4)):
        calls.clear()
        make_processor(input_mode=mode)(
            text=[POST["text"]] * 2,
            head=[POST["head"]] * 2,
            tail=[POST["tail"]] * 2,
            images=[path, os.fspath(path)],
            grounded_regions=[boxes, boxes],
            detected_regions=[boxes, boxes],
        )
        assert (calls.count("open"), calls.count("resize")) == (1, resizes)
