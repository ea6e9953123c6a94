"""The error page: one HTML page without network, a card for each post, the confusions first."""

import json
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mmre.posts.whole_file import whole_file

PAGE_FILE = "index.html"
TEMPLATE = Path(__file__).with_name("error_page.html")
# What may end a script, begin a tag, or end a line of JavaScript.
ESCAPED = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"})


def write_error_page(folder: str | os.PathLike, title: str, method: str, cards: Iterable[dict[str, Any]]) -> Path:
    """Write `index.html`; the pictures are beside it.

    All of a post is data to the page: its scripts read JSON, and put it onto the page as text.

    Args:
        folder: where the page goes; it is made if it is not there.
        title: of the page.
        method: of the explanations.
        cards: of the posts, see [`~mmre.inference.cards.CardMaker`]; they are written one by one.

    Returns:
        The path of the page.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    path = Path(folder) / PAGE_FILE
    before, after = TEMPLATE.read_text("utf-8").replace("{{nonce}}", secrets.token_urlsafe(12)).split("{{data}}")
    with whole_file(path) as file:
        file.write(f'{before}{{"title":{_as_json(title)},"method":{_as_json(method)},"cards":[')
        for number, card in enumerate(cards):
            file.write(f"{',' if number else ''}\n{_as_json(card)}")
        file.write(f"]}}{after}")
    return path


def _as_json(value: Any) -> str:
    # A lone half of a pair of surrogates is no UTF-8: ASCII alone is written.
    return json.dumps(value, allow_nan=False, separators=(",", ":")).translate(ESCAPED)


__all__ = ["PAGE_FILE", "write_error_page"]
