"""Posts with labelled entities and relations, as the tools that people label with export them."""

import os
import re
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from .checks import Problems, as_id, is_text, key_twice, read_json, show
from .lookalikes import escaped, has_invisible, one_form
from .schema import NEGATIVE_RELATION

# A file that is not made of lines is read at once.
MOST_BYTES = 1 << 30


class LabelledEntity(NamedTuple):
    """Entity of a post: its first character, the one after its last (Unicode code points), and its type, if known."""

    start: int
    end: int
    type: str | None = None


class LabelledPost(NamedTuple):
    """Post with its entities and their relations.

    Args:
        id: id of the post.
        text: its text.
        image: name of its picture's file; None without one.
        entities: its entities, no two of one span.
        relations: numbers of head and tail among these, and the name of the relation, each once.
        lists_pairs: whether nothing is known of other pairs, not even that they have no relation.
    """

    id: str
    text: str
    image: str | None
    entities: list[LabelledEntity]
    relations: list[tuple[int, int, str]]
    lists_pairs: bool = False


class Gathering:
    """Gathers labelled posts of one source: what is wrong with them, and what is passed over.

    Args:
        path: the file or folder.
    """

    def __init__(self, path: str | os.PathLike):
        self.path, self.problems, self.passed_over = os.fspath(path), Problems(), Counter()
        self._ids, self._pictures = {}, {}

    def add(self, where: str, field: str, found: Any, expected: str) -> None:
        """Note a problem; what was found is shown, or a clause that says it."""
        self.problems.add(self.path, where, field, found if isinstance(found, str) else show(found), expected)

    def post(
        self,
        where: str,
        post_id: Any,
        text: Any,
        image: Any,
        entities: Mapping[Hashable, tuple[Any, Any, Any]],
        relations: Iterable[tuple[Hashable, Hashable, Any]],
        lists_pairs: bool = False,
    ) -> LabelledPost | None:
        """Check a post, and return it; None, and problems, if it is bad.

        Args:
            where: its place.
            post_id: its id; None to take its place.
            text: its text.
            image: a path or an address of its picture, of which the name is kept; nothing is opened.
            entities: start, end and type of each entity, by a key.
            relations: the keys of head and tail, and the name, of each relation.
            lists_pairs: see [`LabelledPost`].
        """
        before = len(self.problems)
        if not is_text(text) or not text.strip():
            self.add(where, "text", show(text), "a text that is not blank")
            return None
        post_id = re.sub(r"^.*[\\/]", "", where) if post_id is None else as_id(post_id)
        if not is_text(post_id) or not post_id.strip():
            self.add(where, "id", show(post_id), "text or a whole number")
        elif self._ids.setdefault(post_id, where) != where:
            self.add(where, "id", f"{show(post_id)}, as at {self._ids[post_id]}", "another for each post")
        spans, numbers = {}, {}
        for key, entity in entities.items():
            checked = self._entity(where, text, entity)
            if checked is not None:
                if checked[:2] in spans:
                    self.passed_over["entities with the span of another, which they are"] += 1
                spans.setdefault(checked[:2], checked)
                numbers[key] = list(spans).index(checked[:2])
        found = {}
        for head, tail, name in relations:
            missing = [end for end in (head, tail) if end not in entities]
            if missing:
                self.add(where, "relation", f"of {show(missing[0])}", "entities that are there")
            elif not is_text(name) or not name.strip():
                self.add(where, "relation", show(name), "a name: label each relation")
            elif has_invisible(one_form(name.strip())):
                self.add(where, "relation", ascii(name), "a name without invisible characters")
            elif head in numbers and tail in numbers:
                name = one_form(name.strip())
                name = NEGATIVE_RELATION if name.casefold() == NEGATIVE_RELATION.casefold() else name
                if numbers[head] == numbers[tail]:
                    self.add(where, "relation", f"{show(name)} of an entity to itself", "two entities")
                elif (numbers[head], numbers[tail], name) in found:
                    self.passed_over["relations that are said twice"] += 1
                found[numbers[head], numbers[tail], name] = None
        name = self._picture(where, image)
        if len(self.problems) > before:
            return None
        return LabelledPost(post_id, text, name, list(spans.values()), list(found), lists_pairs)

    def _entity(self, where: str, text: str, entity: tuple[Any, Any, Any]) -> LabelledEntity | None:
        start, end, kind = entity
        good = type(start) is int and type(end) is int and 0 <= start < end <= len(text) and text[start:end].strip()
        if not good:
            found = show([start, end]) + (f", {show(text[start:end])}" if type(start) is type(end) is int else "")
            self.add(where, "entity", found, f"start and end in characters, 0 <= start < end <= {len(text)}, not blank")
            return None
        kind = kind.strip() if is_text(kind) else None
        return LabelledEntity(start, end, kind or None)

    def _picture(self, where: str, image: Any) -> str | None:
        """Return the name of a picture's file; two pictures of one name would become one."""
        if image is None or image == "":
            return None
        name = picture_name(image) if is_text(image) else None
        if name is None:
            self.add(where, "image", show(image), "a path or an address that ends in the name of a file")
            return None
        first, place = self._pictures.setdefault(name, (image, where))
        if first != image:
            self.add(where, "image", f"{show(image)}, and {show(first)} at {place}", "names of which no two are alike")
        return name


def picture_name(reference: str) -> str | None:
    """Return the name of a file at the end of a path or an address; None if there is none.

    Label Studio writes `/data/local-files/?d=folder/a.jpg` of files that it serves itself.
    """
    path = reference
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", reference) or "?" in reference:
        parts = urlsplit(reference)
        path = parse_qs(parts.query).get("d", [parts.path])[0]
    name = re.sub(r"^.*[\\/]", "", path, flags=re.DOTALL)
    is_name = name not in ("", ".", "..") and name == name.strip() and len(name) <= 255 and name.isprintable()
    return name if is_name else None


def read_lines(gathering: Gathering) -> Iterator[tuple[str, dict]]:
    """Read objects of JSON lines, or of one JSON list, each with its place; what is no object is a problem."""
    path = gathering.path
    with open(path, "rb") as file:
        start = file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()
        file.seek(0)
        if start.startswith(b"["):
            content = read_json(whole(path))
            if not isinstance(content, list):
                gathering.add(path, "content", "no JSON list that ends, or a field twice", "a whole export, in UTF-8")
                return
            rows = ((f"{path}: item {number}", row, None) for number, row in enumerate(content, start=1))
        else:
            rows = ((f"{path}:{n}", read_json(raw), raw) for n, raw in enumerate(file, start=1) if raw.strip())
        is_empty = True
        for where, row, raw in rows:
            is_empty = False
            if isinstance(row, dict):
                yield where, row
                continue
            twice = None if raw is None or row is not None else key_twice(raw)
            found = show(raw.strip().decode(errors="replace")) if raw is not None else show(row)
            clause = f"{show(twice)} twice" if twice is not None else found
            gathering.add(where, "line" if raw is not None else "item", clause, "a JSON object, in UTF-8")
        if is_empty:
            gathering.add(path, "content", "nothing", "an export with posts")


def whole(path: str | os.PathLike) -> bytes:
    """Read a whole file.

    Raises:
        ValueError: it is too large for that.
    """
    size = os.path.getsize(path)
    if size > MOST_BYTES:
        raise ValueError(f"{escaped(os.fspath(path))}: {size >> 20} MiB; expected at most {MOST_BYTES >> 20}: split it")
    with open(path, "rb") as file:
        return file.read()


__all__ = ["MOST_BYTES", "Gathering", "LabelledEntity", "LabelledPost", "picture_name", "read_lines", "whole"]
