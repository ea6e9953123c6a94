"""How bad data is found and shown, whatever files it comes from."""

import io
import json
import reprlib
import warnings
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from PIL import Image
from transformers.utils import logging

NAMES_IN_REPORT = 10
LINES_IN_REPORT = 100

short = reprlib.Repr()
short.maxstring = short.maxother = 100


def show(value: Any) -> str:
    return "nothing" if value is None else short.repr(value)


def some(items: Iterable[str]) -> str:
    items = list(items)
    more = len(items) - NAMES_IN_REPORT
    return ", ".join(items[:NAMES_IN_REPORT]) + (f" and {more} more" if more > 0 else "")


def problem_report(problems: Sequence[str]) -> str:
    """The first of the problems, and the number of the others."""
    more = [f"and {len(problems) - LINES_IN_REPORT} more"] if len(problems) > LINES_IN_REPORT else []
    return "\n  ".join([f"{len(problems)} problem(s) in the data:", *problems[:LINES_IN_REPORT], *more])


def is_numbers(value: Any, length: int) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == length and all(type(v) in (int, float) for v in value)


def read_json(raw: bytes) -> Any:
    try:
        return json.loads(raw.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None


def check_images(images: Sequence[str | dict]) -> list[str | None]:
    """Why each image cannot be decoded, None if it can; an image is a path, or its bytes or path in a dictionary."""
    with warnings.catch_warnings(), ThreadPoolExecutor() as pool:
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        # By index: a column of a data set reads its images one by one, and they do not fit into memory together.
        reasons = pool.map(lambda index: why_unreadable(images[index]), range(len(images)))
        return list(logging.tqdm(reasons, total=len(images), desc="Checking images", unit="image"))


def why_unreadable(image: str | dict) -> str | None:
    if isinstance(image, dict):
        image = io.BytesIO(image["bytes"]) if image["bytes"] is not None else image["path"]
    try:
        with Image.open(image) as opened:
            opened.draft("RGB", (1, 1))  # a JPEG is read to its end all the same, but decoded at an eighth of its size
            opened.load()
            opened.getexif()  # datasets turns images as it says
    except Exception as error:  # the decoders raise nearly everything on a broken file
        return f"{type(error).__name__}: {error}"
    return None
