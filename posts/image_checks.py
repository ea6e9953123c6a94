"""Images that cannot be decoded are found before anything is done with them."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import datasets
from transformers.utils import logging

from mmre.processing.picture_files import MAX_PIXELS, check_image
from mmre.processing.suggestions import unknown

from .schema import ROWS_AT_ONCE

ON_MISSING_IMAGE = ("error", "text_only", "keep")
TEXT_ONLY_HINT = "on_missing_image='text_only' loads their posts without image and regions"


def check_on_missing_image(value: str) -> None:
    """Raise `ValueError` for a value of `on_missing_image` that is not known."""
    if value not in ON_MISSING_IMAGE:
        raise ValueError(unknown("on_missing_image", value, ON_MISSING_IMAGE))


def check_images(images: Sequence[str | dict], max_pixels: int = MAX_PIXELS) -> list[str | None]:
    """Decode images, and return why each one cannot be decoded.

    Args:
        images: paths, or dictionaries with `bytes` or `path`.
        max_pixels: most pixels of an image.

    Returns:
        Per image why a processor would refuse it; None if the image is good.
    """
    with ThreadPoolExecutor() as pool:
        # By index: a column of a data set reads its images one by one, and they do not fit into memory together.
        reasons = pool.map(lambda index: why_unreadable(images[index], max_pixels), range(len(images)))
        return list(logging.tqdm(reasons, total=len(images), desc="Checking images", unit="image"))


def missing_images(dataset: datasets.Dataset) -> list[bool]:
    """Tell of each post whether its image is null, without reading images."""
    batches = dataset.select_columns(["image"]).with_format("arrow").iter(ROWS_AT_ONCE)
    return [is_null for batch in batches for is_null in batch.column("image").is_null().to_pylist()]


def why_unreadable(image: str | dict, max_pixels: int = MAX_PIXELS) -> str | None:
    """Return why a processor would refuse an image; None if it would not."""
    try:
        check_image(image, max_pixels)
    except (OSError, ValueError) as error:
        # The decoder's own words: the report names the image already.
        error = error.__cause__ or error
        return f"{type(error).__name__}: {error}"
    return None


__all__ = ["ON_MISSING_IMAGE", "TEXT_ONLY_HINT", "check_images", "check_on_missing_image", "missing_images"]
