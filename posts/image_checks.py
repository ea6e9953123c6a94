"""Images that cannot be decoded are found before anything is done with them."""

import io
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import datasets
from PIL import Image
from transformers.utils import logging

from mmre.processing.suggestions import unknown

ROWS_AT_ONCE = 1000
ON_MISSING_IMAGE = ("error", "text_only", "keep")
TEXT_ONLY_HINT = "on_missing_image='text_only' loads their posts without image and regions"


def check_on_missing_image(value: str) -> None:
    """Raise `ValueError` for a value of `on_missing_image` that is not known."""
    if value not in ON_MISSING_IMAGE:
        raise ValueError(unknown("on_missing_image", value, ON_MISSING_IMAGE))


def check_images(images: Sequence[str | dict]) -> list[str | None]:
    """Decode images, and return why each one cannot be decoded.

    Args:
        images: paths, or dictionaries with `bytes` or `path`.

    Returns:
        Per image the type and message of the decoder's error; None if the image is good.
    """
    with warnings.catch_warnings(), ThreadPoolExecutor() as pool:
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        # By index: a column of a data set reads its images one by one, and they do not fit into memory together.
        reasons = pool.map(lambda index: why_unreadable(images[index]), range(len(images)))
        return list(logging.tqdm(reasons, total=len(images), desc="Checking images", unit="image"))


def missing_images(dataset: datasets.Dataset) -> list[bool]:
    """Tell of each post whether its image is null, without reading images."""
    batches = dataset.select_columns(["image"]).with_format("arrow").iter(ROWS_AT_ONCE)
    return [is_null for batch in batches for is_null in batch.column("image").is_null().to_pylist()]


def why_unreadable(image: str | dict) -> str | None:
    """Return type and message of the error of decoding an image; None if it decodes."""
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


__all__ = ["ON_MISSING_IMAGE", "TEXT_ONLY_HINT", "check_images", "check_on_missing_image", "missing_images"]
