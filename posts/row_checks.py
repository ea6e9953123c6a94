"""Checks of the rows of a data set of posts, whatever they are read from."""

import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from mmre.processing.focal_augmentation import clip_box
from mmre.processing.suggestions import unknown
from mmre.processing.words import Span, join_words

from .checks import Problems, is_numbers, is_text, show, told_text
from .lookalikes import has_invisible, one_form
from .row_readers import SPAN_COLUMNS
from .schema import NEGATIVE_RELATION, REGION_COLUMNS

Check = Callable[[bool, str, Any, str], bool]


class Record(NamedTuple):
    """A post in short, kept until the posts of all splits are read and can be compared."""

    id: str | None
    relation: Any
    image: str | None
    file: str
    where: str


def checker(file: str, where: str, problems: Problems) -> Check:
    """Return a function that reports a bad field of the row at a place, and tells whether the field is good."""

    def check(good: bool, field: str, found: Any, expected: str) -> bool:
        if not good:
            problems.add(file, where, field, show(found), expected)
        return bool(good)

    return check


def check_post(row: dict, file: str, where: str, problems: Problems, is_csv: bool = False) -> dict:
    """Check a row, and return the columns of its post.

    Args:
        row: with the fields of JSON lines.
        file: where the row is from.
        where: the place of the row.
        problems: gets what is wrong with the row.
        is_csv: whether messages call the spans by the columns of a CSV file.

    Returns:
        The columns; those that are bad are null or empty. Relation and image are as they are in the row.
    """
    check = checker(file, where, problems)
    post = check_text_and_entities(row, check, is_csv) | check_columns(row, check)
    relation = row.get("relation")
    post["relation"] = one_form(relation) if isinstance(relation, str) else relation
    if row.get("image") is None:
        check_regions_have_image(post, file, where, problems)
    return post


def check_columns(row: dict, check: Check) -> dict:
    """Check id, image, caption and boxes of a row, and return them; boxes are clipped to the image."""
    post = {}
    for column in ("id", "image", "caption"):
        found = row.get(column)
        good = found is None or (is_text(found) and (found.strip() or column == "caption"))
        post[column] = found if check(good, column, found, told_text(found, "text or null")) else None
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
    """Check text and entities of a row, and return the text and the spans in characters."""
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
    """Return the text or the words of a row, None if they are bad; and the unit of spans, "characters" or "words"."""
    text, tokens, unit = row.get("text"), row.get("tokens"), "characters"
    if text is not None and tokens is not None:
        good = check(False, "text, tokens", [text, tokens], "one of them")
    elif text is None and "tokens" in row:
        good = isinstance(tokens, list) and tokens and all(is_text(word) and word.strip() for word in tokens)
        expected = told_text(tokens, "a list of words, at least one, none of them blank")
        good, unit = check(good, "tokens", tokens, expected), "words"
    else:
        expected = told_text(text, "a text that is not blank")
        good = check(is_text(text) and text.strip(), "text", text, expected)
    return (tokens if unit == "words" else text) if good else None, unit


def check_entity(
    found: Any, entity: str, field: str, text: str | list[str] | None, unit: str, check: Check
) -> Span | None:
    """Return the span of an entity within a text or its words; None if it is bad."""
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
    """Report the regions of a post that has no image."""
    for column in REGION_COLUMNS:
        if post[column]:
            problems.add(file, where, column, show(post[column]), "none, for the post has no image")


def as_span(value: Any) -> Span | None:
    """Return start and end, if a value is two whole numbers; a type beside them is passed over."""
    if isinstance(value, dict) and value.keys() - {"type"} == {"start", "end"}:
        value = [value["start"], value["end"]]
    if isinstance(value, list) and len(value) == 2 and all(type(bound) is int for bound in value):
        return value[0], value[1]
    return None


def training_relations(records: list[Record], path: str, problems: Problems) -> list[str] | None:
    """Return the relations of the training posts, the negative one first; None if there is no other."""
    names = {record.relation for record in records if is_relation(record.relation)} - {NEGATIVE_RELATION}
    if records and not names:
        expected = f"at least one beside {NEGATIVE_RELATION!r}"
        problems.add(path, path, "relation", "none in the whole file", expected)
    return [NEGATIVE_RELATION, *sorted(names)] if names else None


def is_relation(name: Any) -> bool:
    """Tell whether a value can name a relation: `none` would be another one than `None`, and count as found."""
    is_name = is_text(name) and name.strip() == name != "" and not has_invisible(name)
    return is_name and (name == NEGATIVE_RELATION or name.casefold() != NEGATIVE_RELATION.casefold())


def check_relations(splits: dict[str, list[Record]], known: list[str] | None, source: str, problems: Problems) -> None:
    """Report each post without a relation, or with one that is not known.

    Args:
        splits: the records of the posts of each split.
        known: names of the relations; None if all are.
        source: what these names are, for messages: "those of train.csv".
        problems: gets what is wrong.
    """
    for _, name, _, file, where in itertools.chain.from_iterable(splits.values()):
        if not is_relation(name):
            expected = (
                f"a name without space around it or invisible characters, {NEGATIVE_RELATION!r} where there is no "
                "relation"
            )
            found = ascii(name) if isinstance(name, str) and has_invisible(name) else show(name)
            problems.add(file, where, "relation", found, told_text(name, expected))
        elif known is not None and name not in known:
            clause = f"{unknown('relation', name, known)} (known are {source})"
            problems.note(file, where, "relation", clause)


def check_ids(splits: dict[str, list[Record]], problems: Problems) -> None:
    """Report each post whose id another post of any split has."""
    first = {}
    for found, _, _, file, where in itertools.chain.from_iterable(splits.values()):
        if found is not None and first.setdefault(found, where) != where:
            problems.add(file, where, "id", f"{show(found)}, as at {first[found]}", "another for each post")


__all__ = [
    "Check",
    "Record",
    "check_columns",
    "check_entity",
    "check_ids",
    "check_post",
    "check_regions_have_image",
    "check_relations",
    "check_text",
    "checker",
    "training_relations",
]
