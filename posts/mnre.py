"""MNRE (version 2), read from the folders in which people have it."""

import ast
import json
import math
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import datasets
from transformers.utils import logging

from mmre.processing.picture_files import MAX_PIXELS
from mmre.processing.suggestions import unknown
from mmre.processing.words import join_words

from .annotation_file import add_annotation, read_annotation_header
from .checks import Problems, is_text, short, show, some, told_text
from .image_checks import TEXT_ONLY_HINT, check_images, check_on_missing_image
from .lookalikes import composed
from .mnre_files import (
    BOX_FILES,
    DETECTED_NAME_FILES,
    GROUNDED_NAME_FILES,
    RELATION_FILES,
    find_box_files,
    find_file,
    find_image,
    find_texts,
    index_files,
    names_of,
    version_1,
)
from .mnre_regions import LEAK, add_detected_boxes, add_grounded_boxes
from .schema import NEGATIVE_RELATION, REGION_COLUMNS, post_features

logger = logging.get_logger(__name__)

MNRE_RELATIONS = [
    NEGATIVE_RELATION,
    "/per/per/parent",
    "/per/per/siblings",
    "/per/per/couple",
    "/per/per/neighbor",
    "/per/per/peer",
    "/per/per/charges",
    "/per/per/alumi",  # spelt so in the data
    "/per/per/alternate_names",
    "/per/org/member_of",
    "/per/loc/place_of_residence",
    "/per/loc/place_of_birth",
    "/org/org/alternate_names",
    "/org/org/subsidiary",
    "/org/loc/locate_at",
    "/loc/loc/contain",
    "/per/misc/present_in",
    "/per/misc/awarded",
    "/per/misc/race",
    "/per/misc/religion",
    "/per/misc/nationality",
    "/misc/misc/part_of",
    "/misc/loc/held_on",
]
VERSION_1_RELATIONS = ("none", "/per/misc/creat", "/loc/loc/administration_divisions")

# What `regions` may be beside the path of an annotation file; the first is the default of `open_posts`.
MNRE_REGIONS = ("released", "detected", "none")


def load_mnre(
    data_dir: str | os.PathLike,
    regions: str | os.PathLike = "none",
    captions: str | os.PathLike | Iterable[str | os.PathLike] | None = None,
    on_missing_image: str = "error",
    image_dir: str | os.PathLike | None = None,
    use_images: bool = True,
    max_image_pixels: int = MAX_PIXELS,
) -> datasets.DatasetDict:
    """Load MNRE, version 2, from the authors' repository, the HVPNeT / MKGformer archive, or a mix of both.

    The files are found by their names, wherever below `data_dir` they lie: `mnre_{train,val,test}.txt` or
    `ours_{train,val,test}.txt` ("dev" and "validation" do for "val"), and the images that the text names. A split
    without a text file is left out. Everything is checked before anything is returned: each row, each box, and each
    image, which has to exist and to decode. Words are joined by single spaces; no word of MNRE holds a space.

    Args:
        data_dir: folder of the data set.
        regions: `"none"`; `"released"`, the boxes of FocalMRE's `{train,dev,test}_{vg,detect}_box_dict.pth`, **which
            give the gold relation away**; `"detected"`, those of `{train,dev,test}_detect_box_dict.pth` alone, which
            know nothing of it; or the path of an annotation file, as `mmre annotate` writes them.
        captions: an annotation file, or one or several files of MNRE captions (a line is a Python literal
            `{'img_id': ..., 'text': ...}`). Without them the column is null.
        on_missing_image: what happens if images are missing or unreadable. `"error"` raises; `"text_only"` logs the
            same report as a warning and leaves their posts without image and regions; `"keep"` does not look at images,
            and gives those that are not there a path at which nothing is.
        image_dir: where the images are, in one folder or in one per split; below `data_dir` if not given.
        max_image_pixels: most pixels of an image; a larger one counts as unreadable.
        use_images: `False` looks for no image at all: the column is null, and regions stay. For what counts regions.

    Returns:
        `datasets.DatasetDict` with those of `train`, `validation` and `test` that are there, and the columns of
        [`post_features`]. `id` is `"{split}-{line}"` with the line of the text file counted from 0, as the released
        region files count it. The images stay on disk until a row is read.

    Raises:
        FileNotFoundError: a folder, all text files, a box file that `regions` needs, or an image is not there.
        ValueError: an argument is unknown, the data is version 1 of MNRE, two files that differ could both be meant,
            an image is unreadable, or the data is bad; then one report names all bad places of all splits.
    """
    check_on_missing_image(on_missing_image)
    if regions not in MNRE_REGIONS and not os.path.isfile(str(regions)):
        raise ValueError(f"{unknown('regions', str(regions), MNRE_REGIONS)} (or the path of an annotation file)")
    captions = _listed(captions)
    annotations = [path for path in captions if read_annotation_header(path)]
    if annotations and len(captions) > 1:
        raise ValueError(f"captions: {annotations[0]} is an annotation file, which holds all captions: give it alone")

    files = index_files(data_dir)
    texts = find_texts(files, data_dir)
    box_files = find_box_files(files, texts, data_dir, regions) if regions in BOX_FILES else {}

    problems = Problems()
    check_relation_ids(find_file(files, RELATION_FILES), problems)
    posts = {split: read_text_file(path, split, problems) for split, path in texts.items()}
    for split, (*grounded, detected) in box_files.items():
        name_files = [find_file(files, names_of(kind, split)) for kind in (GROUNDED_NAME_FILES, DETECTED_NAME_FILES)]
        if grounded:
            add_grounded_boxes(posts[split], *grounded, name_files[0], problems)
        add_detected_boxes(posts[split], detected, name_files[1], problems)
    columns_of = defaultdict(list)  # annotation file -> what is taken from it
    if regions not in MNRE_REGIONS:
        columns_of[Path(regions)] += REGION_COLUMNS
    if annotations:
        columns_of[Path(captions[0])] += ["caption"]
    elif captions:
        add_captions(posts, captions, problems)
    every = [post for rows in posts.values() for post in rows.values()]
    for path, columns in columns_of.items():
        add_annotation(every, path, columns, problems)
    problems.raise_if_any()

    if not use_images:
        for post in every:
            post["image"] = None
    elif image_dir is None:
        add_mnre_images(posts, files, data_dir, on_missing_image, max_image_pixels)
    else:
        add_mnre_images(posts, index_files(image_dir), image_dir, on_missing_image, max_image_pixels)
    if regions == "released":
        logger.warning_once(LEAK)
    features = post_features(MNRE_RELATIONS)
    return datasets.DatasetDict(
        {
            split: datasets.Dataset.from_dict(
                {column: [post[column] for post in rows.values()] for column in features}, features=features
            )
            for split, rows in posts.items()
        }
    )


def _listed(paths: str | os.PathLike | Iterable[str | os.PathLike] | None) -> list[str | os.PathLike]:
    if paths is None or isinstance(paths, (str, os.PathLike)):
        return [] if paths is None else [paths]
    return list(paths)


def check_relation_ids(path: str | None, problems: Problems) -> None:
    """Hold the ids that come with the data to the usual ones: other people's predictions are in these."""
    if path is None:
        return
    try:
        ids = dict(json.loads(Path(path).read_bytes()))
    except (ValueError, TypeError) as error:
        problems.add(path, path, "content", str(error), "a JSON object from relations to ids")
        return
    if any(relation in ids for relation in VERSION_1_RELATIONS):
        raise version_1(path)
    usual = {relation: index for index, relation in enumerate(MNRE_RELATIONS)}
    for relation in {**usual, **ids}:
        found, expected = ids.get(relation), usual.get(relation)
        if found != expected:
            problems.add(path, path, relation, show(found), show(expected))


def read_literals(path: str | os.PathLike, problems: Problems) -> Iterator[tuple[int, dict | None]]:
    """Yield each line that is not blank, with its number from 0; None for one that is malformed."""
    # Not splitlines: to it, characters that may stand in a post end a line too.
    for line, raw in enumerate(Path(path).read_bytes().split(b"\n")):
        if not raw.strip():
            continue
        try:
            row = ast.literal_eval(raw.decode("utf-8-sig").strip())
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            row = None
        if not isinstance(row, dict):
            found = short.repr(raw.decode(errors="replace"))
            problems.add(path, f"{path}:{line + 1}", "line", found, "a dictionary as a Python literal")
            row = None
        yield line, row


def read_text_file(path: str, split: str, problems: Problems) -> dict[int, dict]:
    """Read the posts of a split.

    Args:
        path: of the text file.
        split: its split, the first part of each `id`.
        problems: gets what is wrong with the file.

    Returns:
        The posts by line number, with `img_id` in place of `image`. A bad one is there too, so that what refers to
        its line is not called bad as well.

    Raises:
        ValueError: the file is one of version 1.
    """
    posts = {}
    for line, row in read_literals(path, problems):
        if row and row.get("relation") in VERSION_1_RELATIONS:
            raise version_1(f"{path}:{line + 1}")
        posts[line] = {"id": f"{split}-{line}", "grounded_regions": [], "detected_regions": [], "caption": None}
        posts[line] |= read_line(row, path, f"{path}:{line + 1}", problems) if row is not None else {"img_id": None}
    if not posts:
        problems.add(path, path, "content", "no line", "posts")
    return posts


def read_line(row: dict, file: str, where: str, problems: Problems) -> dict:
    """Return the columns of a post that its line gives."""

    def check(good: bool, field: str, found: Any, expected: str) -> None:
        if not good:
            problems.add(file, where, field, show(found), expected)

    tokens, img_id, relation = row.get("token"), row.get("img_id"), row.get("relation")
    has_words = isinstance(tokens, list) and tokens and all(is_text(word) and word.strip() for word in tokens)
    check(has_words, "token", tokens, told_text(tokens, "a list of words, at least one, none of them blank"))
    check(is_text(img_id) and img_id, "img_id", img_id, "the name of an image")
    if not isinstance(relation, str):
        check(False, "relation", relation, "the name of a relation")
    elif relation not in MNRE_RELATIONS:
        problems.note(file, where, "relation", unknown("relation", relation, MNRE_RELATIONS))
    post = {"text": None, "img_id": img_id if isinstance(img_id, str) else None, "relation": relation}
    spans = {}
    for column, field in (("head", "h"), ("tail", "t")):
        entity = row.get(field)
        span = entity.get("pos") if isinstance(entity, dict) else None
        ints = isinstance(span, (list, tuple)) and len(span) == 2 and all(type(bound) is int for bound in span)
        length = len(tokens) if has_words else math.inf
        inside = ints and 0 <= span[0] < span[1] <= length
        check(inside, f"{field}.pos", span, f"[start, end), not empty, within {length if has_words else 'its'} tokens")
        spans[column] = tuple(span) if inside else None
        if inside and has_words and "name" in entity:
            words = " ".join(tokens[span[0] : span[1]])
            check(entity["name"] == words, f"{field}.name", entity["name"], f"{words!r}, the words at {field}.pos")
    if has_words and None not in spans.values():
        post["text"], joined = join_words(tokens, spans.values())
        post |= {column: {"start": start, "end": end} for column, (start, end) in zip(spans, joined)}
    return post


def add_captions(posts: dict[str, dict[int, dict]], paths: list[str | os.PathLike], problems: Problems) -> None:
    """Give each post the caption of its image.

    Args:
        posts: by split and line number, with `img_id`; they get `caption`.
        paths: the files of captions.
        problems: gets what is wrong with the files.
    """
    captions = {}
    for path in paths:
        for line, row in read_literals(path, problems):
            if row is None:
                continue
            where, img_id, text = f"{path}:{line + 1}", row.get("img_id"), row.get("text")
            if not is_text(img_id) or not is_text(text):
                expected = told_text([img_id, text], "two strings")
                problems.add(path, where, "img_id, text", f"{show(img_id)}, {show(text)}", expected)
            elif captions.setdefault(img_id, text.strip()) != text.strip():
                problems.add(path, where, "text", show(text), f"no second caption of {img_id}")
    missing = {}
    for post in (post for rows in posts.values() for post in rows.values()):
        post["caption"] = captions.get(post["img_id"])
        if post["caption"] is None and post["img_id"] is not None:
            missing[post["img_id"]] = None
    if missing:
        where = ", ".join(map(str, paths))
        problems.add(where, where, "captions", f"{len(missing)} image(s) without one: {some(missing)}", "one for each")


def add_mnre_images(
    posts: dict[str, dict[int, dict]],
    files: dict[str, list[str]],
    folder: str | os.PathLike,
    on_missing_image: str,
    max_pixels: int,
) -> None:
    """Give each post the path of its image, after a look at all of them.

    Args:
        posts: by split and line number, with `img_id`; they get `image`.
        files: from [`index_files`].
        folder: the folder that was indexed.
        on_missing_image: as [`load_mnre`] takes it.
        max_pixels: most pixels of an image.

    Raises:
        FileNotFoundError: images are missing.
        ValueError: images are unreadable.
    """
    images = {}
    for split, rows in posts.items():
        wanted = dict.fromkeys(post["img_id"] for post in rows.values())
        images[split] = {name: find_image(files.get(composed(name), []), folder, split) for name in wanted}
    if on_missing_image == "keep":
        for split, rows in posts.items():
            for post in rows.values():
                post["image"] = images[split][post["img_id"]] or os.path.abspath(os.path.join(folder, post["img_id"]))
        return
    paths = list(dict.fromkeys(path for found in images.values() for path in found.values() if path))
    reasons = {None: "not found", **dict(zip(paths, check_images(paths, max_pixels)))}

    report = []
    for split, found in images.items():
        failed = [f"{name} ({reasons[path]})" for name, path in found.items() if reasons[path]]
        if failed:
            report.append(f"{split}: {len(failed)} of {len(found)} images: {some(failed)}")
    if report:
        message = "\n  ".join([f"Images missing or unreadable ({os.path.abspath(folder)} was searched):", *report])
        if on_missing_image == "error":
            error = FileNotFoundError if any(None in found.values() for found in images.values()) else ValueError
            raise error(f"{message}\n{TEXT_ONLY_HINT}")
        logger.warning(message)

    for split, rows in posts.items():
        for post in rows.values():
            path = images[split][post["img_id"]]
            post["image"] = None if reasons[path] else path
            if reasons[path]:  # boxes mean nothing without their image
                post |= {column: [] for column in REGION_COLUMNS}


__all__ = ["MNRE_REGIONS", "MNRE_RELATIONS", "load_mnre", "read_text_file"]
