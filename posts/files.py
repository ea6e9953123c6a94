"""A user's own posts: a file per split, JSON lines or CSV."""

import os
from collections.abc import Iterable

import datasets
from transformers.utils import logging

from mmre.processing.picture_files import MAX_PIXELS

from .checks import Problems
from .image_checks import TEXT_ONLY_HINT, check_images, check_on_missing_image
from .lookalikes import escaped, one_form, path_on_disk, warn_of_alike
from .row_checks import check_ids, check_post, check_relations, training_relations
from .row_readers import check_file, is_csv, read_csv, read_json_lines
from .schema import NEGATIVE_RELATION, REGION_COLUMNS, SPLITS, post_features
from .utf16 import Utf16Spans

logger = logging.get_logger(__name__)


def load_files(
    train: str | os.PathLike | None = None,
    validation: str | os.PathLike | None = None,
    test: str | os.PathLike | None = None,
    relations: Iterable[str] | None = None,
    image_dir: str | os.PathLike | None = None,
    on_missing_image: str = "error",
    max_image_pixels: int = MAX_PIXELS,
) -> datasets.DatasetDict:
    """Load a user's own posts, one file per split: JSON lines (`.jsonl`, `.json`) or CSV (`.csv`), in UTF-8.

    A line of JSON is `{"text": "Ann weds Bo", "head": [0, 3], "tail": [9, 11], "image": "a.jpg", "relation": "wed"}`;
    `{"start": 0, "end": 3}` does for a span as well. Spans are in characters (Unicode code points), end exclusive; with
    `tokens`, a list of words, in place of `text`, they are in words. `id`, `image`, `grounded_regions`,
    `detected_regions` (lists of boxes `[x_min, y_min, x_max, y_max]`, fractions of the image) and `caption` may be null
    or left out. A CSV file has a header with the columns `text`, `head_start`, `head_end`, `tail_start`, `tail_end` and
    `relation`, and may have `id`, `image`, `caption` and, as JSON, `grounded_regions` and `detected_regions`; an empty
    cell is null. A post whose entities have no relation says `None` as its relation.

    Words are joined by single spaces, and their spans become spans of characters. Everything is checked before anything
    is returned: each row, each box, and each image, which has to exist and to decode.

    Args:
        train: file of the training posts.
        validation: file of the validation posts.
        test: file of the test posts.
        relations: names of the relations in the order of their ids, `None` first. Those of the training file if not
            given: `None`, whether it is there or not, and then the others in alphabetical order.
        image_dir: the folder that relative paths of images start from; the folder of their file if not given.
        on_missing_image: what happens if images are missing or unreadable. `"error"` raises; `"text_only"` logs the
            same report as a warning and leaves their posts without image and regions. `"keep"` does not look at images.
        max_image_pixels: most pixels of an image; a larger one counts as unreadable.

    Returns:
        `datasets.DatasetDict` with the splits that have a file, and the columns of [`post_features`]. An `id` that is
        not given is `"{split}-{row}"`, rows counted from 0. The images stay on disk until a row is read.

    Raises:
        FileNotFoundError: a file or `image_dir` is not there.
        ValueError: an argument is wrong, or the data is bad; then one report names all bad places of all files.
    """
    check_on_missing_image(on_missing_image)
    if image_dir is not None and not os.path.isdir(image_dir):
        raise FileNotFoundError(f"{image_dir} is not a folder")
    paths = {split: str(path) for split, path in zip(SPLITS, (train, validation, test)) if path is not None}
    if relations is None and train is None:
        raise ValueError("no file of training posts, whose relations are the ones to know: give `train` or `relations`")
    for path in paths.values():
        check_file(path)

    problems = Problems()
    splits = {split: read_file(path, split, problems) for split, path in paths.items()}
    if relations is None:
        known, source = training_relations(splits["train"], paths["train"], problems), f"those of {paths['train']}"
    else:
        known, source = check_names(map(one_form, relations)), "the relations of the checkpoint, or the caller's"
    check_relations(splits, known, source, problems)
    check_ids(splits, problems)
    missing = add_image_paths(splits, image_dir, on_missing_image != "keep", max_image_pixels)
    if on_missing_image == "error":
        problems.extend(missing)
    problems.raise_if_any(TEXT_ONLY_HINT if missing and on_missing_image == "error" else "")
    if missing:
        logger.warning(missing.report())
    if not any(post["relation"] == NEGATIVE_RELATION for posts in splits.values() for post in posts):
        logger.warning(
            f"No post has the relation {NEGATIVE_RELATION!r}. Posts without a relation must have it, by this name: "
            "precision, recall and F1 leave it out."
        )
    warn_of_alike(known)
    features = post_features(known)
    return datasets.DatasetDict(
        {
            split: datasets.Dataset.from_dict(
                {column: [post[column] for post in posts] for column in features}, features=features
            )
            for split, posts in splits.items()
        }
    )


def check_names(relations: Iterable[str]) -> list[str]:
    """Return names of relations as a list; raise `ValueError` unless the negative one is first, and each there once."""
    names = list(relations)
    if names[:1] != [NEGATIVE_RELATION] or len(set(names)) < len(names) or len(names) == 1:
        raise ValueError(f"relations={names!r}; expected {NEGATIVE_RELATION!r} first, then others, each once")
    return names


def read_file(path: str, split: str, problems: Problems) -> list[dict]:
    """Read the posts of a file, the bad ones too, so that later rows keep their number."""
    before, posts, spans = len(problems), [], Utf16Spans()
    for where, row in (read_csv if is_csv(path) else read_json_lines)(path, problems):
        post = {"id": None, "image": None, "relation": None} | dict.fromkeys(REGION_COLUMNS, [])
        if row is not None:
            post = check_post(row, path, where, problems, is_csv(path))
            if row.get("text") == post["text"] is not None:
                spans.look_at(path, where, post["text"], [(post[e]["start"], post[e]["end"]) for e in ("head", "tail")])
        post |= {"id": post["id"] or f"{split}-{len(posts)}", "file": path, "where": where}
        posts.append(post)
    spans.report(problems)
    if not posts and len(problems) == before:
        problems.add(path, path, "content", "no posts", "one post on each line")
    return posts


def add_image_paths(
    splits: dict[str, list[dict]], image_dir: str | os.PathLike | None, look: bool, max_pixels: int
) -> Problems:
    """Give each post the path of its image.

    Args:
        splits: the posts of each split; those whose image cannot be read lose image and regions.
        image_dir: the folder that relative paths start from; the folder of their file if not given.
        look: whether to look at the images.
        max_pixels: most pixels of an image.

    Returns:
        The images that cannot be read.
    """
    missing = Problems()
    for posts in splits.values():
        for post in posts:
            if post["image"] is not None:
                folder = os.path.dirname(post["file"]) if image_dir is None else image_dir
                post["image"] = path_on_disk(os.path.abspath(os.path.join(folder, post["image"])))
    if not look:
        return missing
    paths = dict.fromkeys(post["image"] for posts in splits.values() for post in posts if post["image"] is not None)
    there = [path for path in paths if os.path.isfile(path)]
    reasons = dict.fromkeys(paths, "there is no such file") | dict(zip(there, check_images(there, max_pixels)))
    for posts in splits.values():
        for post in posts:
            reason = reasons.get(post["image"])
            if reason:
                expected = "an image that can be read"
                missing.add(post["file"], post["where"], "image", f"{escaped(post['image'])} ({reason})", expected)
                post |= {"image": None, **{column: [] for column in REGION_COLUMNS}}
    return missing


__all__ = ["load_files"]
