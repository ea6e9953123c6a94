"""Image focal augmentation (FocalMRE, section 3.3): pictures read safely, regions framed or cropped."""

import io
import os
import warnings
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageOps

Box = list[float] | tuple[float, float, float, float]
Size = tuple[int, int]

# Colours and width of the frames, of the official code.
GROUNDED_COLOR = (255, 0, 0)
DETECTED_COLOR = (0, 0, 255)
FRAME_WIDTH = 3

# Released boxes are sums of fractions: they may leave the image by a rounding error.
BOX_TOLERANCE = 1e-6


def load_image(image: Any) -> Image.Image:
    """Read a picture as people see it: upright, opaque, eight bits a channel, the first frame of an animation.

    Args:
        image: a PIL image (of an animation, the frame it stands at), a path, the bytes of an image file, or an array
            (height, width[, channels]) of uint8.

    Returns:
        A PIL image in RGB. Transparent parts are white.

    Raises:
        ValueError: if it is no picture, is damaged, or has more pixels than `PIL.Image.MAX_IMAGE_PIXELS`.
        FileNotFoundError: if there is no file at the path.
    """
    if isinstance(image, np.ndarray):
        image = _array_to_image(image)
    if not isinstance(image, (Image.Image, str, os.PathLike, bytes)):
        raise ValueError(f"An image must be a PIL image, a path, bytes or an array, got <{type(image).__name__}>.")
    is_path = isinstance(image, (str, os.PathLike))
    name = repr(image) if is_path else getattr(image, "filename", "") or f"<{type(image).__name__}>"
    try:
        with warnings.catch_warnings():
            # PIL only warns between one and two times its limit.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            if isinstance(image, Image.Image):
                return _to_rgb(image)
            with Image.open(image if is_path else io.BytesIO(image)) as file:
                return _to_rgb(file)
    except FileNotFoundError:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise ValueError(f"The image {name} is too large: {error}") from error
    except Exception as error:  # the decoders raise nearly everything on a broken file
        raise ValueError(f"The image {name} cannot be read: {error!r}") from error


def _array_to_image(array: np.ndarray) -> Image.Image:
    is_picture = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4))
    if array.dtype != np.uint8 or not is_picture or array.size == 0:
        raise ValueError(
            "An image array must be of uint8 and (height, width), or (height, width, channels) with 1, 3 or 4 "
            f"channels, got {array.dtype} and {array.shape}."
        )
    return Image.fromarray(array[..., 0] if array.shape[2:] == (1,) else array)


def _to_rgb(image: Image.Image) -> Image.Image:
    """A copy of an image in RGB, upright."""
    if 0 in image.size:
        raise ValueError("it has no pixels")
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and image.width * image.height > limit:
        raise Image.DecompressionBombError(f"{image.width} x {image.height}, more than {limit} pixels")
    image = ImageOps.exif_transpose(image)  # a copy
    if image.mode.startswith(("I", "F")):
        return _sixteen_bits_to_rgb(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        background = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(background, image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _sixteen_bits_to_rgb(image: Image.Image) -> Image.Image:
    """PIL's own conversion clips at 255, which turns most of such a picture white."""
    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise ValueError(f"its pixels (mode {image.mode}) are not of 8 or 16 bits")
    if image.mode == "I" and values.max() <= 255:  # eight bits, stored in 32
        return image.convert("RGB")
    return Image.fromarray((values / 257).round().astype(np.uint8)).convert("RGB")


def check_boxes(boxes: list[Box] | None, name: str) -> list[Box]:
    """Check boxes and cut rounding errors off.

    Args:
        boxes: boxes `[x_min, y_min, x_max, y_max]` in fractions of the image, or none. Arrays and tensors will do.
        name: what to call them in an error.

    Returns:
        The boxes, all within the image.

    Raises:
        ValueError: if a box is not four finite numbers, leaves the image, or has no area.
    """
    boxes = [] if boxes is None else boxes
    if not hasattr(boxes, "__iter__"):
        raise ValueError(f"`{name}` must be a list of boxes, got {boxes!r}.")
    checked = []
    for index, box in enumerate(boxes):
        checked.append(clip_box(box))
        if checked[-1] is None:
            raise ValueError(
                f"`{name}[{index}]` must be [x_min, y_min, x_max, y_max] in fractions of the image with "
                f"0 <= min < max <= 1, got {box!r}."
            )
    return checked


def clip_box(box: Any) -> Box | None:
    """The box without what rounding put outside the image; None if it is not a box."""
    try:
        values = [float(value + 0.0) for value in box]  # there is no sum with a string
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return None
    clipped = [min(max(value, 0.0), 1.0) for value in values]
    # Every comparison with NaN is false.
    is_rounding = all(abs(value - bound) <= BOX_TOLERANCE for value, bound in zip(values, clipped))
    is_box = len(values) == 4 and is_rounding and clipped[0] < clipped[2] and clipped[1] < clipped[3]
    return clipped if is_box else None


class Canvas:
    """One post's picture, brought to the model's resolution once, with and without frames.

    Args:
        image: the picture, RGB.
        size: width and height the model wants.
        shortest_edge: what `resize="center_crop"` scales the shorter side to before it cuts out the middle.
        resample: PIL's resampling filter.
        resize: `"squash"` scales the whole picture to `size`; `"center_crop"` keeps its proportions and loses the
            sides, as CLIP's image processor does.
        draw_at: `"model"` draws frames at the model's resolution; `"source"` on the full-size picture, before it is
            scaled, as the official code does.

    Raises:
        ValueError: if the scaled picture would have more pixels than `PIL.Image.MAX_IMAGE_PIXELS`.
    """

    def __init__(self, image: Image.Image, size: Size, shortest_edge: int, resample: int, resize: str, draw_at: str):
        self.image = image
        self.size = size
        self.shortest_edge = shortest_edge
        self.resample = resample
        self.resize = resize
        self.draw_at = draw_at
        self._original = None

    def original(self) -> Image.Image:
        """The picture without a frame, at the model's resolution."""
        if self._original is None:
            self._original = self._fit(self.image)
        return self._original

    def framed(self, box: Box, color: tuple[int, int, int]) -> Image.Image:
        """The whole picture with a frame around the box, at the model's resolution."""
        if self.draw_at == "source":
            image = self.image.copy()
            width, height = image.size
            # Fractions of pixels are left to PIL, as in the official code.
            edges = [box[0] * width, box[1] * height, box[2] * width, box[3] * height]
            ImageDraw.Draw(image).rectangle(edges, outline=color, width=FRAME_WIDTH)
            return self._fit(image)
        image = self.original().copy()
        scaled, (left, top) = self._scaled_size(self.image.size)
        x_min, x_max = _pixel_range(box[0], box[2], scaled[0])
        y_min, y_max = _pixel_range(box[1], box[3], scaled[1])
        # Not an outline by PIL: those of narrow boxes reach outside them.
        x_min, y_min, x_max, y_max = x_min - left, y_min - top, x_max - left + 1, y_max - top + 1
        image.paste(color, (x_min, y_min, x_max, y_max))
        inside = (x_min + FRAME_WIDTH, y_min + FRAME_WIDTH, x_max - FRAME_WIDTH, y_max - FRAME_WIDTH)
        if inside[0] < inside[2] and inside[1] < inside[3]:
            image.paste(self.original().crop(inside), inside)
        return image

    def cropped(self, box: Box) -> Image.Image:
        """What is inside the box alone, at the model's resolution."""
        x_min, x_max = _pixel_range(box[0], box[2], self.image.width)
        y_min, y_max = _pixel_range(box[1], box[3], self.image.height)
        return self._fit(self.image.crop((x_min, y_min, x_max + 1, y_max + 1)))

    def _scaled_size(self, size: Size) -> tuple[Size, Size]:
        """The size to scale to, and the left and top edge of what is kept of that."""
        if self.resize == "squash":
            return self.size, (0, 0)
        shorter = min(size)
        width, height = (int(self.shortest_edge * side / shorter) for side in size)
        return (width, height), ((width - self.size[0]) // 2, (height - self.size[1]) // 2)

    def _fit(self, image: Image.Image) -> Image.Image:
        scaled, (left, top) = self._scaled_size(image.size)
        limit = Image.MAX_IMAGE_PIXELS
        if limit is not None and scaled[0] * scaled[1] > limit:
            raise ValueError(
                f"An image of {image.width} x {image.height} pixels is too narrow for resize='center_crop': scaled it "
                f"would be {scaled[0]} x {scaled[1]}. Use resize='squash'."
            )
        image = image.resize(scaled, self.resample)
        if scaled == self.size:
            return image
        return image.crop((left, top, left + self.size[0], top + self.size[1]))


def _pixel_range(start: float, end: float, length: int) -> tuple[int, int]:
    """First and last pixel of a range given in fractions of `length` pixels; at least one pixel."""
    first, last = round(start * length), round(end * length) - 1
    if first > last:
        first = last = min(int((start + end) / 2 * length), length - 1)
    return first, last
