"""The error page: `mmre predict --explain` writes it, everything of a post is harmless in it."""

import json
import re
from html.parser import HTMLParser

import pytest
from PIL import Image
from prediction_helpers import NADAL, PERELLO, TEXT, read, write

from mmre.inference.cards import CardMaker
from mmre.inference.error_page import write_error_page
from mmre.inference.run import predict

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(1)> \u2028 ]]> & 😂"


class Tags(HTMLParser):
    def __init__(self, page: str):
        super().__init__()
        self.tags, self.data, self.inside = [], "", False
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.inside = ("id", "data") in attributes

    def handle_data(self, data):
        self.data += data if self.inside else ""

    def handle_endtag(self, tag):
        self.inside = False


def cards_of(page: str) -> list[dict]:
    return json.loads(Tags(page).data)["cards"]


def test_predict_explains_each_pair_and_knows_what_is_wrong(focalmre, folder, arguments, tmp_path):
    post = {"text": TEXT, "head": NADAL, "tail": PERELLO, "image": "a.png"}
    rows = [
        post | {"id": "1", "relation": "/per/per/couple", "grounded_regions": [[0, 0, 0.5, 0.5]]},
        post | {"id": "<b>2", "text": TEXT + EVIL, "relation": "None"},
        post | {"id": "3", "image": "broken.png"},
        {"id": "4", "text": TEXT, "pairs": [[NADAL, PERELLO], [PERELLO, NADAL]], "image": "b.png"},
    ]
    args = arguments(explain=str(tmp_path / "page"))
    report = predict(focalmre, write(folder / "posts.jsonl", rows), args)
    assert str(tmp_path / "page" / "index.html") in report.text
    page = (tmp_path / "page" / "index.html").read_text("utf-8")
    cards = cards_of(page)
    assert [card["id"] for card in cards] == ["1", "<b>2", "4", "4"]  # what failed is in the file of errors
    assert [card["gold"] for card in cards] == ["/per/per/couple", "None", None, None]
    assert "".join(piece for piece, *_ in cards[1]["pieces"]) == TEXT + EVIL
    marked = {mark: "".join(p for p, _, marks in cards[3]["pieces"] if mark in marks) for mark in "ht"}
    assert marked == {"h": "Mery Perello", "t": "Rafael Nadal"}
    assert cards[0]["regions"][0][:2] == ["grounded region 1", [0, 0, 0.5, 0.5]]
    assert cards[0]["picture"] == cards[1]["picture"] != cards[2]["picture"]  # a picture is there once
    with Image.open(tmp_path / "page" / cards[0]["picture"]) as image:
        assert image.size == (80, 60)
    predicted = {row["id"]: row["score"] for row in read(args)}
    for card in cards[:2]:
        if card["id"] in predicted:
            assert card["score"] == pytest.approx(predicted[card["id"]], abs=1e-4)
    with pytest.raises(FileExistsError, match=r"index\.html is there already; give another --explain"):
        predict(focalmre, str(folder / "posts.jsonl"), arguments("others.jsonl", explain=str(tmp_path / "page")))


def test_nothing_of_a_post_is_a_tag_or_a_script(tmp_path):
    empty = Tags(write_error_page(tmp_path / "empty", "title", "occlusion", []).read_text("utf-8")).tags
    card = {"id": EVIL, "gold": EVIL, "predicted": EVIL, "pieces": [[EVIL, 0.5, "h"]], "picture_name": EVIL}
    page = write_error_page(tmp_path / "evil", EVIL, "occlusion", [card]).read_text("utf-8")
    assert Tags(page).tags == empty
    assert cards_of(page) == [card]
    assert "\u2028" not in page
    # And nothing is fetched: no address, and a policy that forbids what is not beside the page.
    assert "default-src 'none'" in page
    assert {*re.findall(r"https?://[^\s\"']+", page)} == {"http://www.w3.org/2000/svg"}


def test_ten_thousand_cards_are_written_one_by_one(tmp_path):
    card = {"id": "1", "gold": "a", "predicted": "b", "pieces": [["x" * 140, 0.1, ""]]}
    page = write_error_page(tmp_path, "many", "occlusion", (card | {"id": str(n)} for n in range(10_000)))
    assert page.stat().st_size < 10_000 * 300 and len(cards_of(page.read_text("utf-8"))) == 10_000


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"explain_method": "oclusion"}, "--explain_method"),
        ({"explain": "page", "relations": "relations.txt"}, "--explain: a chat model"),
    ],
)
def test_bad_options_are_refused(arguments, changes, message):
    with pytest.raises(ValueError, match=message):
        arguments(**changes)


def test_probabilities_may_be_those_of_a_run(make_processor, tiny_model, picture, tmp_path):
    model, processor = tiny_model(), make_processor()
    post = {"text": TEXT, "head": NADAL, "tail": PERELLO, "image": picture}
    names = [*model.config.label2id]
    card = CardMaker(model, processor, tmp_path, "attention")("1", post, dict(zip(names, (0.1, 0.2, 0.6, 0.1))))
    assert (card["predicted"], card["score"]) == (names[2], 0.6) and card["probabilities"][0] == [names[2], 0.6]
