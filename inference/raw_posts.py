"""Raw posts, from a file or a folder: read one by one, and checked."""

import hashlib
import json
import os
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, permutations
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mmre.posts.annotation_file import check_annotation_file, read_annotation_rows
from mmre.posts.checks import Problems, is_text, show
from mmre.posts.lookalikes import escaped
from mmre.posts.parquet_rows import read_parquet
from mmre.posts.post_files import ADDRESS, TEXTS, find_post_files, kind_of_posts, name_of_posts, naming_address
from mmre.posts.row_checks import Check, check_columns, check_entity, check_regions_have_image, check_text, checker
from mmre.posts.row_readers import CSV_COLUMNS, JSON_FIELDS, SPAN_COLUMNS, read_csv, read_json_lines
from mmre.posts.schema import REGION_COLUMNS
from mmre.posts.utf16 import Utf16Spans
from mmre.processing.suggestions import unknown
from mmre.processing.words import Span, join_words

from .arguments import PredictionArguments

RAW_FIELDS = (*JSON_FIELDS, "pairs", "entities")

UNKNOWN_HINT = "--keep FIELD hands a further field on to the triples, --ignore_unknown passes over the others"

TypedSpan = tuple[Span | None, str | None]


def read_raw_posts(
    posts: str,
    args: PredictionArguments,
    problems: Problems,
    ignored: set[str] | None = None,
    there: set[str] | None = None,
) -> Iterator[dict]:
    """Read posts one by one, and check them.

    Args:
        posts: a file of JSON lines, CSV or parquet, a folder of such files of one kind, or an address of either; or a
            folder of texts and images.
        args: where annotation files are, which further fields are kept, and whether others are passed over.
        problems: gets what is wrong with the posts.
        ignored: gets the names of the fields that are passed over.
        there: gets the names of the fields that posts have.

    Yields:
        The good posts: `id`, `text`, `is_joined` (whether the text was given as words), `pairs` (of spans in
        characters; None if the entities have to be found), `types` (of the entities of `pairs`, None where not known;
        if any is), `image` (a path, or an [`~mmre.posts.parquet_rows.InlinePicture`]), `grounded_regions`,
        `detected_regions` and `caption` (None if not given), `relation` (the true one, if it is given), and `kept` (the
        further fields, by name).
    """
    with naming_address(posts):
        has_span_columns = kind_of_posts(posts) == "csv"
    annotations = []
    if args.regions is not None:
        annotations.append(AnnotationRows(args.regions, REGION_COLUMNS))
    if args.captions is not None:
        annotations.append(AnnotationRows(args.captions, ("caption",)))
    there = set() if there is None else there
    for key, where, row in read_rows(posts, args, problems, ignored):
        there.update(row)
        for annotation in annotations:
            row |= annotation.find(key, posts, where, problems)
        post = check_raw_post(row, posts, where, problems, has_span_columns)
        kept = {name: row[name] for name in args.keep if row.get(name) is not None}
        for name, value in kept.items():
            if not is_json(value):
                expected = "what JSON in UTF-8 can say: text, finite numbers, lists and objects of these"
                problems.add(posts, where, name, show(value), expected)
        if post is not None:
            yield {"id": key} | post | ({"kept": kept} if args.keep else {})


def is_json(value: Any) -> bool:
    """Tell whether a value can be written as JSON in UTF-8: no NaN, no half of a pair of surrogates, no bytes."""
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def read_rows(
    posts: str, args: PredictionArguments, problems: Problems, ignored: set[str] | None = None
) -> Iterator[tuple[str, str, dict]]:
    """Read rows as they are, each with its id, which is made of the file's name and the row's number if there is none.

    Args:
        posts, args, problems, ignored: as of [`read_raw_posts`].

    Yields:
        The id, the place, and the row.
    """
    ignored = (set() if ignored is None else ignored) if args.ignore_unknown else None
    name = Path(name_of_posts(posts)).stem
    with naming_address(posts):
        kind = kind_of_posts(posts)
        if kind == "parquet":
            rows = read_parquet(posts, problems, fields=(*RAW_FIELDS, *args.keep), ignored=ignored)
        elif kind == TEXTS:
            rows = read_folder(posts, problems)
        else:
            files, names = find_post_files(posts, kind)
            paths = map(files.unstrip_protocol, names) if ADDRESS.match(posts) else names
            if kind == "csv":
                read = partial(read_csv, needed=("text",), columns=(*CSV_COLUMNS, *args.keep))
            else:
                read = partial(read_json_lines, fields=(*RAW_FIELDS, *args.keep))
            rows = chain.from_iterable(read(path, problems, ignored=ignored) for path in paths)
        for number, (where, row) in enumerate(rows):
            if row is not None:
                yield row.get("id") or f"{name}-{number}", where, row


def read_folder(folder: str, problems: Problems) -> Iterator[tuple[str, dict | None]]:
    """Read a folder that has `a.txt` beside `a.jpg` for each post.

    Args:
        folder: the folder.
        problems: gets what is wrong with the folder.

    Yields:
        The place of each text, and the post of that text and the image of the same name.
    """
    opened = {ending for ending, name in Image.registered_extensions().items() if name in Image.OPEN}
    images = defaultdict(list)
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if entry.is_file() and not entry.name.startswith("."))
    texts = {Path(name).stem for name in names if Path(name).suffix.lower() == ".txt"}
    for name in names:
        if Path(name).suffix.lower() in opened:
            images[Path(name).stem].append(name)
            if Path(name).stem not in texts:
                expected = f"{Path(name).stem}.txt beside it"
                problems.add(folder, os.path.join(folder, name), "text", "nothing", expected)
    if not texts:
        problems.add(folder, folder, "content", "no texts", "a.txt beside a.jpg for each post")
    for name in (name for name in names if Path(name).suffix.lower() == ".txt"):
        where, stem = os.path.join(folder, name), Path(name).stem
        if len(images[stem]) > 1:
            problems.add(folder, where, "image", ", ".join(images[stem]), "one image of this name")
        try:
            text = Path(where).read_bytes().decode("utf-8-sig").strip()
        except UnicodeDecodeError as error:
            problems.add(folder, where, "text", str(error), "text in UTF-8")
            continue
        yield where, {"id": stem, "text": text, "image": next(iter(images[stem]), None)}


class AnnotationRows:
    """Rows of an annotation file, asked for in their order, so that none has to be kept.

    Args:
        path: path of the file.
        columns: the columns to take from the file.
    """

    def __init__(self, path: str, columns: Iterable[str]):
        self.path, self.columns = path, columns
        self.rows, self.row, self.is_lost = read_annotation_rows(path), {}, False

    def find(self, key: str, file: str, where: str, problems: Problems) -> dict:
        """Return the columns of the post with an id; none of them if the file has no row for the post."""
        while not self.is_lost and self.row.get("id") != key:
            _, row = next(self.rows, (None, None))
            self.is_lost = row is None
            self.row = row if isinstance(row, dict) else {}
            if self.is_lost:
                expected = f"a row for it in {self.path}, after those of the posts before it"
                problems.add(file, where, "id", show(key), expected)
        return {column: self.row[column] for column in self.columns if column in self.row}


def check_raw_post(row: dict, file: str, where: str, problems: Problems, has_span_columns: bool) -> dict | None:
    """Check a row, and return the post as [`read_raw_posts`] yields it, without its id; None if the row is bad.

    Args:
        row: the row.
        file: the file or the folder of the row.
        where: the place of the row.
        problems: gets what is wrong with the row.
        has_span_columns: whether the row is of a CSV file, where a span is two columns.
    """
    faults = Problems()
    check = checker(file, where, faults)
    text, unit = check_text(row, check)
    typed = check_pairs(row, text, unit, check, has_span_columns)
    pairs, types = (typed and [tuple(each[part] for each in pair) for pair in typed] for part in (0, 1))
    columns = check_columns(row, check)
    is_address = isinstance(row.get("image"), str) and ADDRESS.match(row["image"])
    check(not is_address, "image", row.get("image"), "a file: addresses are not followed, fetch the picture first")
    if row.get("image") is None:
        check_regions_have_image(columns, file, where, faults)
    if faults:
        problems.extend(faults)
        return None
    if unit == "words":
        text, spans = join_words(text, [span for pair in pairs or () for span in pair])
        pairs = pairs and list(zip(spans[::2], spans[1::2]))
    post = {"text": text, "is_joined": unit == "words", "pairs": pairs, "image": columns["image"]}
    if types and any(kind is not None for pair in types for kind in pair):
        post["types"] = types
    # Regions that were not given may be looked for; an empty list says that there are none.
    regions = {column: None if row.get(column) is None else columns[column] for column in REGION_COLUMNS}
    relation = {"relation": row["relation"]} if isinstance(row.get("relation"), str) else {}
    return post | {"caption": columns["caption"]} | regions | relation


def check_pairs(
    row: dict, text: str | list[str] | None, unit: str, check: Check, has_span_columns: bool
) -> list[tuple[TypedSpan, TypedSpan]] | None:
    """Check the entities of a row, and return the pairs to ask for, of spans and types; None if it names no entity.

    Args:
        row: the row.
        text: the text or the words of the row, from `check_text`; None if they are bad.
        unit: the unit of spans, from `check_text`.
        check: reports a bad field.
        has_span_columns: whether the row is of a CSV file, where a span is two columns.
    """
    spans = {name: None if has_span_columns and row[name] == [None, None] else row.get(name) for name in SPAN_COLUMNS}
    pairs, entities = row.get("pairs"), row.get("entities")
    given = [name for name in ("pairs", "entities") if row.get(name) is not None]
    given += ["head, tail"] if any(span is not None for span in spans.values()) else []
    if len(given) > 1:
        check(False, "; ".join(given), [row.get(name) for name in given], "one of them")
    elif pairs is not None:
        good = isinstance(pairs, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in pairs)
        check(good, "pairs", pairs, "a list of pairs [head, tail]")
        return [
            tuple(check_typed(span, name, f"pairs[{number}]", text, unit, check) for name, span in zip(spans, pair))
            for number, pair in enumerate(pairs if good else ())
        ]
    elif entities is not None:
        good = check(isinstance(entities, list), "entities", entities, "a list of spans")
        checked = [
            check_typed(span, "entity", f"entities[{number}]", text, unit, check)
            for number, span in enumerate(entities if good else ())
        ]
        return list(permutations(checked, 2))
    elif given:
        fields = SPAN_COLUMNS if has_span_columns else {name: (name,) for name in spans}
        return [
            tuple(check_typed(span, name, ", ".join(fields[name]), text, unit, check) for name, span in spans.items())
        ]
    return None


def check_typed(
    found: Any, entity: str, field: str, text: str | list[str] | None, unit: str, check: Check
) -> TypedSpan:
    """Return the span of an entity, None if it is bad, and its type, None if it has none."""
    kind = None
    if isinstance(found, dict) and "type" in found:
        kind, found = found["type"], {name: value for name, value in found.items() if name != "type"}
        good = kind is None or (is_text(kind) and kind.strip() == kind != "")
        check(good, f"{field}.type", kind, "a type of entities, as 'PER', or null")
    return check_entity(found, entity, field, text, unit, check), kind


@dataclass
class Survey:
    """Number of posts, whether all come with their entities, the SHA-256 of all that they hold, and ignored fields.

    `asks_all_pairs` tells whether some posts name no pairs, so that all pairs of their entities are asked for.
    """

    count: int = 0
    has_all_entities: bool = True
    asks_all_pairs: bool = False
    fingerprint: str = ""
    ignored: list[str] = field(default_factory=list)


def survey_raw_posts(posts: str, args: PredictionArguments) -> Survey:
    """Check all posts, and count them.

    Args:
        posts: as of [`read_raw_posts`].
        args: where images and annotation files are, and which further fields there may be.

    Raises:
        FileNotFoundError: there is no such file or folder, or no file of posts in it.
        ValueError: the posts are bad; one report names the bad places.
    """
    with naming_address(posts):
        kind_of_posts(posts)
    if args.image_dir is not None and not os.path.isdir(args.image_dir):
        raise FileNotFoundError(f"--image_dir {args.image_dir} is no folder")
    for path in {args.regions, args.captions} - {None}:
        check_annotation_file(path)
    problems, survey, fingerprint, ignored, there = Problems(), Survey(), hashlib.sha256(), set(), set()
    spans = Utf16Spans()
    keys = array("Q")  # of each id eight bytes: ids themselves would fill the memory
    for post in read_raw_posts(posts, args, problems, ignored, there):
        survey.count += 1
        survey.has_all_entities &= post["pairs"] is not None
        fingerprint.update(json.dumps(post).encode())
        keys.append(short_key(post["id"]))
        if not post["is_joined"] and post["pairs"]:
            entities = dict.fromkeys(span for pair in post["pairs"] for span in pair)
            spans.look_at(posts, f"{posts}: {escaped(post['id'])}", post["text"], entities)
    spans.report(problems)
    check_kept(posts, args.keep, there, problems)
    report_repeated_ids(posts, args, repeated(keys), problems)
    if not survey.count and not problems:
        problems.add(posts, posts, "content", "no posts", "at least one")
    has_others = any(field in ("field", "column") for _, field in problems.lines)
    problems.raise_if_any(UNKNOWN_HINT if has_others else "")
    survey.asks_all_pairs = not survey.has_all_entities or "entities" in there
    survey.fingerprint, survey.ignored = fingerprint.hexdigest(), sorted(ignored)
    return survey


def check_kept(posts: str, keep: Iterable[str], there: set[str], problems: Problems) -> None:
    """Report each further field to keep that no post has, or that is a known one, written wrongly.

    Args:
        posts: the file or the folder.
        keep: the names of the fields.
        there: the names of the fields that posts have.
        problems: gets what is found.
    """
    for name in keep:
        clause = unknown("field", name, [known for known in RAW_FIELDS if known not in there])
        if clause.endswith("?"):
            problems.note(posts, posts, "--keep", f"--keep: {clause}")
        elif name not in there and there:
            problems.add(posts, posts, "--keep", f"{show(name)}, which no post has", "a field of the posts")


def report_repeated_ids(posts: str, args: PredictionArguments, keys: set[int], problems: Problems) -> None:
    """Report each post whose id an earlier post has; the posts are read once more if there may be such.

    Args:
        posts, args: as of [`read_raw_posts`].
        keys: short keys that several ids have.
        problems: gets what is found.
    """
    first = {}
    for key, where, _ in read_rows(posts, args, Problems()) if keys else ():
        if short_key(key) in keys and first.setdefault(key, where) != where:
            problems.add(posts, where, "id", f"{show(key)}, as at {first[key]}", "another for each post")


def short_key(key: str) -> int:
    """Return eight bytes of the hash of an id."""
    return int.from_bytes(hashlib.blake2b(str(key).encode(errors="replace"), digest_size=8).digest(), "big")


def repeated(keys: array) -> set[int]:
    """Return the keys that stand there several times."""
    ordered = np.sort(np.frombuffer(keys, dtype=np.uint64)) if keys else np.empty(0, dtype=np.uint64)
    return set(ordered[1:][ordered[1:] == ordered[:-1]].tolist())


__all__ = ["Survey", "read_raw_posts", "survey_raw_posts"]
