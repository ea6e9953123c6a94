"""Data sets in our schema, on the Hub or in a folder."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
from datasets.data_files import EmptyDatasetError

from .checks import Problems, check_images, show
from .files import check_ids, check_post, check_regions_have_image
from .schema import NEGATIVE_RELATION, SPLITS, post_features

# Files that `save_to_disk` leaves in a folder.
SAVED_FILES = ("dataset_dict.json", "state.json")
WORDS = {"tokens": datasets.List(datasets.Value("string"))}


def load_saved_posts(
    name: str | os.PathLike, columns: Sequence[str] | None = None, on_missing_image: str = "error"
) -> datasets.DatasetDict:
    """Load a data set in our schema, as `DatasetDict.push_to_hub` or `save_to_disk` leaves it.

    A data set of an earlier version, with `tokens` and spans of words, is converted: words are joined by single spaces.

    Args:
        name: name of a data set on the Hub, or path of a folder.
        columns: the columns to load, of those of [`post_features`]; all if not given. The others are never read.
        on_missing_image: `"keep"` does not look at images; otherwise one that cannot be read is an error.

    Returns:
        `datasets.DatasetDict` with those of `train`, `validation` and `test` that are there, and the columns.

    Raises:
        OSError: there is no such data set or folder.
        ValueError: its splits or its columns are others, or the data is bad; then one report names all bad places.
    """
    columns = list(post_features([NEGATIVE_RELATION])) if columns is None else list(columns)
    loaded = _load(str(name))
    strange = [split for split in loaded if split not in SPLITS]
    if strange:
        raise ValueError(f"{name}: splits: {', '.join(map(repr, strange))}; expected only {', '.join(SPLITS)}")
    for split, rows in loaded.items():
        check_schema(rows.features, f"{name}, {split}", columns)
    if "relation" in columns:
        check_same_relations(loaded, str(name))
    has_words = "text" not in next(iter(loaded.values())).features  # a data set of an earlier version
    stored = [column for column in columns if column != "text"] + (["tokens"] if has_words else ["text"])
    loaded = {split: rows.select_columns(stored) for split, rows in loaded.items()}

    problems, splits = Problems(), {}
    for split, rows in loaded.items():
        where = f"{name}, {split}"
        splits[split] = check_rows(rows, where, problems)
        if on_missing_image != "keep":
            check_stored_images(rows, splits[split], where, problems)
    check_ids(splits, problems)
    if not any(splits.values()):
        problems.add(str(name), str(name), "content", "no posts", "at least one")
    problems.raise_if_any()
    if has_words:
        loaded = {split: _with_text(rows, splits[split]) for split, rows in loaded.items()}
    return datasets.DatasetDict({split: rows.select_columns(columns) for split, rows in loaded.items()})


def _load(name: str) -> dict[str, datasets.Dataset]:
    """Load all splits; a single data set of `save_to_disk` counts as `train`."""
    if any((Path(name) / file).is_file() for file in SAVED_FILES):
        loaded = datasets.load_from_disk(name)
        return loaded if isinstance(loaded, dict) else {"train": loaded}
    try:
        return datasets.load_dataset(name)
    except datasets.exceptions.DatasetNotFoundError as error:
        raise ValueError(
            f"{name}: there is no such folder, nor such a data set on the Hub. If it is private: `hf auth login`, or "
            f"set HF_TOKEN. {error}"
        ) from error
    except EmptyDatasetError as error:
        raise ValueError(
            f"{name} holds no posts; expected MNRE's text files, what `DatasetDict.save_to_disk` writes, or parquet "
            "files"
        ) from error
    except datasets.exceptions.DatasetsError as error:
        raise ValueError(f"{name}: {error}: {error.__cause__}") from error


def check_rows(rows: datasets.Dataset, where: str, problems: Problems) -> list[dict]:
    """Check each row of a split, and return the posts with the place where each stands."""
    names = getattr(rows.features.get("relation"), "names", None)
    posts = []
    for index, row in enumerate(rows.remove_columns("image")):
        place = f"{where}[{index}]"
        post = check_post(row | {"image": "below"}, where, place, problems)
        label = post["relation"]
        if names is not None and (type(label) is not int or not 0 <= label < len(names)):
            problems.add(where, place, "relation", show(label), f"the id of a relation, 0 to {len(names) - 1}")
        if post["id"] is None:
            problems.add(where, place, "id", "nothing", "text, another one for each post")
        posts.append(post | {"file": where, "where": place})
    return posts


def _with_text(rows: datasets.Dataset, posts: list[dict]) -> datasets.Dataset:
    """Replace words and spans of words by the text and the spans of characters that checked posts have."""
    columns = ["text", "head", "tail"]
    all_features = post_features([NEGATIVE_RELATION])
    features = datasets.Features({column: all_features[column] for column in columns})
    text = datasets.Dataset.from_dict(
        {column: [post[column] for post in posts] for column in columns}, features=features
    )
    return datasets.concatenate_datasets([rows.remove_columns(["tokens", "head", "tail"]), text], axis=1)


def check_same_relations(loaded: dict[str, datasets.Dataset], name: str) -> None:
    """Refuse splits whose relations differ, or stand in another order."""
    names = next(iter(loaded.values())).features["relation"].names
    for split, rows in loaded.items():
        if rows.features["relation"].names != names:
            raise ValueError(
                f"{name}, {split}: relation: {show(rows.features['relation'].names)}; expected those of the other "
                f"splits, in the same order: {show(names)}"
            )


def check_schema(features: datasets.Features, where: str, columns: Sequence[str]) -> None:
    """Refuse columns that are missing or of other types than the collator and the metric rely on."""
    label = features.get("relation")
    schema = post_features(label.names if isinstance(label, datasets.ClassLabel) else [NEGATIVE_RELATION])
    expected: dict[str, Any] = {column: schema[column] for column in columns}
    if "text" not in features and "tokens" in features:
        del expected["text"]
        expected |= WORDS
    report = []
    for column, kind in expected.items():
        if column not in features:
            report.append(f"{column}: nothing; expected a column of {kind}")
        elif column == "relation" and not isinstance(label, datasets.ClassLabel):
            report.append(f"{column}: {label}; expected ClassLabel, with {NEGATIVE_RELATION!r} as its first name")
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


def check_stored_images(rows: datasets.Dataset, posts: list[dict], where: str, problems: Problems) -> None:
    """Report each image that does not decode, and regions of posts without one."""
    stored = rows.select_columns(["image"]).cast_column("image", datasets.Image(decode=False))
    missing = rows.data.column("image").is_null().to_pylist()
    for post in (post for post, is_missing in zip(posts, missing) if is_missing):
        check_regions_have_image(post, where, post["where"], problems)
    there = [index for index, is_missing in enumerate(missing) if not is_missing]
    for index, reason in zip(there, check_images(stored.select(there)["image"])):
        if reason:
            problems.add(where, posts[index]["where"], "image", reason, "an image, embedded as `push_to_hub` does it")


__all__ = ["load_saved_posts"]
