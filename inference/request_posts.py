"""Posts of a request: parsed, checked and held to limits before the model sees them. Nothing from outside is opened."""

import base64
import binascii
import json
import threading
from collections.abc import Mapping
from typing import Any

from mmre.posts.checks import Problems, as_id, show
from mmre.posts.parquet_rows import InlinePicture
from mmre.processing.picture_files import check_image_header
from mmre.processing.suggestions import unknown

from .predictor import find_pairs
from .raw_posts import RAW_FIELDS, check_raw_post
from .serving_arguments import ServingArguments

TAKEN_FIELDS = tuple(name for name in RAW_FIELDS if name != "relation")
# Fewer than what PIL opens: what browsers and phones send, and decoders that many look after.
FORMATS = ("JPEG", "PNG", "WEBP")
MAX_ID = 200
MAX_ERRORS = 10


class RefusedError(Exception):
    """Raised for a request that is not answered.

    Args:
        status: the status of HTTP.
        errors: what is wrong with the request, in plain sentences.
        headers: further headers of the answer.
    """

    def __init__(self, status: int, *errors: str, headers: Mapping[str, str] | None = None):
        super().__init__("; ".join(errors))
        self.status, self.errors, self.headers = status, list(errors), dict(headers or {})


class PostReader:
    """Reads posts out of requests.

    Args:
        args: the limits.
        nlp: a spaCy model that finds the entities of posts that name none; None if there is none.
    """

    def __init__(self, args: ServingArguments, nlp: Any):
        self.args, self.nlp, self.lock = args, nlp, threading.Lock()

    def read_json(self, body: bytes) -> list[dict]:
        """Read the posts of a request in JSON, `{"posts": [...]}`, with pictures in base64.

        Raises:
            RefusedError: they are bad, or too many or too large.
        """
        value = parse_json(body, "the body")
        if not isinstance(value, dict) or [*value] != ["posts"] or not isinstance(value["posts"], list):
            raise RefusedError(422, f'the body: {show(value)}; expected {{"posts": [...]}}, a list of posts')
        rows, limit = value["posts"], self.args.max_posts
        if not 1 <= len(rows) <= limit:
            raise RefusedError(422, f"posts: {len(rows)} of them; expected 1 to {limit} in a request")
        return self._read(rows)

    def read_parts(self, post: str | bytes, picture: bytes | None) -> list[dict]:
        """Read the post of a request in parts: its JSON, and the file of its picture.

        Raises:
            RefusedError: it is bad or too large.
        """
        row = parse_json(post.encode(errors="surrogatepass") if isinstance(post, str) else post, "the part post")
        if isinstance(row, dict) and row.get("image") is not None:
            raise RefusedError(422, "post: image: the picture comes as the part image; leave it out of the part post")
        return self._read([row], picture)

    def _read(self, rows: list, picture: bytes | None = None) -> list[dict]:
        posts, errors = [], []
        for number, row in enumerate(rows):
            try:
                posts.append(self._read_post(row, number, picture))
            except RefusedError as error:
                errors += [f"posts[{number}]: {each}" for each in error.errors]
        if errors:
            more = [f"and {len(errors) - MAX_ERRORS} more"] if len(errors) > MAX_ERRORS else []
            raise RefusedError(422, *errors[:MAX_ERRORS], *more)
        return posts

    def _read_post(self, row: Any, number: int, picture: bytes | None) -> dict:
        if not isinstance(row, dict):
            raise RefusedError(422, f"{show(row)}; expected a post, as {{'text': ...}}")
        for name in row:
            if name not in TAKEN_FIELDS:
                raise RefusedError(422, unknown("field", name[:50].encode("ascii", "replace").decode(), TAKEN_FIELDS))
        image = row.get("image")
        picture = picture if image is None else decode_base64(image)
        self._check_sizes(row)
        problems, key = Problems(), as_id(row.get("id", str(number)))
        # The image is there or not; what it is, is checked below.
        checked = row | {"id": key, "image": None if picture is None else "picture"}
        post = check_raw_post(checked, "", "", problems, has_span_columns=False)
        if isinstance(key, str) and len(key) > MAX_ID:
            problems.note("", "", "id", f"id: {len(key)} characters; expected at most {MAX_ID}")
        lines = [line.removeprefix(": ") for lines in problems.lines.values() for line in lines]
        if lines:
            raise RefusedError(422, *lines)
        if len(post["text"]) > self.args.max_text:
            raise RefusedError(422, f"text: {len(post['text'])} characters; expected at most {self.args.max_text}")
        if post["pairs"] is None:
            self._find_entities(post)
        if len(post["pairs"]) > self.args.max_pairs:
            found = f"{len(post['pairs'])} pairs of entities"
            raise RefusedError(422, f"pairs: {found}; expected at most {self.args.max_pairs}")
        if picture is not None:
            self._check_picture(picture)
        # No path, whatever the request says.
        post["image"] = None if picture is None else InlinePicture(picture)
        return {"id": key or str(number)} | post

    def _check_sizes(self, row: dict) -> None:
        """Refuse what would be much work to check: pairs of entities grow with their square."""
        for name, most in (("text", self.args.max_text), ("caption", self.args.max_text)):
            if isinstance(row.get(name), str) and len(row[name]) > most:
                raise RefusedError(422, f"{name}: {len(row[name])} characters; expected at most {most}")
        for name, pairs in (("pairs", len), ("entities", lambda entities: len(entities) * (len(entities) - 1))):
            if isinstance(row.get(name), list) and pairs(row[name]) > self.args.max_pairs:
                found = f"{pairs(row[name])} pairs of entities"
                raise RefusedError(422, f"{name}: {found}; expected at most {self.args.max_pairs}")

    def _find_entities(self, post: dict) -> None:
        if self.nlp is None:
            raise RefusedError(422, "head, tail: nothing; expected them, or pairs or entities: none are found here")
        with self.lock:
            pairs, types = find_pairs(self.nlp, post["text"])
        post["pairs"] = pairs
        if types:
            post["types"] = types

    def _check_picture(self, picture: bytes) -> None:
        try:
            check_image_header(picture, self.args.max_pixels, FORMATS)
        except ValueError as error:
            if "pixels" in str(error):
                raise RefusedError(422, f"image: {error}") from None
            raise RefusedError(422, "image: it cannot be read; expected a file in JPEG, PNG or WebP") from None


def parse_json(body: bytes, name: str) -> Any:
    """Parse JSON in UTF-8, strictly: without NaN, of a depth that Python follows.

    Args:
        body: the JSON.
        name: what it is, for messages.

    Raises:
        RefusedError: it is malformed.
    """

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no number of JSON")

    try:
        return json.loads(body.decode("utf-8"), parse_constant=refuse)
    except RecursionError:
        raise RefusedError(400, f"{name}: it is nested too deeply") from None
    except ValueError as error:
        raise RefusedError(400, f"{name}: no JSON in UTF-8: {error}") from None


def decode_base64(image: Any) -> bytes:
    """Return the bytes of a picture in base64.

    Raises:
        RefusedError: it is none, for example a path or an address, which nobody opens.
    """
    expected = "the bytes of a picture's file in base64 (paths and addresses are not opened)"
    if not isinstance(image, str):
        raise RefusedError(422, f"image: {show(image)}; expected {expected}")
    try:
        return base64.b64decode(image, validate=True)
    except (binascii.Error, ValueError):
        raise RefusedError(422, f"image: {show(image)}; expected {expected}") from None


__all__ = ["PostReader", "RefusedError"]
