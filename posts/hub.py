"""Data sets in our schema, on the Hub or in a folder."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
from transformers.utils import logging

from mmre.processing.picture_files import MAX_PIXELS
from mmre.processing.suggestions import unknown
from mmre.processing.words import join_words

from .checks import Problems, show
from .column_changes import without_images
from .image_checks import TEXT_ONLY_HINT, check_images, check_on_missing_image, missing_images
from .lookalikes import has_invisible, one_form, warn_of_alike
from .row_checks import Record, check_ids, check_post
from .schema import NEGATIVE_RELATION, ROWS_AT_ONCE, SPLITS, post_features
from .utf16 import Utf16Spans

logger = logging.get_logger(__name__)

# Files that `save_to_disk` leaves in a folder.
SAVED_FILES = ("dataset_dict.json", "state.json")
# Columns that are always read, and checked.
CHECKED_COLUMNS = ("id", "text", "head", "tail")
HUB_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")
WORDS = datasets.List(datasets.Value("string"))  # type of the `tokens` that a data set of an earlier version has


def is_saved(folder: str | os.PathLike) -> bool:
    """Tell whether `save_to_disk` wrote a folder."""
    return any((Path(folder) / name).is_file() for name in SAVED_FILES)


def load_saved_posts(
    name: str | os.PathLike,
    columns: Sequence[str] | None = None,
    on_missing_image: str = "error",
    max_image_pixels: int = MAX_PIXELS,
) -> datasets.DatasetDict:
    """Load a data set in our schema, as `DatasetDict.push_to_hub` or `save_to_disk` leaves it.

    A data set of an earlier version, with `tokens` and spans of words, is converted: words are joined by single spaces.

    Args:
        name: name of a data set on the Hub, or path of a folder.
        columns: the columns to return, of those of [`post_features`]; all if not given. The others may be missing.
        on_missing_image: what happens if images are unreadable. `"error"` raises; `"text_only"` logs the same report
            as a warning and leaves their posts without image and regions; `"keep"` does not look at images.
        max_image_pixels: most pixels of an image; a larger one counts as unreadable.

    Returns:
        `datasets.DatasetDict` with those of `train`, `validation` and `test` that are there, and the columns.

    Raises:
        OSError: there is no such data set or folder.
        ValueError: its splits or its columns are others, or the data is bad; then one report names all bad places.
    """
    check_on_missing_image(on_missing_image)
    wanted = list(post_features([NEGATIVE_RELATION])) if columns is None else list(columns)
    columns = list(dict.fromkeys([*CHECKED_COLUMNS, *wanted]))
    loaded = _load(str(name))
    for split in loaded:
        if split not in SPLITS:
            raise ValueError(f"{name}: split {split!r}; expected {', '.join(SPLITS)}: rename or remove it")
    for split, rows in loaded.items():
        check_schema(rows.features, f"{name}, {split}", columns)
    if "relation" in columns:
        check_same_relations(loaded, str(name))
        warn_of_alike(next(iter(loaded.values())).features["relation"].names)
    has_words = "text" not in next(iter(loaded.values())).features
    stored = ["tokens" if has_words and column == "text" else column for column in columns]
    loaded = {split: rows.select_columns(stored) for split, rows in loaded.items()}

    problems, missing, checked = Problems(), Problems(), {}
    for split, rows in loaded.items():
        where = f"{name}, {split}"
        looks = "image" in columns and on_missing_image != "keep"
        without_image = missing_images(rows) if looks else [False] * len(rows)
        checked[split] = check_rows(rows, without_image, where, problems)
        if looks:
            unreadable = check_stored_images(rows, without_image, where, missing, max_image_pixels)
            if unreadable and on_missing_image == "text_only":
                loaded[split] = without_images(rows, unreadable)
    check_ids(checked, problems)
    if not any(checked.values()):
        problems.add(str(name), str(name), "content", "no posts", "at least one")
    if on_missing_image == "error":
        problems.extend(missing)
    problems.raise_if_any(TEXT_ONLY_HINT if missing and on_missing_image == "error" else "")
    if missing:
        logger.warning(missing.report())
    if has_words:
        loaded = {split: _with_text(rows) for split, rows in loaded.items()}
    return datasets.DatasetDict({split: rows.select_columns(wanted) for split, rows in loaded.items()})


def _load(name: str) -> dict[str, datasets.Dataset]:
    """Load all splits; a single data set of `save_to_disk` counts as `train`."""
    if os.path.isfile(name):
        raise ValueError(f"{name} is a file; expected a folder, or the name of a data set on the Hub")
    if is_saved(name):
        loaded = datasets.load_from_disk(name)
        return loaded if isinstance(loaded, dict) else {"train": loaded}
    if not os.path.isdir(name) and not HUB_NAME.fullmatch(name):
        raise FileNotFoundError(f"{name}: there is no such folder{_folder_hint(name)}")
    try:
        return datasets.load_dataset(name)
    except datasets.exceptions.DatasetNotFoundError as error:
        raise FileNotFoundError(
            f"{name}: there is no such folder{_folder_hint(name)}, nor such a data set on the Hub. If it is private: "
            f"`hf auth login`, or set HF_TOKEN. {error}"
        ) from error
    except ConnectionError as error:
        raise ConnectionError(
            f"{name}: there is no such folder{_folder_hint(name)}, and the Hub does not answer: {error}"
        ) from error
    except FileNotFoundError as error:  # of a folder with nothing in it
        raise FileNotFoundError(
            f"{name}: no text file of MNRE, no data set of `save_to_disk` and no parquet file in it. {error}"
        ) from error
    except (PermissionError, NotADirectoryError, FileExistsError) as error:
        raise OSError(
            f"the cache of datasets, {datasets.config.HF_DATASETS_CACHE}, cannot be written: {error}. Set "
            "HF_DATASETS_CACHE to another folder"
        ) from error
    except datasets.exceptions.DatasetsError as error:
        raise ValueError(f"{name}: {error}: {error.__cause__}") from error


def _folder_hint(name: str) -> str:
    """Suggest, in brackets, the folder with the nearest name, for a path where there is nothing."""
    path = Path(name)
    folders = sorted(entry.name for entry in path.parent.iterdir() if entry.is_dir()) if path.parent.is_dir() else []
    clause = unknown("folder", path.name, folders)
    return f" ({clause})" if clause.endswith("?") else ""


def check_rows(rows: datasets.Dataset, without_image: Sequence[bool], where: str, problems: Problems) -> list[Record]:
    """Check each row of a split, but for the images.

    Args:
        rows: of the split.
        without_image: of each row whether it may have no regions, for it has no image.
        where: name of the split.
        problems: gets what is wrong.

    Returns:
        The records of the posts.
    """
    names = getattr(rows.features.get("relation"), "names", None)
    records, spans = [], Utf16Spans()
    for index, row in enumerate(rows.remove_columns([name for name in ["image"] if name in rows.column_names])):
        place = f"{where}[{index}]"
        post = check_post(row | {"image": None if without_image[index] else "below"}, where, place, problems)
        label = post["relation"]
        if names is not None and (type(label) is not int or not 0 <= label < len(names)):
            problems.add(where, place, "relation", show(label), f"the id of a relation, 0 to {len(names) - 1}")
        if post["id"] is None:
            problems.add(where, place, "id", "nothing", "text, another one for each post")
        records.append(Record(post["id"], label, None, where, place))
        if row.get("text") == post["text"] is not None:
            spans.look_at(where, place, post["text"], [(post[e]["start"], post[e]["end"]) for e in ("head", "tail")])
    spans.report(problems)
    return records


def _with_text(rows: datasets.Dataset) -> datasets.Dataset:
    """Replace words and spans of words, which are checked, by the text and the spans of characters."""
    columns, schema = ["text", "head", "tail"], post_features([NEGATIVE_RELATION])
    features = datasets.Features({column: schema[column] for column in columns})
    parts = [datasets.Dataset.from_dict({column: [] for column in columns}, features=features)]
    for batch in rows.select_columns(["tokens", "head", "tail"]).iter(ROWS_AT_ONCE):
        spans = ([(span["start"], span["end"]) for span in pair] for pair in zip(batch["head"], batch["tail"]))
        joined = [join_words(words, pair) for words, pair in zip(batch["tokens"], spans)]
        texts = {"text": [text for text, _ in joined]}
        for number, entity in enumerate(("head", "tail")):
            texts[entity] = [dict(zip(("start", "end"), pair[number])) for _, pair in joined]
        parts.append(datasets.Dataset.from_dict(texts, features=features))
    kept = rows.remove_columns(["tokens", "head", "tail"])
    return datasets.concatenate_datasets([kept, datasets.concatenate_datasets(parts)], axis=1)


def check_same_relations(loaded: dict[str, datasets.Dataset], name: str) -> None:
    """Raise `ValueError` for splits whose relations differ, or stand in another order."""
    names = next(iter(loaded.values())).features["relation"].names
    for split, rows in loaded.items():
        if rows.features["relation"].names != names:
            raise ValueError(
                f"{name}, {split}: relation: {show(rows.features['relation'].names)}; expected those of the other "
                f"splits, in the same order: {show(names)}"
            )


def check_schema(features: datasets.Features, where: str, columns: Sequence[str]) -> None:
    """Raise `ValueError` for columns that are missing, or of other types than those of [`post_features`]."""
    label = features.get("relation")
    schema = post_features(label.names if isinstance(label, datasets.ClassLabel) else [NEGATIVE_RELATION])
    expected: dict[str, Any] = {column: schema[column] for column in columns}
    if "text" not in features and "tokens" in features:
        del expected["text"]
        expected["tokens"] = WORDS
    report = []
    for column, kind in expected.items():
        if column not in features:
            report.append(f"{column}: nothing; expected a column of {kind}")
        elif column == "relation" and not isinstance(label, datasets.ClassLabel):
            report.append(f"{column}: {label}; expected ClassLabel, with {NEGATIVE_RELATION!r} as its first name")
        elif column == "relation" and any(map(has_invisible, label.names)):
            found = ", ".join(ascii(name) for name in label.names if has_invisible(name))
            report.append(f"{column}: the names {found}; expected names without invisible characters")
        elif column == "relation" and len(set(map(one_form, label.names))) < len(label.names):
            report.append(
                f"{column}: names that look the same, {', '.join(map(ascii, label.names))}; expected each once"
            )
        elif column == "relation" and label.names[:1] != [NEGATIVE_RELATION]:
            report.append(
                f"{column}: the names {show(label.names)}; expected {NEGATIVE_RELATION!r} as the first of them"
            )
        elif column == "image" and isinstance(features[column], datasets.Image):
            continue
        elif features[column] != kind:
            report.append(f"{column}: {features[column]}; expected {kind}")
    if report:
        raise ValueError(
            "\n  ".join([f"{where}: the columns are not those of a data set of posts:", *report])
            + "\nAdd the columns that are missing, then posts.cast(mmre.posts.post_features(relations)) gives all "
            "columns their types."
        )


def check_stored_images(
    rows: datasets.Dataset, without_image: Sequence[bool], where: str, missing: Problems, max_pixels: int
) -> list[int]:
    """Check that the images of a split decode.

    Args:
        rows: of a split.
        without_image: of each row whether it has no image.
        where: name of the split.
        missing: gets the images that do not decode.
        max_pixels: most pixels of an image.

    Returns:
        The indices of the rows whose images do not decode.
    """
    stored = rows.select_columns(["image"]).cast_column("image", datasets.Image(decode=False))
    there, unreadable = [index for index, lacks in enumerate(without_image) if not lacks], []
    for index, reason in zip(there, check_images(stored.select(there)["image"], max_pixels)):
        if reason:
            expected = "an image, embedded as `push_to_hub` does it"
            missing.add(where, f"{where}[{index}]", "image", reason, expected)
            unreadable.append(index)
    return unreadable


__all__ = ["is_saved", "load_saved_posts"]
