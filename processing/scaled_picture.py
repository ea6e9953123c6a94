"""Pictures that are scaled with a rectangle drawn on them: only what the rectangle changes is scaled again."""

import numpy as np
from PIL import Image, ImageDraw

Size = tuple[int, int]
Color = tuple[int, int, int]

# The sum of the weights, whole numbers, by which PIL scales bytes.
SUM_OF_WEIGHTS = 2**22
# PIL's widest filter, Lanczos, reads this many pixels to each side, times the scale if it is smaller afterwards.
WIDEST_FILTER = 3
# Of a picture that is taller than so many times its width, PIL may scale the columns first.
TALLEST = 100


class ScaledPicture:
    """Scales one picture with different rectangles drawn on it, to the pixels of drawing and then `Image.resize`.

    PIL scales each row first, and then each column of what comes out. So a rectangle changes the rows of its upper and
    lower side, a few columns around its left and right side, and after the second pass the columns from one to the
    other.

    Args:
        image: the picture, RGB.
        size: width and height to scale to.
        resample: PIL's resampling filter, or `None` for PIL's default.
    """

    def __init__(self, image: Image.Image, size: Size, resample: int | None):
        self.image = image
        self.size = size
        self.resample = resample
        self._rows_first = image.height <= TALLEST * image.width
        if self._rows_first:
            self._rows_scaled = image.resize((size[0], image.height), resample)
            self._scaled = self._rows_scaled.resize(size, resample)

    def outlined(self, corners: tuple[float, float, float, float], color: Color, width: int) -> Image.Image:
        """Return the scaled picture with a rectangle drawn on it before it is scaled.

        Args:
            corners: left, top, right and bottom edge in pixels of the picture, as `ImageDraw.rectangle` takes them.
            color: red, green and blue of the outline.
            width: of the outline in pixels.
        """
        drawn = self.image.copy()
        ImageDraw.Draw(drawn).rectangle(corners, outline=color, width=width)
        if not self._rows_first:
            return drawn.resize(self.size, self.resample)
        left, top, right, bottom = corners
        sides = [_touched(edge, width, drawn.width) for edge in (left, right)]
        (upper, upper_end), (lower, lower_end) = (_touched(edge, width, drawn.height) for edge in (top, bottom))
        first, last = self._columns_of((sides[0][0], sides[1][1]))
        changed = self._rows_scaled.crop((first, 0, last, drawn.height))
        for start, end in ((upper, upper_end), (lower, lower_end)):
            rows = drawn.crop((0, start, drawn.width, end)).resize((self.size[0], end - start), self.resample)
            changed.paste(rows.crop((first, 0, last, end - start)), (0, start))
        for side in sides if upper_end < lower else ():
            start, weights = self._weights(side)
            columns = self._columns_of(side)
            part = drawn.crop((start, upper_end, start + len(weights), lower))
            changed.paste(_weighted(part, weights[:, slice(*columns)]), (columns[0] - first, upper_end))
        scaled = self._scaled.copy()
        scaled.paste(changed.resize((last - first, self.size[1]), self.resample), (first, 0))
        return scaled

    def _columns_of(self, side: tuple[int, int]) -> tuple[int, int]:
        """Return the first and the end of the scaled columns that these columns of the picture may go into."""
        scale = self.size[0] / self.image.width
        reach = WIDEST_FILTER * max(1, scale) + 1
        return max(int(side[0] * scale - reach), 0), min(int(side[1] * scale + reach) + 1, self.size[0])

    def _weights(self, side: tuple[int, int]) -> tuple[int, np.ndarray]:
        """Return PIL's weights (columns of the picture, columns scaled) around some columns, and the first of these.

        They are what comes out of rows that are dark but for one pixel each. All that goes into `_columns_of(side)` is
        there.
        """
        scale = self.image.width / self.size[0]
        reach = int((2 * WIDEST_FILTER + 2) * max(1, scale)) + 1
        first, last = max(side[0] - reach, 0), min(side[1] + reach, self.image.width)
        pixels = np.eye(last - first, self.image.width, first, dtype=np.int32) * SUM_OF_WEIGHTS
        return first, np.asarray(Image.fromarray(pixels).resize((self.size[0], last - first), self.resample))


def _touched(edge: float, width: int, length: int) -> tuple[int, int]:
    """Return the first pixel of a side of this length that an outline at the edge may reach, and the end of them."""
    return max(int(edge) - width, 0), min(int(edge) + width + 1, length)


def _weighted(part: Image.Image, weights: np.ndarray) -> Image.Image:
    """Scale the rows of a part by these weights, and round as PIL does; floats hold the whole numbers exactly."""
    pixels = np.asarray(part).transpose(2, 0, 1).astype(np.float64)  # (3, rows, columns)
    sums = np.floor((pixels @ weights.astype(np.float64) + SUM_OF_WEIGHTS / 2) / SUM_OF_WEIGHTS)
    return Image.fromarray(sums.clip(0, 255).astype(np.uint8).transpose(1, 2, 0))
