"""The one door to data: posts of MNRE, synthetic ones, files, and data sets on the Hub or in a folder."""

import os
from collections.abc import Sequence
from pathlib import Path

import datasets

from .annotation_file import with_annotation
from .files import load_posts
from .hub import load_saved_posts
from .mnre import is_mnre_folder, load_mnre
from .protocols import without_regions
from .schema import REGION_COLUMNS, SPLITS
from .synthetic import make_synthetic_posts

# What `regions` may be beside the path of an annotation file; the first is the default.
REGION_SOURCES = {"mnre": ("released", "none"), "synthetic": ("drawn",)}
OTHER_REGION_SOURCES = ("as given", "none")
FILE_ENDINGS = (".csv", ".jsonl", ".json")


def kind_of_data(data: str | os.PathLike) -> str:
    """Tell the kind of data: `"mnre"`, `"synthetic"`, `"files"`, or `"saved"`, a folder or a name on the Hub."""
    data = str(data)
    if data in ("mnre", "synthetic", "files"):
        return data
    return "mnre" if os.path.isdir(data) and not _is_saved(data) and is_mnre_folder(data) else "saved"


def _is_saved(folder: str) -> bool:
    return any((Path(folder) / name).is_file() for name in ("dataset_dict.json", "state.json"))


def open_posts(
    data: str | os.PathLike,
    *,
    data_dir: str | os.PathLike | None = None,
    files: dict[str, str | os.PathLike | None] | None = None,
    image_dir: str | os.PathLike | None = None,
    regions: str | os.PathLike | None = None,
    captions: str | os.PathLike | Sequence[str | os.PathLike] | None = None,
    on_missing_image: str = "error",
    use_images: bool = True,
    columns: Sequence[str] | None = None,
    num_synthetic_posts: int = 2000,
) -> datasets.DatasetDict:
    """Load posts, wherever they are.

    Args:
        data: a folder of MNRE's files, or `"mnre"` with `data_dir`; `"synthetic"`; `"files"`, of a user's own; or a
            data set in our schema, a folder or a name on the Hub.
        data_dir: with `"mnre"`, the folder of its files.
        files: with `"files"`, the file of each split that has one, as [`load_posts`] reads them.
        image_dir: where the images of MNRE or of files are; below the folder, or beside the files, if not given.
        regions: the path of an annotation file, or of MNRE `"released"` (the default; **they give the label away**) or
            `"none"`, of synthetic posts `"drawn"`, of others `"as given"` (the default) or `"none"`.
        captions: an annotation file, or MNRE's caption files.
        on_missing_image: what happens if images are missing or unreadable: `"error"`, `"text_only"` (their posts lose
            image and regions), or `"keep"` (no image is looked at).
        use_images: `False` looks for no image of MNRE at all: the column is null, and regions stay.
        columns: the columns to load of a data set in our schema; all if not given.
        num_synthetic_posts: number of training posts, with `"synthetic"`.

    Returns:
        `datasets.DatasetDict` with those of `train`, `validation` and `test` that are there, and the columns of
        [`post_features`].

    Raises:
        OSError: a file, a folder, a data set or an image is not there.
        ValueError: an argument does not fit the data, or the data is bad; one report names all bad places.
    """
    kind = kind_of_data(data)
    if kind != "files" and any((files or {}).values()):
        raise ValueError(f"files of splits belong to the data 'files', not to {str(data)!r}")
    if str(data).lower().endswith(FILE_ENDINGS) and kind == "saved":
        raise ValueError(f"{data}: of files say which split they are: files --train_file {data} --test_file ...")
    if kind == "mnre":
        folder = data_dir if str(data) == "mnre" else data
        if folder is None:
            raise ValueError("the data 'mnre' needs `data_dir`, the folder of the MNRE files")
        return load_mnre(
            folder,
            regions="released" if regions is None else regions,
            captions=captions,
            on_missing_image=on_missing_image,
            image_dir=image_dir,
            use_images=use_images,
        )
    if kind == "synthetic":
        if regions not in (None, "drawn") or captions:
            raise ValueError("synthetic posts have their own regions and captions: leave `regions` and `captions` out")
        return make_synthetic_posts(num_train=num_synthetic_posts)
    if regions in ("released", "drawn"):
        raise ValueError(
            f"`regions` of {str(data)!r} is 'as given', 'none' or the path of an annotation file, not {regions!r}"
        )
    if captions is not None and not isinstance(captions, (str, os.PathLike)):
        if len(captions) > 1:
            raise ValueError(f"`captions` of {str(data)!r} is one annotation file, not {captions!r}")
        captions = captions[0] if captions else None
    if kind == "files":
        posts = load_posts(
            *((files or {}).get(split) for split in SPLITS), image_dir=image_dir, on_missing_image=on_missing_image
        )
    else:
        posts = load_saved_posts(data, columns, on_missing_image)
    annotation = None if regions in (None, "as given", "none") else regions
    posts = with_annotation(posts, annotation, captions)
    if regions == "none" and set(REGION_COLUMNS) <= set(next(iter(posts.values())).column_names):
        posts = datasets.DatasetDict({split: without_regions(rows) for split, rows in posts.items()})
    return posts


__all__ = ["kind_of_data", "open_posts"]
