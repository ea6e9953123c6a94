"""Synthetic posts: drawn pictures that tell the relation, beside texts and boxes that do not.

A post is made from one stream of random numbers in which the relation decides nothing but the name of the symbol, and
the symbol is painted last. So two posts from the same stream with different relations are the same, to the pixel,
outside the symbol's cell: that is what keeps the label out of everything else.
"""

import random

import datasets
from PIL import Image, ImageDraw

from .schema import NEGATIVE_RELATION, post_features
from .words import join_words

# The relations are MNRE's; each one is told by the symbol that stands somewhere in the picture.
RELATION_SYMBOLS = {
    "/per/per/couple": "heart",
    "/per/per/peer": "ball",
    "/per/org/member_of": "badge",
    "/per/loc/place_of_residence": "house",
    "/org/loc/locate_at": "tower",
    "/per/misc/awarded": "trophy",
    "/per/misc/nationality": "flag",
}
SYNTHETIC_RELATIONS = [NEGATIVE_RELATION, *RELATION_SYMBOLS]
RELATION_WEIGHTS = [3] + [1] * len(RELATION_SYMBOLS)  # MNRE has a large share of `None`; here it is 30 %

NEUTRAL_OBJECTS = ["umbrella", "cup", "tree", "cloud", "car", "lamp"]

GRID_COLUMNS, GRID_ROWS = 4, 3
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

NAME_STARTS = ["Bel", "Cor", "Dal", "Fen", "Gar", "Hol", "Jor", "Kel", "Lor", "Mer"]
NAME_STARTS += ["Nor", "Pel", "Quin", "Ros", "Sol", "Tor", "Ul", "Ves", "Wen", "Yar", "Zel"]
NAME_ENDS = ["adan", "avia", "elin", "emor", "enko", "idra", "imar", "isto", "olan", "orra", "udin", "uvo"]

TEMPLATES = [
    "{first} and {second} , what a night",
    "{first} with {second} this afternoon",
    "so glad to see {first} &amp; {second} in the news again !",
    "BREAKING : {first} talks about {second} for the first time",
    "Can we please talk about {first} and {second} ?",
    "just heard about {first} , then about {second} . No words",
    "Who else is thinking about {first} today ? {second} certainly is !",
    "I 've been following {first} since the {second} days and I am not tired of it yet",
    "{first} : it all began with {second}",
    "Throwback to {first} / {second} , summer of 2016",
    "New pictures of {first} and {second} from this week",
    "{first} 's story about {second} is worth a read",
    "The way {first} mentions {second} every single time",
    "what do you know about {first} ? Ask {second} .",
    "{first} x {second}",
    "Good morning from {first} , {second} and the rest of us",
    "watch : {first} answers your questions on {second} &amp; more , live at 8 pm",
    "I can not believe that {first} said this about {second} . Thread below , please share",
]
HASHTAGS = ["#throwback", "#MondayMood", "#news", "#live", "#NowPlaying", "#photo", "#weekend", "#trending", "#TBT"]
EMOJI = ["😂", "🔥", "👀", "✨", "😭", "🙌", "🤔"]

CAPTIONS = [
    "{count} people in front of a {colour} wall",
    "a group of {count} people",
    "a photo of {count} people standing in a {colour} room",
    "{count} people pose for a picture",
    "a {colour} background with {count} people and some things around them",
]
NUMBER_WORDS = {2: "two", 3: "three", 4: "four"}


class _Pen:
    """Paints shapes whose corners are given as fractions of an object's cell."""

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


def _place_cells(rng: random.Random, number: int, image_size: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    """Cells of the objects in pixels: one size distribution for all, each in its own slot of a grid."""
    slot_width, slot_height = image_size[0] / GRID_COLUMNS, image_size[1] / GRID_ROWS
    side = min(slot_width, slot_height)
    cells = []
    for slot in rng.sample(range(GRID_COLUMNS * GRID_ROWS), number):
        width, height = (int(side * rng.uniform(0.84, 1)) for _ in range(2))
        left = slot % GRID_COLUMNS * slot_width + rng.random() * (slot_width - width)
        top = slot // GRID_COLUMNS * slot_height + rng.random() * (slot_height - height)
        cells.append((int(left), int(top), int(left) + width, int(top) + height))
    return cells


def _paint_background(canvas, rng, colour, width, height):
    """A wall, a floor and a varying number of specks, which also make the size of the file say nothing."""
    horizon = round(height * rng.uniform(0.5, 0.9))
    canvas.rectangle([0, 0, width, horizon], fill=_near(rng, colour, 8))
    canvas.rectangle([0, horizon, width, height], fill=_near(rng, tuple(channel - 24 for channel in colour), 8))
    for _ in range(rng.randint(0, 320)):
        x, y, size = rng.randrange(width), rng.randrange(height), rng.randint(2, 5)
        canvas.ellipse([x, y, x + size, y + size], fill=_near(rng, colour, 40))


def _name(rng: random.Random) -> list[str]:
    number = rng.choices([1, 2, 3], weights=[5, 4, 1])[0]
    return [rng.choice(NAME_STARTS) + rng.choice(NAME_ENDS) for _ in range(number)]


def _user(rng: random.Random) -> str:
    return f"@{rng.choice(NAME_STARTS)}{rng.choice(NAME_ENDS)}{rng.choice(['', '_'])}{rng.randrange(1000)}"


def _write_text(rng: random.Random) -> tuple[str, dict, dict]:
    """Write the text of a post, with the spans of its head and tail."""
    tokens = ["RT", _user(rng), ":"] if rng.random() < 0.5 else []
    spans = []
    for word in rng.choice(TEMPLATES).split():
        if word in ("{first}", "{second}"):
            name = _name(rng)
            spans.append((len(tokens), len(tokens) + len(name)))
            tokens += name
        else:
            tokens.append(word)
    endings = [rng.choice(HASHTAGS), rng.choice(EMOJI), _user(rng), f"https://t.co/{rng.getrandbits(40):010x}"]
    tokens += rng.sample(endings, rng.randint(0, 3))
    rng.shuffle(spans)  # the tail may stand before the head
    text, spans = join_words(tokens, spans)
    return text, *({"start": start, "end": end} for start, end in spans)


def synthetic_post(rng: random.Random, relation: str, image_size: tuple[int, int]) -> dict:
    """One row of `make_synthetic_posts`, without its id; the relation decides the symbol's name and nothing else."""
    text, head, tail = _write_text(rng)

    number_of_people, number_of_things = rng.randint(2, 4), rng.randint(1, 3)
    neutral_symbol, *things = rng.sample(NEUTRAL_OBJECTS, 1 + number_of_things)
    symbol = RELATION_SYMBOLS.get(relation, neutral_symbol)
    symbol_cell, *other_cells = _place_cells(rng, 1 + number_of_people + number_of_things, image_size)

    # The people stand before the things in `other_cells`: one past the people is the first thing.
    grounded = [symbol_cell, *rng.sample(other_cells[: number_of_people + 1], rng.randint(0, 3))]
    rng.shuffle(grounded)
    detected = rng.sample([symbol_cell, *other_cells], rng.randint(0, 3))

    background = rng.choice(list(BACKGROUND_COLOURS))
    caption = rng.choice(CAPTIONS).format(count=NUMBER_WORDS[number_of_people], colour=background)

    image = Image.new("RGB", (image_size[0] * OVERSAMPLING, image_size[1] * OVERSAMPLING))
    canvas = ImageDraw.Draw(image)
    _paint_background(canvas, rng, BACKGROUND_COLOURS[background], *image.size)
    for name, cell in zip(["person"] * number_of_people + things, other_cells, strict=True):
        PAINTERS[name](_Pen(canvas, cell), rng)
    PAINTERS[symbol](_Pen(canvas, symbol_cell), rng)  # last, so that its random numbers shift no one else's

    return {
        "text": text,
        "head": head,
        "tail": tail,
        "image": image.reduce(OVERSAMPLING),
        "relation": relation,
        "grounded_regions": [_fractions(cell, image_size) for cell in grounded],
        "detected_regions": [_fractions(cell, image_size) for cell in detected],
        "caption": caption,
    }


def _fractions(cell: tuple[int, int, int, int], image_size: tuple[int, int]) -> list[float]:
    return [value / image_size[i % 2] for i, value in enumerate(cell)]


def make_synthetic_posts(
    num_train: int = 2000,
    num_validation: int = 300,
    num_test: int = 300,
    seed: int = 0,
    image_size: tuple[int, int] = (160, 120),
) -> datasets.DatasetDict:
    """Make posts whose relation only the picture tells.

    A model that ignores the picture, or reads the label out of the number, the order or the size of the boxes, cannot
    beat the majority on them; a tiny model that looks at the picture learns them from scratch in minutes. That makes
    them a standing proof that a model, its processor and its training use the pictures.

    Args:
        num_train: number of posts in the split `train`.
        num_validation: number of posts in the split `validation`.
        num_test: number of posts in the split `test`.
        seed: posts of the same seed, split and index are the same, whatever the sizes of the splits.
        image_size: width and height of the pictures in pixels.

    Returns:
        `datasets.DatasetDict` with the features `post_features(SYNTHETIC_RELATIONS)`. Among a post's grounded regions
        is the box of the symbol that tells the relation (of a neutral object, for `None`).
    """
    features = post_features(SYNTHETIC_RELATIONS)
    sizes = {"train": num_train, "validation": num_validation, "test": num_test}
    splits = {}
    for split, size in sizes.items():
        rows = []
        for index in range(size):
            rng = random.Random(f"{seed}-{split}-{index}")  # noqa: S311 (not for secrets)
            relation = rng.choices(SYNTHETIC_RELATIONS, RELATION_WEIGHTS)[0]
            row = {"id": f"{split}-{index}", **synthetic_post(rng, relation, image_size)}
            rows.append(features.encode_example(row))
        columns = {name: [row[name] for row in rows] for name in features}  # `from_list` refuses an empty split
        splits[split] = datasets.Dataset.from_dict(columns, features=features)
    return datasets.DatasetDict(splits)
