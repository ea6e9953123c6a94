"""A user's own posts: a file per split, JSON lines or CSV."""

import os
from collections.abc import Iterable

import datasets
from transformers.utils import logging

from mmre.processing.picture_files import MAX_PIXELS

from .checks import Problems
from .column_changes import without_images
from .image_checks import TEXT_ONLY_HINT, check_images, check_on_missing_image
from .lookalikes import escaped, one_form, path_on_disk, warn_of_alike
from .row_checks import Record, check_ids, check_post, check_relations, training_relations
from .row_readers import check_file, is_csv, read_csv, read_json_lines
from .schema import NEGATIVE_RELATION, ROWS_AT_ONCE, SPLITS, post_features
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

    problems, records, rows = Problems(), {}, {}
    for split, path in paths.items():
        records[split], rows[split] = read_file(path, split, image_dir, problems)
    if relations is None:
        known, source = training_relations(records["train"], paths["train"], problems), f"those of {paths['train']}"
    else:
        known, source = check_names(map(one_form, relations)), "the relations of the checkpoint, or the caller's"
    check_relations(records, known, source, problems)
    check_ids(records, problems)
    missing = Problems()
    unreadable = {} if on_missing_image == "keep" else find_unreadable(records, max_image_pixels, missing)
    if on_missing_image == "error":
        problems.extend(missing)
    problems.raise_if_any(TEXT_ONLY_HINT if missing and on_missing_image == "error" else "")
    if missing:
        logger.warning(missing.report())
    if not any(record.relation == NEGATIVE_RELATION for of_split in records.values() for record in of_split):
        logger.warning(
            f"No post has the relation {NEGATIVE_RELATION!r}. Posts without a relation must have it, by this name: "
            "precision, recall and F1 leave it out."
        )
    warn_of_alike(known)
    loaded, features = {}, post_features(known)
    numbers = {name: number for number, name in enumerate(known)}
    for split, of_split in rows.items():
        if unreadable.get(split):
            of_split = without_images(of_split, unreadable[split])
        ids = datasets.Dataset.from_dict(
            {"relation": [numbers[record.relation] for record in records[split]]},
            features=datasets.Features({"relation": features["relation"]}),
        )
        loaded[split] = datasets.concatenate_datasets([of_split, ids], axis=1).select_columns([*features])
    return datasets.DatasetDict(loaded)


def check_names(relations: Iterable[str]) -> list[str]:
    """Return names of relations as a list; raise `ValueError` unless the negative one is first, and each there once."""
    names = list(relations)
    if names[:1] != [NEGATIVE_RELATION] or len(set(names)) < len(names) or len(names) == 1:
        raise ValueError(f"relations={names!r}; expected {NEGATIVE_RELATION!r} first, then others, each once")
    return names


def read_file(
    path: str, split: str, image_dir: str | os.PathLike | None, problems: Problems
) -> tuple[list[Record], datasets.Dataset | None]:
    """Read the posts of a file; of what is long, such as texts and boxes, only the form that a data set holds is kept.

    Args:
        path: of the file.
        split: its split, for the ids of posts that have none.
        image_dir: the folder that relative paths of images start from; the folder of the file if not given.
        problems: gets what is wrong with the file.

    Returns:
        The records of the rows that are objects; and all columns but the relation, None if there are problems.
    """
    before, number, spans = len(problems), 0, Utf16Spans()
    folder = os.path.dirname(path) if image_dir is None else image_dir
    records, posts, parts, known = [], [], [], {}  # relations and paths that many posts share are kept once
    for number, (where, row) in enumerate((read_csv if is_csv(path) else read_json_lines)(path, problems), start=1):
        if row is None:
            continue
        post = check_post(row, path, where, problems, is_csv(path))
        if row.get("text") == post["text"] is not None:
            spans.look_at(path, where, post["text"], [(post[e]["start"], post[e]["end"]) for e in ("head", "tail")])
        post["id"] = post["id"] or f"{split}-{number - 1}"
        if post["image"] is not None:
            post["image"] = path_on_disk(os.path.abspath(os.path.join(folder, post["image"])))
        for name in ("relation", "image"):
            if isinstance(post[name], str):
                post[name] = known.setdefault(post[name], post[name])
        records.append(Record(post["id"], post["relation"], post["image"], path, where))
        posts.append(post)
        if len(posts) == ROWS_AT_ONCE:
            parts += _stored(posts, problems)
            posts = []
    spans.report(problems)
    if not number and len(problems) == before:
        problems.add(path, path, "content", "no posts", "one post on each line")
    parts += _stored(posts, problems)
    return records, None if problems else datasets.concatenate_datasets(parts)


def _stored(posts: list[dict], problems: Problems) -> list[datasets.Dataset]:
    """Return posts as a data set without relations; nothing for none, and where there are problems."""
    if problems or not posts:
        return []
    features = post_features([NEGATIVE_RELATION])
    del features["relation"]
    columns = {column: [post[column] for post in posts] for column in features}
    return [datasets.Dataset.from_dict(columns, features=features)]


def find_unreadable(records: dict[str, list[Record]], max_pixels: int, missing: Problems) -> dict[str, list[int]]:
    """Find the images that cannot be read.

    Args:
        records: of the posts of each split, with the path of each image.
        max_pixels: most pixels of an image.
        missing: gets these images.

    Returns:
        The indices of their posts in each split.
    """
    everywhere = (record.image for of_split in records.values() for record in of_split)
    paths = dict.fromkeys(path for path in everywhere if path is not None)
    there = [path for path in paths if os.path.isfile(path)]
    reasons = dict.fromkeys(paths, "there is no such file") | dict(zip(there, check_images(there, max_pixels)))
    unreadable = {split: [] for split in records}
    for split, of_split in records.items():
        for index, record in enumerate(of_split):
            reason = reasons.get(record.image)
            if reason:
                expected = "an image that can be read"
                found = f"{escaped(record.image)} ({reason})"
                missing.add(record.file, record.where, "image", found, expected)
                unreadable[split].append(index)
    return unreadable


__all__ = ["load_files"]
