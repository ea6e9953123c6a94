"""Pictures of synthetic posts: people, things and symbols, painted in cells before a wall."""

import random
from collections.abc import Iterable

from PIL import Image, ImageDraw

GridCell = tuple[int, int, int, int]  # left, top, right, bottom, in pixels

OVERSAMPLING = 2  # pictures are painted larger and shrunk, for smooth edges


DARK = (45, 42, 50)
WHITE = (248, 248, 244)
# Dull colours for people and things, so that the symbols' strong ones stay their own. No symbol needs the pure red or
# pure blue of the frames that the processors draw.
DULL_COLOURS = [
    (88, 98, 128),
    (128, 132, 136),
    (116, 122, 84),
    (126, 98, 80),
    (96, 136, 134),
    (134, 108, 132),
    (168, 152, 124),
    (72, 76, 88),
]
SKIN_COLOURS = [(244, 212, 184), (222, 178, 142), (176, 126, 92), (122, 82, 60)]
HAIR_COLOURS = [(48, 38, 34), (96, 66, 44), (188, 156, 102), (146, 144, 146)]
BACKGROUND_COLOURS = {
    "white": (238, 238, 236),
    "grey": (190, 192, 194),
    "beige": (226, 212, 190),
    "light blue": (188, 208, 226),
    "light green": (200, 218, 194),
    "brown": (170, 148, 128),
    "dark": (112, 110, 120),
}


class _Pen:
    """Paints shapes, whose corners are fractions of an object's cell."""

    def __init__(self, canvas: ImageDraw.ImageDraw, cell: tuple[int, int, int, int]):
        self.canvas = canvas
        self.left, self.top = cell[0] * OVERSAMPLING, cell[1] * OVERSAMPLING
        # PIL paints the last column and row too: one less keeps the shape inside its cell.
        self.width = (cell[2] - cell[0]) * OVERSAMPLING - 1
        self.height = (cell[3] - cell[1]) * OVERSAMPLING - 1

    def _pixels(self, points):
        return [(round(self.left + x * self.width), round(self.top + y * self.height)) for x, y in points]

    def polygon(self, colour, *points, outline=DARK):
        self.canvas.polygon(self._pixels(points), fill=colour, outline=outline, width=OVERSAMPLING)

    def rectangle(self, colour, x_min, y_min, x_max, y_max, outline=DARK):
        corners = self._pixels([(x_min, y_min), (x_max, y_max)])
        self.canvas.rectangle(corners, fill=colour, outline=outline, width=OVERSAMPLING)

    def ellipse(self, colour, x_min, y_min, x_max, y_max, outline=DARK):
        corners = self._pixels([(x_min, y_min), (x_max, y_max)])
        self.canvas.ellipse(corners, fill=colour, outline=outline, width=OVERSAMPLING)

    def pie(self, colour, x_min, y_min, x_max, y_max, start, end):
        corners = self._pixels([(x_min, y_min), (x_max, y_max)])
        self.canvas.pieslice(corners, start, end, fill=colour, outline=DARK, width=OVERSAMPLING)

    def arc(self, colour, thickness, x_min, y_min, x_max, y_max, start, end):
        corners = self._pixels([(x_min, y_min), (x_max, y_max)])
        self.canvas.arc(corners, start, end, fill=colour, width=round(thickness * self.width))

    def line(self, colour, thickness, *points):
        self.canvas.line(self._pixels(points), fill=colour, width=round(thickness * self.width))


def _near(rng: random.Random, colour: tuple[int, int, int], spread: int = 14) -> tuple[int, ...]:
    return tuple(min(255, max(0, channel + rng.randint(-spread, spread))) for channel in colour)


def _paint_heart(pen, rng):
    pink = _near(rng, (236, 36, 140))
    pen.ellipse(pink, 0.04, 0.06, 0.54, 0.56, outline=None)
    pen.ellipse(pink, 0.46, 0.06, 0.96, 0.56, outline=None)
    pen.polygon(pink, (0.07, 0.43), (0.5, 0.3), (0.93, 0.43), (0.5, 0.96), outline=None)
    pen.ellipse(WHITE, 0.17, 0.17, 0.31, 0.31, outline=None)


def _paint_ball(pen, rng):
    pen.ellipse(_near(rng, (250, 132, 16)), 0.04, 0.04, 0.96, 0.96, outline=None)
    pen.line(DARK, 0.07, (0.06, 0.5), (0.94, 0.5))
    pen.arc(DARK, 0.07, -0.42, 0.1, 0.36, 0.9, -60, 60)
    pen.arc(DARK, 0.07, 0.64, 0.1, 1.42, 0.9, 120, 240)


def _paint_badge(pen, rng):
    violet = _near(rng, (124, 40, 200))
    pen.polygon(violet, (0.08, 0.05), (0.92, 0.05), (0.92, 0.55), (0.5, 0.97), (0.08, 0.55))
    points = [(0.5, 0.14), (0.59, 0.36), (0.82, 0.37), (0.64, 0.51), (0.71, 0.74)]
    points += [(0.5, 0.61), (0.29, 0.74), (0.36, 0.51), (0.18, 0.37), (0.41, 0.36)]
    pen.polygon(WHITE, *points, outline=None)


def _paint_house(pen, rng):
    pen.rectangle(_near(rng, (190, 72, 48)), 0.12, 0.42, 0.88, 0.97)
    pen.polygon(_near(rng, (70, 40, 40)), (0.5, 0.03), (0.99, 0.46), (0.01, 0.46))
    pen.rectangle(WHITE, 0.22, 0.56, 0.44, 0.74)
    pen.rectangle(DARK, 0.56, 0.58, 0.76, 0.97)


def _paint_tower(pen, rng):
    pen.polygon(_near(rng, (40, 190, 206)), (0.5, 0.01), (0.8, 0.07), (0.8, 0.97), (0.2, 0.97), (0.2, 0.07))
    for row in range(4):
        for column in range(2):
            x, y = 0.31 + 0.22 * column, 0.12 + 0.18 * row
            pen.rectangle(DARK, x, y, x + 0.15, y + 0.1, outline=None)
    pen.rectangle(DARK, 0.42, 0.85, 0.58, 0.97, outline=None)


def _paint_trophy(pen, rng):
    gold = _near(rng, (252, 208, 24))
    pen.arc(gold, 0.1, 0.03, 0.1, 0.47, 0.5, 60, 300)
    pen.arc(gold, 0.1, 0.53, 0.1, 0.97, 0.5, 240, 120)
    pen.polygon(gold, (0.2, 0.04), (0.8, 0.04), (0.74, 0.44), (0.58, 0.6), (0.42, 0.6), (0.26, 0.44))
    pen.rectangle(gold, 0.44, 0.6, 0.56, 0.78)
    pen.rectangle(DARK, 0.22, 0.78, 0.78, 0.96)


def _paint_flag(pen, rng):
    green = _near(rng, (0, 164, 84))
    for colour, y in ((green, 0.03), (WHITE, 0.25), (green, 0.45)):  # each stripe waves
        wave = [(0.14, 0.04), (0.36, 0), (0.72, 0.08), (0.98, 0.04)]
        pen.polygon(colour, *[(x, y + up) for x, up in wave], *[(x, y + 0.22 + up) for x, up in reversed(wave)])
    pen.rectangle(DARK, 0.04, 0.03, 0.14, 0.98, outline=None)


def _paint_umbrella(pen, rng):
    pen.line(DARK, 0.06, (0.5, 0.4), (0.5, 0.88))
    pen.arc(DARK, 0.06, 0.47, 0.76, 0.72, 0.97, 0, 180)
    pen.pie(_dull(rng), 0.03, 0.08, 0.97, 1.0, 180, 360)


def _paint_cup(pen, rng):
    colour = _dull(rng)
    pen.arc(colour, 0.1, 0.58, 0.3, 0.98, 0.7, 270, 90)
    pen.polygon(colour, (0.1, 0.16), (0.76, 0.16), (0.68, 0.92), (0.18, 0.92))
    pen.ellipse(WHITE, 0.1, 0.08, 0.76, 0.26)


def _paint_tree(pen, rng):
    pen.rectangle((104, 80, 62), 0.42, 0.6, 0.58, 0.97)
    pen.ellipse(_near(rng, (98, 120, 78)), 0.12, 0.03, 0.88, 0.72)


def _paint_cloud(pen, rng):
    grey = _near(rng, (222, 226, 230), 8)
    pen.ellipse(grey, 0.02, 0.4, 0.44, 0.8)
    pen.ellipse(grey, 0.56, 0.38, 0.98, 0.8)
    pen.ellipse(grey, 0.24, 0.18, 0.76, 0.72)
    pen.rectangle(grey, 0.22, 0.56, 0.78, 0.79, outline=None)


def _paint_car(pen, rng):
    colour = _dull(rng)
    pen.polygon(WHITE, (0.22, 0.5), (0.34, 0.24), (0.68, 0.24), (0.8, 0.5))
    pen.rectangle(colour, 0.02, 0.48, 0.98, 0.74)
    pen.ellipse(DARK, 0.14, 0.62, 0.38, 0.86)
    pen.ellipse(DARK, 0.62, 0.62, 0.86, 0.86)


def _paint_lamp(pen, rng):
    pen.rectangle(DARK, 0.46, 0.44, 0.54, 0.92, outline=None)
    pen.rectangle(DARK, 0.28, 0.88, 0.72, 0.97, outline=None)
    pen.polygon(_dull(rng), (0.34, 0.05), (0.66, 0.05), (0.88, 0.5), (0.12, 0.5))


def _paint_person(pen, rng):
    hair, skin = rng.choice(HAIR_COLOURS), _near(rng, rng.choice(SKIN_COLOURS), 8)
    pen.polygon(_dull(rng), (0.36, 0.5), (0.64, 0.5), (0.88, 0.64), (0.92, 0.98), (0.08, 0.98), (0.12, 0.64))
    pen.ellipse(hair, 0.28, 0.03, 0.72, 0.46)
    pen.ellipse(skin, 0.31, 0.12, 0.69, 0.56)


def _dull(rng):
    return _near(rng, rng.choice(DULL_COLOURS))


PAINTERS = {
    "heart": _paint_heart,
    "ball": _paint_ball,
    "badge": _paint_badge,
    "house": _paint_house,
    "tower": _paint_tower,
    "trophy": _paint_trophy,
    "flag": _paint_flag,
    "umbrella": _paint_umbrella,
    "cup": _paint_cup,
    "tree": _paint_tree,
    "cloud": _paint_cloud,
    "car": _paint_car,
    "lamp": _paint_lamp,
    "person": _paint_person,
}


def _paint_background(canvas, rng, colour, width, height):
    """Paint a wall, a floor and a varying number of specks, which also make the size of the file say nothing."""
    horizon = round(height * rng.uniform(0.5, 0.9))
    canvas.rectangle([0, 0, width, horizon], fill=_near(rng, colour, 8))
    canvas.rectangle([0, horizon, width, height], fill=_near(rng, tuple(channel - 24 for channel in colour), 8))
    for _ in range(rng.randint(0, 320)):
        x, y, size = rng.randrange(width), rng.randrange(height), rng.randint(2, 5)
        canvas.ellipse([x, y, x + size, y + size], fill=_near(rng, colour, 40))


def draw_picture(
    rng: random.Random, background: str, objects: Iterable[tuple[str, GridCell]], image_size: tuple[int, int]
) -> Image.Image:
    """Draw a picture.

    Args:
        rng: a stream of random numbers; each object takes some, in the order of the objects.
        background: name of a colour, of `BACKGROUND_COLOURS`.
        objects: name, of `PAINTERS`, and cell of each object.
        image_size: width and height of the picture in pixels.

    Returns:
        The picture.
    """
    image = Image.new("RGB", (image_size[0] * OVERSAMPLING, image_size[1] * OVERSAMPLING))
    canvas = ImageDraw.Draw(image)
    _paint_background(canvas, rng, BACKGROUND_COLOURS[background], *image.size)
    for name, cell in objects:
        PAINTERS[name](_Pen(canvas, cell), rng)
    return image.reduce(OVERSAMPLING)


__all__ = ["BACKGROUND_COLOURS", "PAINTERS", "GridCell", "draw_picture"]
