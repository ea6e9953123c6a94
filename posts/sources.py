"""The one door to data: posts of MNRE, made ones, files, and data sets on the Hub or in a folder."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import datasets

from mmre.processing.picture_files import MAX_PIXELS
from mmre.processing.suggestions import unknown

from .annotation_file import with_annotation
from .column_changes import drop_regions, with_relations
from .digits import make_digit_posts
from .files import load_files
from .hub import is_saved, load_saved_posts
from .image_checks import check_on_missing_image
from .mnre import MNRE_REGIONS, load_mnre
from .mnre_files import is_mnre_folder
from .row_readers import FILE_ENDINGS
from .schema import NEGATIVE_RELATION, REGION_COLUMNS, SPLITS, post_features
from .synthetic import make_synthetic_posts

MADE_DATA = ("synthetic", "digits")  # by the code: nothing is read
NAMED_DATA = ("mnre", *MADE_DATA, "files")
# What `regions` of each kind may be beside the path of an annotation file; the first is the default.
REGION_SOURCES = {
    "mnre": MNRE_REGIONS,
    **dict.fromkeys(MADE_DATA, ("drawn", "none")),
    "files": ("as given", "none"),
    "saved": ("as given", "none"),
}


def kind_of_data(data: str | os.PathLike) -> str:
    """Tell the kind of data.

    Args:
        data: as [`open_posts`] takes it.

    Returns:
        `"mnre"`, by that name or for a folder of its text files; `"synthetic"`; `"digits"`; `"files"`, by that name or
        for a folder of them; or `"saved"`, for a data set in a folder or on the Hub.
    """
    data = str(data)
    if data in NAMED_DATA:
        return data
    if not os.path.isdir(data) or is_saved(data):
        return "saved"
    if find_split_files(data):
        return "files"
    return "mnre" if is_mnre_folder(data) else "saved"


def find_split_files(folder: str | os.PathLike) -> dict[str, str]:
    """Find the files of a user's own posts in a folder, as `mmre import` writes them: `train.jsonl` and so on.

    Returns:
        The path of each split that has a file; of two files of a split, the first of `.csv`, `.jsonl` and `.json`.
    """
    paths = {split: [os.path.join(folder, split + ending) for ending in FILE_ENDINGS] for split in SPLITS}
    there = {split: [path for path in of_split if os.path.isfile(path)] for split, of_split in paths.items()}
    return {split: found[0] for split, found in there.items() if found}


def open_posts(
    data: str | os.PathLike,
    *,
    data_dir: str | os.PathLike | None = None,
    files: Mapping[str, str | os.PathLike | None] | None = None,
    image_dir: str | os.PathLike | None = None,
    regions: str | os.PathLike | None = None,
    captions: str | os.PathLike | Sequence[str | os.PathLike] | None = None,
    on_missing_image: str = "error",
    use_images: bool = True,
    columns: Sequence[str] | None = None,
    relations: Sequence[str] | None = None,
    max_image_pixels: int = MAX_PIXELS,
    num_synthetic_posts: int = 2000,
) -> datasets.DatasetDict:
    """Open posts, wherever they are.

    Args:
        data: `"mnre"`, with `data_dir`, or the folder of its files; `"synthetic"`; `"digits"`; `"files"`, of a user's
            own, or a folder with `train.jsonl` and so on (or `.csv`); or a data set in our schema: a folder of
            `save_to_disk` or of parquet files, or a name on the Hub.
        data_dir: with `"mnre"`, the folder of its files.
        files: with `"files"`, the file of each split that has one, as [`load_files`] reads them.
        image_dir: the folder of the images of MNRE (below the folder of its files if not given), or the one that
            relative paths in files start from (the folder of the file if not given).
        regions: the path of an annotation file, or of MNRE `"released"` (the default; **they give the label away**),
            `"detected"` (the detected ones of these) or `"none"`, of made posts `"drawn"` (the default) or
            `"none"`, of others `"as given"` (the default) or `"none"`.
        captions: the path of an annotation file; of MNRE also one or several files of MNRE captions.
        on_missing_image: what happens if images are missing or unreadable: `"error"`; `"text_only"` (a warning, and
            their posts lose image and regions); or `"keep"` (no image is looked at, and one that is missing is a path
            at which nothing is).
        use_images: `False` looks for no image at all, and regions stay. Of MNRE the column is null; other posts keep
            their paths, which may lead to nothing.
        columns: the columns to return, of those of [`post_features`]; all if not given. A data set in our schema may
            lack the others.
        relations: names of the relations in the order of their ids, such as those of a checkpoint; those of the data if
            not given. Posts may have only some of them.
        max_image_pixels: most pixels of an image; a larger one counts as unreadable.
        num_synthetic_posts: number of training posts, with `"synthetic"` or `"digits"`.

    Returns:
        `datasets.DatasetDict` with those of `train`, `validation` and `test` that are there, and the columns.

    Raises:
        OSError: a file, a folder, a data set or an image is not there.
        ValueError: an argument does not fit the data, or the data is bad; one report names all bad places.
    """
    data, kind = str(data), kind_of_data(data)
    captions = [captions] if isinstance(captions, (str, os.PathLike)) else list(captions or ())
    files = {split: path for split, path in (files or {}).items() if path is not None}
    check_places(
        data,
        data_dir=data_dir,
        files=files,
        image_dir=image_dir,
        regions=regions,
        captions=captions,
        on_missing_image=on_missing_image,
    )
    if not use_images and kind != "mnre":
        on_missing_image = "keep"
    for column in columns or ():
        if column not in post_features([NEGATIVE_RELATION]):
            raise ValueError(unknown("column", column, post_features([NEGATIVE_RELATION])))

    if kind == "mnre":
        posts = load_mnre(
            data_dir if data == "mnre" else data,
            regions=REGION_SOURCES[kind][0] if regions is None else regions,
            captions=captions,
            on_missing_image=on_missing_image,
            max_image_pixels=max_image_pixels,
            image_dir=image_dir,
            use_images=use_images,
        )
    else:
        if kind == "synthetic":
            posts = make_synthetic_posts(num_train=num_synthetic_posts)
        elif kind == "digits":
            posts = make_digit_posts(num_train=num_synthetic_posts)
        elif kind == "files":
            posts = load_files(
                **(files or find_split_files(data)),
                relations=relations,
                image_dir=image_dir,
                on_missing_image=on_missing_image,
                max_image_pixels=max_image_pixels,
            )
        else:
            of_annotation = [*(REGION_COLUMNS if _is_path(kind, regions) else ()), *(["caption"] if captions else [])]
            needed = None if columns is None else list(dict.fromkeys([*columns, "image", *of_annotation]))
            posts = load_saved_posts(data, needed if of_annotation else columns, on_missing_image, max_image_pixels)
        annotation = regions if _is_path(kind, regions) else None
        posts = with_annotation(posts, annotation, captions[0] if captions else None)
        if regions == "none":
            posts = datasets.DatasetDict({split: drop_regions(rows) for split, rows in posts.items()})
    if relations is not None and "relation" in next(iter(posts.values())).column_names:
        posts = with_relations(posts, relations)
    return posts if columns is None else posts.select_columns(list(columns))


def check_places(
    data: str | os.PathLike,
    *,
    data_dir: str | os.PathLike | None = None,
    files: Mapping[str, str | os.PathLike | None] | None = None,
    image_dir: str | os.PathLike | None = None,
    regions: str | os.PathLike | None = None,
    captions: str | os.PathLike | Sequence[str | os.PathLike] | None = None,
    on_missing_image: str = "error",
) -> None:
    """Check that arguments of [`open_posts`] fit each other, before any post is read.

    Raises:
        FileNotFoundError: caption files are not there.
        ValueError: a name is unknown, or an argument does not fit the data.
    """
    data, kind = str(data), kind_of_data(data)
    captions = [captions] if isinstance(captions, (str, os.PathLike)) else list(captions or ())
    files = {split: path for split, path in (files or {}).items() if path is not None}
    check_on_missing_image(on_missing_image)
    _check_arguments(data, kind, data_dir, files, image_dir)
    _check_sources(kind, regions, captions)


def _is_path(kind: str, regions: str | os.PathLike | None) -> bool:
    return regions is not None and regions not in REGION_SOURCES[kind]


def _check_arguments(
    data: str,
    kind: str,
    data_dir: str | os.PathLike | None,
    files: Mapping[str, str | os.PathLike],
    image_dir: str | os.PathLike | None,
) -> None:
    """Raise `ValueError` for arguments that another kind of data takes, or that this kind lacks."""
    if data == "mnre" and data_dir is None:
        raise ValueError("the data 'mnre' needs `data_dir`, the folder of its files")
    if data != "mnre" and data_dir is not None:
        raise ValueError(f"`data_dir` belongs to the data 'mnre', not to {data!r}")
    if data == "files" and not files:
        raise ValueError("the data 'files' needs `files`, a file of at least the split 'train'")
    if data != "files" and files:
        raise ValueError(f"`files` belongs to the data 'files', not to {data!r}")
    for split in files:
        if split not in SPLITS:
            raise ValueError(unknown("split", split, SPLITS))
    if kind in (*MADE_DATA, "saved") and image_dir is not None:
        raise ValueError(f"`image_dir` belongs to MNRE and to 'files', not to {data!r}, which has its images in it")
    if kind == "saved" and Path(data).suffix.lower() in FILE_ENDINGS:
        raise ValueError(f"{data} is a file of posts: give the data 'files', and this file as that of its split")
    if kind == "saved" and not os.path.exists(data) and "/" not in data:
        clause = unknown("data", data, NAMED_DATA)
        if clause.endswith("?"):
            raise ValueError(clause)


def _check_sources(kind: str, regions: str | os.PathLike | None, captions: Sequence[str | os.PathLike]) -> None:
    """Raise an error for regions and captions that this kind of data cannot have, or that are not there."""
    if _is_path(kind, regions) and not os.path.isfile(regions):
        clause = unknown("regions", str(regions), REGION_SOURCES[kind])
        raise ValueError(f"{clause} (or the path of an annotation file)")
    for path in captions:
        if not os.path.isfile(path):
            raise FileNotFoundError(f"captions: {path}: there is no such file")
    if kind != "mnre" and len(captions) > 1:
        raise ValueError(f"captions: {len(captions)} files; expected one annotation file")


__all__ = ["MADE_DATA", "NAMED_DATA", "REGION_SOURCES", "check_places", "kind_of_data", "open_posts"]
