"""Image focal augmentation (FocalMRE, section 3.3): regions framed or cropped."""

from collections.abc import Callable
from typing import Any, NamedTuple

from PIL import Image

from .picture_cache import PictureCache, cache_key
from .scaled_picture import Color, ScaledPicture, Size

Box = list[float] | tuple[float, float, float, float]
Rectangle = tuple[int, int, int, int]  # left, top, right and bottom edge in pixels, right and bottom exclusive

# Colours and width of the frames, of the official code.
GROUNDED_COLOR = (255, 0, 0)
DETECTED_COLOR = (0, 0, 255)
FRAME_WIDTH = 3
DRAW_AT = ("model", "source")

# Released boxes are sums of fractions: they may leave the image by a rounding error.
BOX_TOLERANCE = 1e-6
# What corners have rounded is far behind these.
DECIMALS_OF_PIXELS = 6


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
    """Clip a box to the image where rounding put it outside; return `None` for what is no box."""
    try:
        values = [float(value + 0.0) for value in box]  # there is no sum with a string
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return None
    clipped = [min(max(value, 0.0), 1.0) for value in values]
    # Every comparison with NaN is false.
    is_rounding = all(abs(value - bound) <= BOX_TOLERANCE for value, bound in zip(values, clipped))
    is_box = len(values) == 4 and is_rounding and clipped[0] < clipped[2] and clipped[1] < clipped[3]
    return clipped if is_box else None


class View(NamedTuple):
    """View of one slot: a picture at the model's resolution, and the frame that is painted onto it.

    Views of one picture share `image`, so that it is normalized once.

    Args:
        image: the picture without the frame.
        shown: the part of the post's picture that it shows, in fractions of that picture.
        frame: the sides of the frame, within the picture; none without a frame.
        color: red, green and blue of the frame.
    """

    image: Image.Image
    shown: Box
    frame: tuple[Rectangle, ...] = ()
    color: Color | None = None

    def draw(self) -> Image.Image:
        """Return the picture with its frame."""
        if not self.frame:
            return self.image
        image = self.image.copy()
        for side in self.frame:
            image.paste(self.color, side)
        return image


class Canvas:
    """One post's picture, brought to the model's resolution once, with and without frames.

    Args:
        image: the picture, RGB.
        size: width and height the model wants.
        shortest_edge: what `resize="center_crop"` scales the shorter side to before it cuts out the middle.
        resample: PIL's resampling filter.
        resize: `"squash"` scales the whole picture to `size`; `"center_crop"` keeps its proportions and loses the
            sides, as CLIP's image processor does.

    Raises:
        ValueError: if the scaled picture would have more pixels than `PIL.Image.MAX_IMAGE_PIXELS`.
    """

    def __init__(self, image: Image.Image, size: Size, shortest_edge: int, resample: int, resize: str):
        self._image = image
        self.size = size
        self.shortest_edge = shortest_edge
        self.resample = resample
        self.resize = resize
        self._views: dict[tuple, Image.Image] = {}
        self._scaled = None

    @property
    def image(self) -> Image.Image:
        """Return the picture."""
        return self._image

    def original(self) -> View:
        """Return the picture without a frame, at the model's resolution."""
        image = self._kept(("original",), lambda: self._fit(self.image))
        return View(image, self._shown((0, 0, *self._source_size())))

    def framed(self, box: Box, color: Color, draw_at: str) -> View:
        """Return the whole picture with a frame around the box, at the model's resolution.

        Args:
            box: the region, in fractions of the image.
            color: red, green and blue of the frame.
            draw_at: `"model"` draws the frame at the model's resolution; `"source"` on the full-size picture, before
                it is scaled, as the official code does.
        """
        if draw_at == "source":
            image = self._kept(("framed", *box, *color), lambda: self._draw_frame(box, color))
            return View(image, self._shown((0, 0, *self._source_size())))
        original = self.original()
        scaled, (left, top) = self._scaled_size(self._source_size())
        x_min, x_max = _pixel_range(box[0], box[2], scaled[0])
        y_min, y_max = _pixel_range(box[1], box[3], scaled[1])
        outer = x_min - left, y_min - top, x_max - left + 1, y_max - top + 1
        return original._replace(frame=_frame(outer, self.size), color=color)

    def cropped(self, box: Box) -> View:
        """Return the part of the picture inside the box, at the model's resolution."""
        image = self._kept(("cropped", *box), lambda: self._fit(self.image.crop(self._part(box))))
        return View(image, self._shown(self._part(box)))

    def _kept(self, view: tuple, make: Callable[[], Image.Image]) -> Image.Image:
        """Return a view, the same picture each time."""
        if view not in self._views:
            self._views[view] = self._made(view, make)
        return self._views[view]

    def _made(self, view: tuple, make: Callable[[], Image.Image]) -> Image.Image:
        return make()

    def _source_size(self) -> Size:
        return self.image.size

    def _draw_frame(self, box: Box, color: Color) -> Image.Image:
        (left, right), (top, bottom) = (
            drawn_edges(start, end, side) for start, end, side in zip(box[:2], box[2:], self.image.size)
        )
        scaled, corner = self._scaled_size(self.image.size)
        if self._scaled is None:
            self._check_scaled(self.image.size, scaled)
            self._scaled = ScaledPicture(self.image, scaled, self.resample)
        return self._cut(self._scaled.outlined((left, top, right, bottom), color, FRAME_WIDTH), corner)

    def _part(self, box: Box) -> Rectangle:
        """Return what a box cuts out, in pixels."""
        width, height = self._source_size()
        x_min, x_max = _pixel_range(box[0], box[2], width)
        y_min, y_max = _pixel_range(box[1], box[3], height)
        return x_min, y_min, x_max + 1, y_max + 1

    def _shown(self, part: Rectangle) -> Box:
        """Return what is seen of a part of the picture, given in pixels, in fractions of the picture."""
        left, top, right, bottom = part
        source_width, source_height = self._source_size()
        (width, height), (x, y) = self._scaled_size((right - left, bottom - top))
        columns = [left + (right - left) * edge / width for edge in (x, x + self.size[0])]
        rows = [top + (bottom - top) * edge / height for edge in (y, y + self.size[1])]
        (x_min, x_max), (y_min, y_max) = columns, rows
        return x_min / source_width, y_min / source_height, x_max / source_width, y_max / source_height

    def _scaled_size(self, size: Size) -> tuple[Size, Size]:
        """Return the size to scale to, and the left and top edge of the part that is kept."""
        if self.resize == "squash":
            return self.size, (0, 0)
        shorter = min(size)
        width, height = (int(self.shortest_edge * side / shorter) for side in size)
        return (width, height), ((width - self.size[0]) // 2, (height - self.size[1]) // 2)

    def _fit(self, image: Image.Image) -> Image.Image:
        scaled, corner = self._scaled_size(image.size)
        self._check_scaled(image.size, scaled)
        return self._cut(image.resize(scaled, self.resample), corner)

    def _check_scaled(self, size: Size, scaled: Size) -> None:
        limit = Image.MAX_IMAGE_PIXELS
        if limit is not None and scaled[0] * scaled[1] > limit:
            raise ValueError(
                f"An image of {size[0]} x {size[1]} pixels is too narrow for resize='center_crop': scaled it "
                f"would be {scaled[0]} x {scaled[1]}. Use resize='squash'."
            )

    def _cut(self, image: Image.Image, corner: tuple[int, int]) -> Image.Image:
        """Return the part that the model sees of a scaled picture."""
        left, top = corner
        return image if image.size == self.size else image.crop((left, top, left + self.size[0], top + self.size[1]))


class CachedCanvas(Canvas):
    """One post's picture whose views are kept: it is decoded where one of them is not there yet.

    Args:
        cache: where views are kept.
        content: of the picture's file.
        load: decodes the picture.
        limits: most pixels of the picture, which decides whether it is decoded at all, and the least side of a JPEG.
        size, shortest_edge, resample, resize: as of [`Canvas`].
    """

    def __init__(
        self,
        cache: PictureCache,
        content: bytes,
        load: Callable[[], Image.Image],
        limits: tuple[int, int | None],
        size: Size,
        shortest_edge: int,
        resample: int,
        resize: str,
    ):
        super().__init__(None, size, shortest_edge, resample, resize)
        self.cache, self.load = cache, load
        self._key = cache_key(content, *limits, *size, shortest_edge, resample and int(resample), resize)
        self._size = None

    @property
    def image(self) -> Image.Image:
        """Return the picture, decoded when it is first asked for."""
        if self._image is None:
            self._image = self.load()
        return self._image

    def _made(self, view: tuple, make: Callable[[], Image.Image]) -> Image.Image:
        image, self._size = self.cache.get(cache_key(self._key, *view), lambda: (make(), self.image.size))
        return image

    def _source_size(self) -> Size:
        return self.image.size if self._size is None else self._size


def _frame(outer: Rectangle, size: Size) -> tuple[Rectangle, ...]:
    """Return the four sides of a frame within `outer`, where a picture of this size has them.

    Not an outline by PIL: those of narrow boxes reach outside them.
    """
    left, top, right, bottom = outer
    sides = (
        (left, top, right, min(top + FRAME_WIDTH, bottom)),
        (left, max(bottom - FRAME_WIDTH, top), right, bottom),
        (left, top, min(left + FRAME_WIDTH, right), bottom),
        (max(right - FRAME_WIDTH, left), top, right, bottom),
    )
    width, height = size
    clipped = [(max(x, 0), max(y, 0), min(x_end, width), min(y_end, height)) for x, y, x_end, y_end in sides]
    return tuple(side for side in clipped if side[0] < side[2] and side[1] < side[3])


def drawn_edges(start: float, end: float, length: int) -> tuple[float, float]:
    """Return where the official code draws two edges of a frame, in pixels of a picture's side; PIL cuts fractions off.

    It adds the box's size to its first edge, and so does this: where a released box ends on a whole pixel, as all do,
    the sum may lie just below it, and the frame ends a pixel before. The size is that of the released box again, whole
    pixels, once what the corners have rounded is cut off.
    """
    size = round((end - start) * length, DECIMALS_OF_PIXELS) / length
    return start * length, start * length + size * length


def _pixel_range(start: float, end: float, length: int) -> tuple[int, int]:
    """Return the first and last pixel of a range in fractions of `length` pixels; at least one pixel."""
    first, last = round(start * length), round(end * length) - 1
    if first > last:
        first = last = min(int((start + end) / 2 * length), length - 1)
    return first, last
