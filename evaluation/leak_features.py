"""The features of a leak audit: what can be told of a post without a look at what it means."""

from collections import Counter, defaultdict
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import datasets
import numpy as np
from PIL import Image

from mmre.posts.fingerprint import picture_keys
from mmre.processing.words import Span

# The name of the feature that training can hide, by `markers_in_text_order`.
ENTITY_ORDER = "which entity comes first"
SOURCES = ("regions", "pictures", "captions", "texts")

# A feature is known by its source, of `SOURCES`, and its name.
Feature = tuple[str, str]


class PictureFacts(NamedTuple):
    """Facts of a post's picture that its file's header tells.

    Args:
        key: equal for posts with the same picture.
        width: in pixels; `None`, as the rest, if the file is not there.
        height: in pixels.
        format: of the file, as PIL names it.
    """

    key: str
    width: int | None = None
    height: int | None = None
    format: str | None = None


def picture_facts(posts: datasets.Dataset) -> list[PictureFacts | None]:
    """Read the headers of all pictures, decoding none.

    Args:
        posts: a split of a data set of posts.

    Returns:
        The facts of each post's picture; `None` for a post without one.

    Raises:
        ValueError: if a picture cannot be read.
    """
    pictures = posts.select_columns(["image"]).cast_column("image", datasets.Image(decode=False))["image"]
    known = {None: None}  # many posts may share a picture
    facts = []
    for key, picture in zip(picture_keys(posts), pictures):
        if key not in known:
            known[key] = _read_header(key, picture)
        facts.append(known[key])
    return facts


def _read_header(key: str, picture: dict) -> PictureFacts:
    embedded = picture["bytes"] is not None
    if not embedded and not Path(picture["path"]).is_file():
        return PictureFacts(key)
    try:
        with Image.open(BytesIO(picture["bytes"]) if embedded else picture["path"]) as image:
            return PictureFacts(key, *image.size, image.format)
    except Exception as error:  # the decoders raise nearly everything on a broken file
        raise ValueError(f"the picture {key} cannot be read: {type(error).__name__}: {error}") from error


class Columns:
    """Holds the columns of a split that features are made of, read once."""

    def __init__(self, posts: datasets.Dataset):
        self.texts = posts["text"][:]
        self.heads = [(span["start"], span["end"]) for span in posts["head"][:]]
        self.tails = [(span["start"], span["end"]) for span in posts["tail"][:]]
        self.captions = [caption or "" for caption in posts["caption"][:]]
        self.boxes = {
            kind: [np.array(boxes, dtype=float).reshape(-1, 4) for boxes in posts[f"{kind}_regions"][:]]
            for kind in ("grounded", "detected")
        }
        self.pictures = picture_facts(posts)


def numeric_features(columns: Columns) -> dict[Feature, np.ndarray | None]:
    """Compute the features that are one number per post.

    Args:
        columns: of a split of N posts.

    Returns:
        For each feature its values, (N,); `None` if most pictures, which the feature needs, are not there.
    """
    features = _box_features(columns) | _picture_features(columns) | _caption_features(columns)
    features |= _text_features(columns)
    return {key: None if values is None else np.array(values, dtype=float) for key, values in features.items()}


def _box_features(columns: Columns) -> dict[Feature, list]:
    features = {}
    for kind, posts in columns.boxes.items():
        areas = [(boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) for boxes in posts]
        features |= {
            f"number of {kind} regions": [len(boxes) for boxes in posts],
            f"identical {kind} boxes": [len(boxes) - len({tuple(box) for box in boxes}) for boxes in posts],
            f"mean area of {kind} boxes": [_mean(area) for area in areas],
            f"largest {kind} box": [max(area, default=0) for area in areas],
            f"smallest {kind} box": [min(area, default=0) for area in areas],
            f"mean x of {kind} boxes": [_mean(boxes[:, [0, 2]]) for boxes in posts],
            f"mean y of {kind} boxes": [_mean(boxes[:, [1, 3]]) for boxes in posts],
        }
    return {("regions", name): values for name, values in features.items()}


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else 0.0


def _picture_features(columns: Columns) -> dict[Feature, list | None]:
    known = [facts for facts in columns.pictures if facts is not None and facts.width is not None]
    formats = sorted({facts.format or "" for facts in known})
    rows = [
        (1, facts.width, facts.height, 1 + formats.index(facts.format or ""))
        if facts is not None and facts.width is not None
        else (0, 0, 0, 0)
        for facts in columns.pictures
    ]
    # With few pictures at hand, "no leak" would say nothing of the pictures of the data set.
    enough = 2 * len(known) >= len(columns.pictures)
    names = ("picture is there", "picture width", "picture height", "picture format")
    return {("pictures", name): [row[index] for row in rows] if enough else None for index, name in enumerate(names)}


def _caption_features(columns: Columns) -> dict[Feature, list]:
    return {
        ("captions", "caption length in characters"): [len(caption) for caption in columns.captions],
        ("captions", "caption length in words"): [len(caption.split()) for caption in columns.captions],
    }


def _text_features(columns: Columns) -> dict[Feature, list]:
    pairs = list(zip(columns.heads, columns.tails))
    entities = defaultdict(set)
    for text, pair in zip(columns.texts, pairs):
        entities[text].update(pair)
    listed, pair_listed = Counter(columns.texts), Counter(zip(columns.texts, pairs))
    in_words = [[word_span(text, span) for span in pair] for text, pair in zip(columns.texts, pairs)]
    features = {
        "text length in words": [len(text.split()) for text in columns.texts],
        "text length in characters": [len(text) for text in columns.texts],
        "entities marked in the text": [len(entities[text]) for text in columns.texts],
        "pairs listed of the text": [listed[text] for text in columns.texts],
        "times the pair is listed": [pair_listed[key] for key in zip(columns.texts, pairs)],
        "words between the entities": [max(head[0], tail[0]) - min(head[1], tail[1]) for head, tail in in_words],
        "words of the head": [head[1] - head[0] for head, _ in in_words],
        "words of the tail": [tail[1] - tail[0] for _, tail in in_words],
        ENTITY_ORDER: [int(np.sign(tail[0] - head[0])) for head, tail in pairs],
        "place of the first entity": [min(head[0], tail[0]) for head, tail in in_words],
    }
    return {("texts", name): values for name, values in features.items()}


def word_span(text: str, span: Span) -> Span:
    """Turn a span of characters into the words, split at white space, that it touches."""
    before = text[: span[0]].split()
    start = len(before) - (bool(before) and not text[span[0] - 1].isspace() and not text[span[0]].isspace())
    return start, len(text[: span[1]].split())


def shared_features(columns: Columns) -> dict[Feature, list]:
    """Return the features that are keys: posts with equal keys, of any split, have something in common.

    Returns:
        For each feature the key of each post; `None` for a post without one.
    """
    return {
        ("pictures", "same picture in train"): [facts and facts.key for facts in columns.pictures],
        ("texts", "same text in train"): columns.texts,
        ("texts", "same text and pair in train"): list(zip(columns.texts, columns.heads, columns.tails)),
    }


__all__ = [
    "ENTITY_ORDER",
    "SOURCES",
    "Columns",
    "PictureFacts",
    "numeric_features",
    "picture_facts",
    "shared_features",
    "word_span",
]
