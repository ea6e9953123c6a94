"""Synthetic posts: drawn pictures that tell the relation, beside texts and boxes that do not.

A post is made from one stream of random numbers in which the relation decides nothing but the name of the symbol, and
the symbol is painted last. So two posts from the same stream with different relations are the same, to the pixel,
outside the symbol's cell: that is what keeps the label out of everything else.
"""

import random

import datasets

from mmre.processing.words import join_words

from .drawings import BACKGROUND_COLOURS, GridCell, draw_picture
from .made_posts import make_splits
from .schema import NEGATIVE_RELATION

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


def _place_cells(rng: random.Random, number: int, image_size: tuple[int, int]) -> list[GridCell]:
    """Place a cell for each object in a slot of a grid of its own, all from one distribution of sizes."""
    slot_width, slot_height = image_size[0] / GRID_COLUMNS, image_size[1] / GRID_ROWS
    side = min(slot_width, slot_height)
    cells = []
    for slot in rng.sample(range(GRID_COLUMNS * GRID_ROWS), number):
        width, height = (int(side * rng.uniform(0.84, 1)) for _ in range(2))
        left = slot % GRID_COLUMNS * slot_width + rng.random() * (slot_width - width)
        top = slot // GRID_COLUMNS * slot_height + rng.random() * (slot_height - height)
        cells.append((int(left), int(top), int(left) + width, int(top) + height))
    return cells


def random_name(rng: random.Random) -> list[str]:
    """Return the words of a made-up name."""
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
            name = random_name(rng)
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
    """Make a row of [`make_synthetic_posts`], without its id; the relation decides the symbol's name and nothing else.

    Args:
        rng: the stream of random numbers that decides all the rest.
        relation: one of `SYNTHETIC_RELATIONS`.
        image_size: width and height of the picture in pixels.

    Returns:
        The columns of [`post_features`] but for `id`; `image` is a picture, `relation` a name.
    """
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

    # The symbol is last, so that its random numbers shift no one else's.
    objects = [*zip(["person"] * number_of_people + things, other_cells, strict=True), (symbol, symbol_cell)]
    image = draw_picture(rng, background, objects, image_size)

    return {
        "text": text,
        "head": head,
        "tail": tail,
        "image": image,
        "relation": relation,
        "grounded_regions": [_fractions(cell, image_size) for cell in grounded],
        "detected_regions": [_fractions(cell, image_size) for cell in detected],
        "caption": caption,
    }


def _fractions(cell: GridCell, image_size: tuple[int, int]) -> list[float]:
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
    sizes = {"train": num_train, "validation": num_validation, "test": num_test}

    def make_post(rng: random.Random, split: str) -> dict:  # noqa: ARG001, a split is like the others
        return synthetic_post(rng, rng.choices(SYNTHETIC_RELATIONS, RELATION_WEIGHTS)[0], image_size)

    return make_splits(SYNTHETIC_RELATIONS, sizes, seed, make_post)


__all__ = ["SYNTHETIC_RELATIONS", "make_synthetic_posts", "random_name", "synthetic_post"]
