"""Pictures, read safely: by known formats, within limits of pixels and memory, always the same way."""

import io
import os
import stat
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import Image, ImageOps

# What people post. Not what PIL hands to other programs, as EPS to Ghostscript.
PICTURE_FORMATS = (
    *("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "JPEG2000", "AVIF", "HEIF"),
    *("ICO", "PPM", "TGA", "PCX", "SGI"),
)
# Most pixels of a picture: a file of some hundred bytes may hold hundreds of millions.
MAX_PIXELS = 50_000_000
# Larger pictures are scaled down by a whole factor before anything else is done with them.
LARGE_PIXELS = 16_000_000
PIXEL_ROWS = 256
HEIC_BRANDS = (b"heic", b"heix", b"mif1", b"msf1", b"hevc")


def load_image(image: Any, max_pixels: int = MAX_PIXELS, least_side: int | None = None) -> Image.Image:
    """Read a picture as people see it: upright, opaque, eight bits a channel, the first frame of an animation.

    Of a picture with more than `LARGE_PIXELS`, areas of 2 x 2, 3 x 3, ... pixels become one, so that about that many
    are left at most: a model looks at far fewer.

    Args:
        image: a PIL image (of an animation, the frame it stands at), a path, the bytes of an image file, an array
            (height, width[, channels]) of uint8, or `{"bytes": ..., "path": ...}` as a data set has it.
        max_pixels: most pixels; `PIL.Image.MAX_IMAGE_PIXELS` holds too.
        least_side: of the file of a JPEG, let the decoder give a half, a quarter or an eighth of its size, as far as
            both sides stay this long at least: faster, with other pixels. All of its pixels by default.

    Returns:
        A PIL image in RGB. Transparent parts are white.

    Raises:
        ValueError: if it is no picture, is damaged, is in a format that is not among `PICTURE_FORMATS`, or has too
            many pixels.
        FileNotFoundError: if there is no file at the path.
    """
    if isinstance(image, np.ndarray):
        image = _array_to_image(image)
    if isinstance(image, Image.Image):
        name = getattr(image, "filename", "") or f"<{type(image).__name__}>"
        with _naming(name):
            _check_size(image, max_pixels)
            return _to_rgb(image)
    with _open(image, max_pixels) as file, _naming(_name(image)):
        if least_side is not None and file.format == "JPEG":
            file.draft(None, (least_side, least_side))
        return _to_rgb(file, is_file=True)


def check_image(image: Any, max_pixels: int = MAX_PIXELS) -> None:
    """Refuse a picture that [`load_image`] refuses, with less work for a JPEG.

    Args:
        image: a path, the bytes of a file, or `{"bytes": ..., "path": ...}`.
        max_pixels: most pixels.

    Raises:
        ValueError, FileNotFoundError: as of [`load_image`].
    """
    with _open(image, max_pixels) as file, _naming(_name(image)):
        if file.format == "JPEG":
            file.draft("RGB", (1, 1))  # it is read to its end all the same, but decoded at an eighth of its size
        _to_rgb(file, is_file=True)


def check_image_header(image: Any, max_pixels: int = MAX_PIXELS, formats: Sequence[str] = PICTURE_FORMATS) -> None:
    """Refuse a picture by what its file says at its beginning, before a pixel is decoded.

    Args:
        image: a path, the bytes of a file, or `{"bytes": ..., "path": ...}`.
        max_pixels: most pixels.
        formats: PIL's names of the formats that are read.

    Raises:
        ValueError, FileNotFoundError: as of [`load_image`].
    """
    with _open(image, max_pixels, formats):
        pass


@contextmanager
def _open(image: Any, max_pixels: int = MAX_PIXELS, formats: Sequence[str] = PICTURE_FORMATS):
    """Open a picture's file; check its format and its number of pixels before a pixel is decoded."""
    name = _name(image)
    if isinstance(image, Mapping) and {"bytes", "path"} >= set(image):
        image = image.get("path") if image.get("bytes") is None else image["bytes"]
    if not isinstance(image, (str, os.PathLike, bytes)):
        raise ValueError(f"An image must be a PIL image, a path, bytes or an array, got <{type(image).__name__}>.")
    with _naming(name):
        if not isinstance(image, bytes) and not stat.S_ISREG(os.stat(image).st_mode):
            raise ValueError("it is no regular file")
        Image.init()
        source = io.BytesIO(image) if isinstance(image, bytes) else image
        try:
            opened = Image.open(source, formats=[name for name in formats if name in Image.OPEN])
        except Image.UnidentifiedImageError as error:
            raise Image.UnidentifiedImageError(f"{error}{_hint(image)}") from error
    with opened as file:
        with _naming(name):
            _check_size(file, max_pixels)
        yield file


@contextmanager
def _naming(name: str):
    """Turn what decoders raise into errors that name the picture."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise ValueError(f"The image {name} is too large: {error}") from error
    except Exception as error:  # the decoders raise nearly everything on a broken file
        raise ValueError(f"The image {name} cannot be read: {error!r}") from error


def _name(image: Any) -> str:
    if isinstance(image, Mapping):
        image = image.get("path") or image.get("bytes")
    return repr(image) if isinstance(image, (str, os.PathLike)) else f"<{type(image).__name__}>"


def _hint(image: str | os.PathLike | bytes) -> str:
    """Say what reads the photographs of phones."""
    if isinstance(image, bytes):
        start = image[:12]
    else:
        with open(image, "rb") as file:
            start = file.read(12)
    is_heic = start[4:8] == b"ftyp" and start[8:12] in HEIC_BRANDS
    return ": it is HEIC; pip install pillow-heif, then pillow_heif.register_heif_opener()" if is_heic else ""


def _check_size(image: Image.Image, max_pixels: int) -> None:
    if 0 in image.size:
        raise ValueError("it has no pixels")
    limits = [limit for limit in (max_pixels, Image.MAX_IMAGE_PIXELS) if limit is not None]
    if limits and image.width * image.height > min(limits):
        raise Image.DecompressionBombError(f"{image.width} x {image.height}, more than {min(limits)} pixels")


def _array_to_image(array: np.ndarray) -> Image.Image:
    is_picture = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4))
    if array.dtype != np.uint8 or not is_picture or array.size == 0:
        raise ValueError(
            "An image array must be of uint8 and (height, width), or (height, width, channels) with 1, 3 or 4 "
            f"channels, got {array.dtype} and {array.shape}."
        )
    return Image.fromarray(array[..., 0] if array.shape[2:] == (1,) else array)


def _to_rgb(image: Image.Image, is_file: bool = False) -> Image.Image:
    """Return a copy of an image in RGB, upright, not larger than need be; a file may be decoded at a smaller size."""
    image = _reduce(image, is_file)
    image = ImageOps.exif_transpose(image)  # a copy
    if image.mode.startswith(("I", "F")):
        return _sixteen_bits_to_rgb(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        background = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(background, image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _reduce(image: Image.Image, is_file: bool) -> Image.Image:
    """Scale a large image down, in its own mode and as early as its format allows."""
    pixels = image.width * image.height
    if pixels <= LARGE_PIXELS:
        return image
    if is_file and image.format == "JPEG":
        image.draft(None, (image.width // 2, image.height // 2))  # the decoder does it, and never has all pixels
        pixels = image.width * image.height
    factor = 1
    while pixels > LARGE_PIXELS * factor**2:
        factor += 1
    if factor == 1:
        return image
    exif = image.getexif()
    if image.mode in ("P", "1", "PA") or "transparency" in image.info:
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    if image.mode in ("RGBA", "LA"):  # the colour of what is transparent does not count
        image = image.convert(image.mode[:-1] + "a").reduce(factor).convert(image.mode)
    elif image.mode.startswith(("I;16", "F", "I")):
        image = image.resize((max(1, image.width // factor), max(1, image.height // factor)), Image.Resampling.NEAREST)
    else:
        image = image.reduce(factor)
    image.info["exif"] = exif.tobytes()
    return image


def _sixteen_bits_to_rgb(image: Image.Image) -> Image.Image:
    """Convert 16 bits a pixel to RGB by scale; PIL's own conversion clips at 255, which turns most of them white."""
    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise ValueError(f"its pixels (mode {image.mode}) are not of 8 or 16 bits")
    if image.mode == "I" and values.max() <= 255:  # eight bits, stored in 32
        return image.convert("RGB")
    gray = np.empty(values.shape, np.uint8)
    for row in range(0, len(values), PIXEL_ROWS):  # in whole numbers, and few at once: floats take eight bytes each
        rows = slice(row, row + PIXEL_ROWS)
        gray[rows] = (values[rows].astype(np.uint32) + 128) // 257
    return Image.fromarray(gray).convert("RGB")


__all__ = ["MAX_PIXELS", "PICTURE_FORMATS", "check_image", "check_image_header", "load_image"]
