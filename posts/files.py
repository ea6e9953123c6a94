"""A user's own posts: JSON lines and CSV files, or a data set in our schema on the Hub or in a folder."""

import csv
import difflib
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import datasets
from transformers.utils import logging

from mmre.processing.focal_augmentation import clip_box

from .checks import Problems, check_images, is_numbers, read_json, show
from .schema import NEGATIVE_RELATION, REGION_COLUMNS, SPLITS, post_features
from .words import Span, join_words

logger = logging.get_logger(__name__)

JSON_FIELDS = ("id", "text", "tokens", "head", "tail", "image", "relation", *REGION_COLUMNS, "caption")
SPAN_COLUMNS = {"head": ("head_start", "head_end"), "tail": ("tail_start", "tail_end")}
NEEDED_COLUMNS = ("text", *SPAN_COLUMNS["head"], *SPAN_COLUMNS["tail"], "relation")
CSV_COLUMNS = (*NEEDED_COLUMNS, "id", "image", *REGION_COLUMNS, "caption")
CSV_SEPARATORS = (",", ";", "\t")  # a spreadsheet writes the second where the comma is in numbers

Check = Callable[[bool, str, Any, str], bool]


def load_posts(
    train: str | os.PathLike | None = None,
    validation: str | os.PathLike | None = None,
    test: str | os.PathLike | None = None,
    relations: Iterable[str] | None = None,
    image_dir: str | os.PathLike | None = None,
    on_missing_image: str = "error",
) -> datasets.DatasetDict:
    """Load a user's own posts, one file per split: JSON lines (`.jsonl`, `.json`) or CSV (`.csv`), in UTF-8.

    A line of JSON is `{"text": "Ann weds Bo", "head": [0, 3], "tail": [9, 11], "image": "a.jpg", "relation": "wed"}`;
    `{"start": 0, "end": 3}` does for a span as well. Spans are in characters (Unicode code points), end exclusive; with
    `tokens`, a list of words, in place of `text`, they are in words. `id`, `image`, `grounded_regions`,
    `detected_regions` (lists of boxes `[x_min, y_min, x_max, y_max]`, fractions of the image) and `caption` may be null
    or left out. A CSV file has a header with the columns `text`, `head_start`, `head_end`, `tail_start`, `tail_end` and
    `relation`, and may have `id`, `image`, `caption` and, as JSON, `grounded_regions` and `detected_regions`; an empty
    cell is null. A post without a relation has the relation `None`, by that name.

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

    Returns:
        `datasets.DatasetDict` with the splits that have a file, and the columns of [`post_features`]. An `id` that is
        not given is `"{split}-{row}"`, rows counted from 0. The images stay on disk until a row is read.

    Raises:
        FileNotFoundError: a file or `image_dir` is not there.
        ValueError: an argument is wrong, or the data is bad; then one report names all bad places of all files.
    """
    if on_missing_image not in ("error", "text_only", "keep"):
        raise ValueError(f"on_missing_image={on_missing_image!r}; expected 'error', 'text_only' or 'keep'")
    if image_dir is not None and not os.path.isdir(image_dir):
        raise FileNotFoundError(f"{image_dir} is not a folder")
    paths = {split: str(path) for split, path in zip(SPLITS, (train, validation, test)) if path is not None}
    if relations is None and train is None:
        raise ValueError("There is no training file, whose relations are the ones to know: give it, or `relations`.")
    for path in paths.values():
        check_kind(path)

    problems = Problems()
    splits = {split: read_posts(path, split, problems) for split, path in paths.items()}
    known = check_names(relations) if relations is not None else relations_of(splits["train"], paths["train"], problems)
    check_relations(splits, known, problems)
    check_ids(splits, problems)
    missing = add_images(splits, image_dir, look=on_missing_image != "keep")
    if on_missing_image == "error":
        problems.extend(missing)
    hint = "on_missing_image='text_only' loads posts without the images that cannot be read"
    problems.raise_if_any(hint if missing else "")
    if missing:
        logger.warning(missing.report())
    if not any(post["relation"] == NEGATIVE_RELATION for posts in splits.values() for post in posts):
        logger.warning(
            f"No post has the relation {NEGATIVE_RELATION!r}. Posts without a relation must have it, by this name: "
            "precision, recall and F1 leave it out."
        )
    features = post_features(known)
    return datasets.DatasetDict(
        {
            split: datasets.Dataset.from_dict(
                {column: [post[column] for post in posts] for column in features}, features=features
            )
            for split, posts in splits.items()
        }
    )


def check_kind(path: str) -> None:
    if Path(path).suffix.lower() not in (".csv", ".jsonl", ".json"):
        raise ValueError(f"{path}: the name does not tell what it is; expected one that ends in .csv, .jsonl or .json")
    if not os.path.isfile(path):
        raise FileNotFoundError(f"{path}: there is no such file")


def check_names(relations: Iterable[str]) -> list[str]:
    """The names of the relations that were given, in their order."""
    names = list(relations)
    if names[:1] != [NEGATIVE_RELATION] or len(set(names)) < len(names) or len(names) == 1:
        raise ValueError(f"relations={names!r}; expected {NEGATIVE_RELATION!r} first, then others, each once")
    return names


def read_posts(path: str, split: str, problems: Problems) -> list[dict]:
    """The posts of a file, the bad ones too, so that later rows keep their number."""
    is_csv = Path(path).suffix.lower() == ".csv"
    before, posts = len(problems), []
    for where, row in (read_csv if is_csv else read_json_lines)(path, problems):
        post = {"id": None, "image": None, "relation": None} | dict.fromkeys(REGION_COLUMNS, [])
        if row is not None:
            post = check_post(row, path, where, problems, is_csv)
        post |= {"id": post["id"] or f"{split}-{len(posts)}", "file": path, "where": where}
        posts.append(post)
    if not posts and len(problems) == before:
        problems.add(path, path, "content", "no posts", "one post on each line")
    return posts


def read_json_lines(
    path: str, problems: Problems, fields: Iterable[str] = JSON_FIELDS
) -> Iterator[tuple[str, dict | None]]:
    """Where each line that is not blank stands, and its object; None for one that is malformed."""
    with open(path, "rb") as file:
        for number, raw in enumerate(file, start=1):
            if number == 1 and raw.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"["):
                expected = "JSON lines, one object on each (of pandas: to_json(..., orient='records', lines=True))"
                problems.add(path, f"{path}:1", "content", "a JSON list", expected)
                return
            if not raw.strip():
                continue
            where, row = f"{path}:{number}", read_json(raw)
            if not isinstance(row, dict):
                found, expected = show(raw.removesuffix(b"\n").decode(errors="replace")), "a JSON object, in UTF-8"
                problems.add(path, where, "line", found, expected)
                row = None
            for field in row or ():
                if field not in fields:
                    add_unknown(path, where, field, fields, problems)
            yield where, row


def read_csv(
    path: str, problems: Problems, needed: Iterable[str] = NEEDED_COLUMNS
) -> Iterator[tuple[str, dict | None]]:
    """Where each record that is not blank stands, and its cells as fields of JSON lines; None for a malformed one."""
    with open(path, "rb") as file:
        for number, raw in enumerate(file, start=1):
            try:
                raw.decode()
            except UnicodeDecodeError as error:
                expected = "text in UTF-8 (of a spreadsheet: save it as 'CSV UTF-8')"
                problems.add(path, f"{path}:{number}", "content", show(raw[error.start : error.end]), expected)
                return
    records = read_records(path, problems)
    header = next(records, (0, 0, []))[2]
    if not check_header(header, path, problems, needed):
        return
    for line, number, cells in records:
        if not any(cells):  # a spreadsheet leaves rows of separators below the last one
            continue
        # A text of several lines: what an editor and a spreadsheet call the row differ.
        where = f"{path}:{line}" + (f" (row {number})" if number != line else "")
        if len(cells) != len(header):
            problems.add(path, where, "row", f"{len(cells)} cells", f"{len(header)}, as in the header")
            yield where, None
            continue
        row = {column: cell or None for column, cell in zip(header, cells)}
        for column in REGION_COLUMNS:
            if row.get(column) is not None:
                boxes = read_json(row[column].encode(errors="replace"))
                row[column] = row[column] if boxes is None else boxes
        for entity, columns in SPAN_COLUMNS.items():
            row[entity] = [as_int(row.get(column)) for column in columns]
        yield where, row


def read_records(path: str, problems: Problems) -> Iterator[tuple[int, int, list[str]]]:
    """The line on which each record starts, its number, and its cells."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        header = file.readline().rstrip("\r\n").replace('"', "")
        file.seek(0)
        separator = max(CSV_SEPARATORS, key=lambda separator: len({*header.split(separator)} & {*CSV_COLUMNS}))
        reader = csv.reader(file, delimiter=separator, strict=True)
        line, number = 1, 0
        try:
            for number, cells in enumerate(reader, start=1):
                yield line, number, cells
                line = reader.line_num + 1
        except csv.Error as error:
            where = f"{path}:{line}" + (f" (row {number + 1})" if number + 1 != line else "")
            expected = "comma-separated values; a quote within a quoted cell is doubled, and each is closed"
            problems.add(path, where, "row", str(error), expected)


def check_header(header: list[str], path: str, problems: Problems, needed: Iterable[str]) -> bool:
    """Whether the rows below a header can be read."""
    where = f"{path}:1"
    for index, column in enumerate(header):
        if column in header[:index]:
            problems.add(path, where, "header", f"{show(column)} twice", "each column once")
        elif not column.strip():
            expected = "one (of pandas: to_csv(..., index=False))"
            problems.add(path, where, "header", f"no name for column {index + 1}", expected)
        elif column not in CSV_COLUMNS:
            add_unknown(path, where, column, CSV_COLUMNS, problems)
    missing = [column for column in needed if column not in header]
    if missing and header:
        problems.add(path, where, "header", f"no {', '.join(missing)}", f"the columns {', '.join(needed)}")
    elif not header:
        problems.add(path, path, "content", "nothing", f"a header with the columns {', '.join(needed)}")
    return not missing and len(set(header)) == len(header)


def add_unknown(path: str, where: str, field: str, known: Iterable[str], problems: Problems) -> None:
    nearest = difflib.get_close_matches(field, list(known), n=1, cutoff=0)[0]
    problems.add(path, where, "field", f"{show(field)}, which is not known", f"{nearest!r}, the nearest that is known")


def as_int(cell: str | None) -> int | str | None:
    return int(cell) if cell is not None and re.fullmatch(r"\s*[0-9]{1,9}\s*", cell, re.ASCII) else cell


def is_text(value: Any) -> bool:
    """Whether it is a string that can be stored: JSON can hold half of a pair of surrogates."""
    return isinstance(value, str) and not re.search("[\ud800-\udfff]", value)


def checker(file: str, where: str, problems: Problems) -> Check:
    """What reports a bad field of the row that stands there, and says whether it is good."""

    def check(good: bool, field: str, found: Any, expected: str) -> bool:
        if not good:
            problems.add(file, where, field, show(found), expected)
        return bool(good)

    return check


def check_post(row: dict, file: str, where: str, problems: Problems, is_csv: bool = False) -> dict:
    """The columns of a post, from the fields of JSON lines; its relation and its image are as they were given."""
    check = checker(file, where, problems)
    post = check_text_and_entities(row, check, is_csv) | check_columns(row, check)
    post["relation"] = row.get("relation")
    if row.get("image") is None:
        check_regions_have_image(post, file, where, problems)
    return post


def check_columns(row: dict, check: Check) -> dict:
    """What a post has beside its text, its entities and its relation."""
    post = {}
    for column in ("id", "image", "caption"):
        found = row.get(column)
        good = found is None or (is_text(found) and (found.strip() or column == "caption"))
        post[column] = found if check(good, column, found, "text or null") else None
    for column in REGION_COLUMNS:
        boxes, post[column] = row.get(column), []
        good = boxes is None or (isinstance(boxes, list) and all(isinstance(box, list) for box in boxes))
        check(good, column, boxes, "a list of boxes, each [x_min, y_min, x_max, y_max]")
        for box in boxes if boxes and good else ():
            clipped = clip_box(box) if is_numbers(box, 4) else None
            expected = "[x_min, y_min, x_max, y_max] in fractions of the image, with 0 <= min < max <= 1"
            check(clipped is not None, column, box, expected)
            post[column].append(clipped)
    return post


def check_text_and_entities(row: dict, check: Check, is_csv: bool) -> dict:
    """Return the text of a post, and the spans of its entities in characters."""
    text, unit = check_text(row, check)
    spans = {}
    for entity in ("head", "tail"):
        field = ", ".join(SPAN_COLUMNS[entity]) if is_csv else entity
        spans[entity] = check_entity(row.get(entity), entity, field, text, unit, check)
    if text is None or None in spans.values():
        return {"text": None, "head": None, "tail": None}
    if unit == "words":
        text, joined = join_words(text, spans.values())
        spans = dict(zip(spans, joined))
    return {"text": text} | {entity: {"start": span[0], "end": span[1]} for entity, span in spans.items()}


def check_text(row: dict, check: Check) -> tuple[str | list[str] | None, str]:
    """The text of a post, or its words, None if these are bad; and what its spans count."""
    text, tokens, unit = row.get("text"), row.get("tokens"), "characters"
    if text is not None and tokens is not None:
        good = check(False, "text, tokens", [text, tokens], "one of them")
    elif text is None and "tokens" in row:
        good = isinstance(tokens, list) and tokens and all(is_text(word) and word.strip() for word in tokens)
        good, unit = check(good, "tokens", tokens, "a list of words, at least one, none of them blank"), "words"
    else:
        good = check(is_text(text) and text.strip(), "text", text, "a text that is not blank")
    return (tokens if unit == "words" else text) if good else None, unit


def check_entity(
    found: Any, entity: str, field: str, text: str | list[str] | None, unit: str, check: Check
) -> Span | None:
    """The span of an entity within a text or its words; None if it is bad."""
    length = math.inf if text is None else len(text)
    within = "0 <= start < end" if text is None else f"0 <= start < end <= {length}"
    span = as_span(found)
    inside = span is not None and 0 <= span[0] < span[1] <= length
    inside = check(inside, field, found, f"start and end of the {entity} in {unit}, whole numbers, {within}")
    if inside and text is not None and unit == "characters":
        name = text[span[0] : span[1]]
        inside = check(name.strip(), field, name, f"characters {span[0]} to {span[1]} of the text not to be blank")
    return span if inside else None


def check_regions_have_image(post: dict, file: str, where: str, problems: Problems) -> None:
    for column in REGION_COLUMNS:
        if post[column]:
            problems.add(file, where, column, show(post[column]), "none, for the post has no image")


def as_span(value: Any) -> Span | None:
    """Start and end, if these are two whole numbers."""
    if isinstance(value, dict) and value.keys() == {"start", "end"}:
        value = [value["start"], value["end"]]
    if isinstance(value, list) and len(value) == 2 and all(type(bound) is int for bound in value):
        return value[0], value[1]
    return None


def relations_of(posts: list[dict], path: str, problems: Problems) -> list[str] | None:
    """The relations of the training posts, the negative one first; None if there are none to tell."""
    names = {post["relation"] for post in posts if is_relation(post["relation"])} - {NEGATIVE_RELATION}
    if posts and not names:
        expected = f"at least one beside {NEGATIVE_RELATION!r}"
        problems.add(path, path, "relation", "none in the whole file", expected)
    return [NEGATIVE_RELATION, *sorted(names)] if names else None


def is_relation(name: Any) -> bool:
    """Whether it can be the name of a relation: `none` would be another one than `None`, and count as found."""
    is_name = is_text(name) and name.strip() == name != ""
    return is_name and (name == NEGATIVE_RELATION or name.casefold() != NEGATIVE_RELATION.casefold())


def check_relations(splits: dict[str, list[dict]], known: list[str] | None, problems: Problems) -> None:
    """Each post has a relation, and one that is known."""
    for posts in splits.values():
        for post in posts:
            name = post["relation"]
            if "text" not in post:  # a malformed line, which is reported as such
                continue
            if not is_relation(name):
                expected = f"a name without space around it, {NEGATIVE_RELATION!r} where there is no relation"
                problems.add(post["file"], post["where"], "relation", show(name), expected)
            elif known is not None and name not in known:
                nearest = difflib.get_close_matches(name, known, n=1, cutoff=0)[0]
                expected = f"one of the {len(known)} relations of the training file; the nearest is {nearest!r}"
                problems.add(post["file"], post["where"], "relation", show(name), expected)


def check_ids(splits: dict[str, list[dict]], problems: Problems) -> None:
    """No two posts of any splits have one id."""
    first = {}
    for post in (post for posts in splits.values() for post in posts):
        found, where = post["id"], post["where"]
        if found is not None and first.setdefault(found, where) != where:
            problems.add(post["file"], where, "id", f"{show(found)}, as at {first[found]}", "another for each post")


def add_images(splits: dict[str, list[dict]], image_dir: str | os.PathLike | None, look: bool) -> Problems:
    """Give each post the path of its image, after a look at all of them, and tell which cannot be read."""
    missing = Problems()
    for posts in splits.values():
        for post in posts:
            if post["image"] is not None:
                folder = os.path.dirname(post["file"]) if image_dir is None else image_dir
                post["image"] = os.path.abspath(os.path.join(folder, post["image"]))
    if not look:
        return missing
    paths = dict.fromkeys(post["image"] for posts in splits.values() for post in posts if post["image"] is not None)
    there = [path for path in paths if os.path.isfile(path)]
    reasons = dict.fromkeys(paths, "there is no such file") | dict(zip(there, check_images(there)))
    for posts in splits.values():
        for post in posts:
            reason = reasons.get(post["image"])
            if reason:
                expected = "an image that can be read"
                missing.add(post["file"], post["where"], "image", f"{post['image']} ({reason})", expected)
                post |= {"image": None, **{column: [] for column in REGION_COLUMNS}}
    return missing


__all__ = ["load_posts"]
