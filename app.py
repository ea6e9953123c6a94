"""The demo, in the shape of a Hugging Face Space: what relation do a text and a picture state, and why?

    make demo                       # trains or reuses the quickstart model
    MMRE_MODEL=org/name python app.py

A post is kept no longer than it takes to answer; nothing is sent anywhere.
"""

import json
import os
import re
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

# Before gradio and huggingface_hub are imported.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

import gradio as gr
import numpy as np
from PIL import Image
from transformers import AutoConfig

from mmre.inference import InContextRelationClassifier, explain
from mmre.inference.loading import adapter_config, load_pipeline
from mmre.modeling import MODELS
from mmre.posts import open_posts
from mmre.processing import find_entities, load_spacy
from mmre.processing.picture_files import load_image
from mmre.processing.utf16_spans import from_utf16

QUICKSTART = "outputs/quickstart"
DEFAULT_MODEL = os.environ.get("MMRE_MODEL", QUICKSTART)
SPACY_MODEL = os.environ.get("MMRE_SPACY_MODEL", "en_core_web_sm")
MAX_CHARACTERS = 2000  # of a text
MAX_PIXELS = 20_000_000  # of a picture
MAX_FILE = "10mb"
METHODS = {"take parts away (occlusion)": "occlusion", "the model's own attention": "attention"}
# Numbers of test posts. The quickstart's model is wrong about the very first synthetic one.
EXAMPLES = (("synthetic", (2, 1, 3)), ("digits", (0, 1)))
ABOUT_EXAMPLES = (
    "The model of `make quickstart` knows synthetic posts alone: begin with one of the first three examples below. The "
    "others are for a model of `mmre train digits`."
    if DEFAULT_MODEL == QUICKSTART
    else "The examples below are made up. A model that was trained on other posts may not know their relations."
)
# What a browser knows of the selection, in place of the second input.
SELECTION = """text => {
    const field = document.querySelector("#text textarea");
    return [text, `${field.selectionStart} ${field.selectionEnd}`];
}"""
# No font is fetched.
THEME = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}


@lru_cache(maxsize=2)
def open_model(name: str) -> tuple[Any, Any]:
    """Load a model for relations, or a LoRA adapter merged into its model, and its processor; of two models at most."""
    check_name(name)
    kind = None if adapter_config(name) else AutoConfig.from_pretrained(name).model_type
    if kind is not None and kind not in MODELS:
        raise ValueError(
            f"{name} is a {kind!r}, no model for relations. A chat model may be asked: write the relations, one on "
            "each line."
        )
    extract = load_pipeline(name)
    return extract.model, extract.processor


def check_name(name: str) -> None:
    """Refuse what is neither a folder nor a name on the Hub, before the Hub is asked for it.

    Raises:
        ValueError: it is neither.
    """
    if os.path.isdir(name):
        return
    if not name:
        raise ValueError("Name a model: its folder, or its name on the Hub.")
    if name == QUICKSTART:
        raise ValueError(
            f"There is no model in {name}: `make demo` trains it. Or name another one, here or as MMRE_MODEL."
        )
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name):
        raise ValueError(f"There is no folder {name}; and a name on the Hub looks like organisation/name.")


@lru_cache(maxsize=1)
def open_chat_model(name: str, relations: tuple[str, ...]) -> InContextRelationClassifier:
    """Load a chat model that is asked for relations in words."""
    check_name(name)
    return InContextRelationClassifier.from_pretrained(name, relations)


def find_span(
    text: str, name: str, selected: list[int] | None, after: tuple[int, int] | None = None
) -> tuple[int, int]:
    """Find an entity in a text: where it was selected, or where its name stands first, and not on the other one.

    Raises:
        ValueError: the text does not hold it.
    """
    name = (name or "").strip()
    if not name:
        raise ValueError("Name both entities: select each in the text and press its button, or type it.")
    if selected and text[slice(*selected)].strip() == name:
        start = text.index(name, selected[0])
        return start, start + len(name)
    start = text.find(name)
    if after is not None and start == after[0]:
        start = text.find(name, after[1])
    if start < 0:
        raise ValueError(f"The text does not hold {name!r}{'' if after is None else ' beside the head'}.")
    return start, start + len(name)


def read_boxes(words: str) -> list[list[float]]:
    """Read boxes: a JSON list of [x_min, y_min, x_max, y_max], fractions of the picture."""
    if not (words or "").strip():
        return []
    try:
        return json.loads(words)
    except ValueError as error:
        raise ValueError(
            f"Boxes are written as [[0.1, 0.2, 0.5, 0.9]]: x_min, y_min, x_max, y_max of each. {error}"
        ) from error


def predict(
    path: str | None,
    text: str,
    head: str,
    tail: str,
    head_selected: list[int] | None,
    tail_selected: list[int] | None,
    model: str,
    relations: str,
    grounded: str,
    detected: str,
    caption: str,
    method: str,
) -> tuple[dict[str, float], np.ndarray | None]:
    """Answer a post: the probabilities of its relations, and a picture that says why.

    Raises:
        gr.Error: with a message for people, whatever was wrong.
    """
    try:
        text = text or ""
        if not text.strip():
            raise ValueError("The text is empty: write or paste a post.")
        if len(text) > MAX_CHARACTERS:
            raise ValueError(f"The text has {len(text)} characters; at most {MAX_CHARACTERS} are read.")
        first = find_span(text, head, head_selected)
        spans = {"head": first, "tail": find_span(text, tail, tail_selected, first)}
        image = None if path is None else load_image(path, MAX_PIXELS)
        typed = tuple(dict.fromkeys(line.strip() for line in (relations or "").splitlines() if line.strip()))
        if typed:
            chat = open_chat_model(model.strip(), typed)
            rows = chat({"text": text, "image": image, **spans}, top_k=len(typed))
            return {row["label"]: row["score"] for row in rows if row["label"] is not None}, None
        network, processor = open_model(model.strip())
        boxes = {"grounded_regions": read_boxes(grounded), "detected_regions": read_boxes(detected)}
        post = {"text": text, "image": image, "caption": caption or None, **spans, **(boxes if image else {})}
        found = explain(network, processor, post, method=METHODS[method])
        figure = found.plot()
        with tempfile.TemporaryFile() as file:
            figure.savefig(file, format="png")
            return found.probabilities, np.asarray(Image.open(file).convert("RGB"))
    except (ValueError, OSError, ImportError, KeyError) as error:
        raise gr.Error(message_of(error, path), print_exception=False) from None


def message_of(error: Exception, path: str | None) -> str:
    """Say in one line what was wrong, without the upload's place on this machine and without names of exceptions."""
    line = (str(error).splitlines() or [type(error).__name__])[0]
    if path is not None:
        line = line.replace(str(path), Path(path).name)
    return re.sub(r": \w+(?:Error|Exception)\(([\"'])(.*)\1\)$", r": \2", line)


def name_entities(text: str) -> tuple[Any, Any, list, list]:
    """Offer the entities that spaCy finds in a text."""
    try:
        found = find_entities(load_spacy(SPACY_MODEL), (text or "")[:MAX_CHARACTERS])
    except (ImportError, OSError) as error:
        raise gr.Error(str(error), print_exception=False) from None
    names = list(dict.fromkeys(entity["text"] for entity in found))
    if len(names) < 2:
        raise gr.Error(f"{len(names)} entities were found: select two in the text.", print_exception=False)
    head, tail = (gr.Dropdown(choices=names, value=name) for name in names[:2])
    return head, tail, None, None


def take(text: str, selection: str) -> tuple[str, list[int]]:
    """Take what is selected in the text as an entity; a browser counts its start and end in UTF-16."""
    edges = [from_utf16(text, int(edge)) for edge in (selection or "0 0").split()]
    if None in edges or not text[slice(*edges)].strip():
        raise gr.Error("Select the entity in the text first.", print_exception=False)
    return text[slice(*edges)].strip(), edges


def make_examples(folder: Path) -> list[list[str]]:
    """Write the pictures of made posts, and return the posts."""
    rows = []
    for data, numbers in EXAMPLES:
        posts = open_posts(data, num_synthetic_posts=8) if data == "synthetic" else open_posts(data)
        for number in numbers:
            post = posts["test"][number]
            path = folder / f"{data}-{number}.png"
            post["image"].save(path)
            names = [post["text"][slice(post[part]["start"], post[part]["end"])] for part in ("head", "tail")]
            boxes = [json.dumps(np.round(post[f"{kind}_regions"], 4).tolist()) for kind in ("grounded", "detected")]
            rows.append([str(path), post["text"], *names, *boxes])
    return rows


def build(examples: list[list[str]]) -> gr.Blocks:
    """Build the page."""
    with gr.Blocks(title="mmre: relations in posts", analytics_enabled=False) as page:
        gr.Markdown(
            "# What relation do a text and its picture state?\n"
            f"Give a post, select two names in its text, and see what the model says, and why. {ABOUT_EXAMPLES}"
        )
        selection = gr.Textbox(visible=False)
        head_span, tail_span = gr.State(None), gr.State(None)
        with gr.Row():
            with gr.Column():
                # A path: what is no picture gets a message of ours.
                image = gr.File(label="Picture", file_types=["image"], elem_id="picture")
                preview = gr.Image(
                    label="Picture", interactive=False, visible=False, height=220, buttons=["fullscreen"]
                )
                text = gr.Textbox(label="Text", lines=3, max_length=MAX_CHARACTERS, elem_id="text")
                with gr.Row():
                    take_head = gr.Button("selection is the head", elem_id="take-head", size="sm")
                    take_tail = gr.Button("selection is the tail", elem_id="take-tail", size="sm")
                    find = gr.Button("find names", elem_id="find", size="sm")
                with gr.Row():
                    head = gr.Dropdown([], label="Head", allow_custom_value=True, elem_id="head")
                    tail = gr.Dropdown([], label="Tail", allow_custom_value=True, elem_id="tail")
                with gr.Accordion("Regions and caption", open=False):
                    grounded = gr.Textbox(label="Grounded regions", placeholder="[[0.1, 0.2, 0.5, 0.9]]")
                    detected = gr.Textbox(label="Detected regions", placeholder="[[0.1, 0.2, 0.5, 0.9]]")
                    caption = gr.Textbox(label="Caption", max_length=MAX_CHARACTERS)
                with gr.Accordion("Model", open=False):
                    model = gr.Textbox(DEFAULT_MODEL, label="Folder of a model, or its name on the Hub")
                    relations = gr.Textbox(
                        label="Relations to ask a chat model for, one on each line", lines=2, max_length=MAX_CHARACTERS
                    )
                    method = gr.Radio(list(METHODS), value=next(iter(METHODS)), label="Why?")
                ask = gr.Button("What relation?", variant="primary", elem_id="ask")
            with gr.Column():
                label = gr.Label(label="Relation, from head to tail", num_top_classes=5, elem_id="relation")
        why = gr.Image(label="Why", interactive=False, elem_id="why", buttons=["download", "fullscreen"])
        gr.Examples(
            examples,
            [image, text, head, tail, grounded, detected],
            label="Examples",
            example_labels=[row[1] for row in examples],
            cache_examples=False,
        )

        take_head.click(take, [text, selection], [head, head_span], js=SELECTION, show_progress="hidden")
        take_tail.click(take, [text, selection], [tail, tail_span], js=SELECTION, show_progress="hidden")
        # Not over the fields: the names that stand there are still true when none is found.
        find.click(name_entities, text, [head, tail, head_span, tail_span], show_progress="hidden")
        image.change(show_picture, image, preview, show_progress="hidden")
        post = [image, text, head, tail, head_span, tail_span]
        ask.click(predict, [*post, model, relations, grounded, detected, caption, method], [label, why])
    return page


def show_picture(path: str | None) -> Any:
    """Show the picture that was chosen, or say what is wrong with it."""
    if path is None:
        return gr.Image(visible=False, value=None)
    try:
        return gr.Image(visible=True, value=load_image(path, MAX_PIXELS))
    except (ValueError, OSError) as error:
        message = f"This is no picture that can be read: {message_of(error, path)}"
        raise gr.Error(message, print_exception=False) from None


def launch(**options: Any) -> None:
    """Make the examples, build the page and serve it."""
    with tempfile.TemporaryDirectory() as folder:
        page = build(make_examples(Path(folder)))
        page.queue(default_concurrency_limit=1, max_size=20).launch(
            allowed_paths=[folder],
            max_file_size=MAX_FILE,
            show_error=False,
            footer_links=[],
            theme=gr.themes.Default(**THEME),
            **options,
        )


if __name__ == "__main__":
    launch()
