"""Draws `post.png`: a synthetic post, its regions and entities, and what the model of `make quickstart` says of it."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.patches import Rectangle
from transformers import pipeline

import mmre.modeling
import mmre.processing  # noqa: F401, both register the systems with transformers
from mmre.posts import make_synthetic_posts

HERE = Path(__file__).resolve().parent
HEAD, TAIL, GREY, DARK = "#1f7a4d", "#a3560b", "#b4bac4", "#20242c"
FRAMES = {"grounded_regions": "#e01010", "detected_regions": "#1030e0"}
POST = 18  # of the test posts


def words_with_colours(post: dict) -> list[tuple[str, str]]:
    """Cut the text of a post into pieces, each with the colour that it is printed in."""
    marks = sorted([(*post["head"].values(), HEAD), (*post["tail"].values(), TAIL)])
    pieces, place = [], 0
    for start, end, colour in marks:
        pieces += [(post["text"][place:start], DARK), (post["text"][start:end], colour)]
        place = end
    return [*pieces, (post["text"][place:], DARK)]


def draw(post: dict, relations: list[dict], path: Path) -> None:
    """Draw a post and the relations that a model gives it into a file."""
    plt.rcParams.update({"font.family": "DejaVu Sans", "font.size": 11})
    figure, (picture, bars) = plt.subplots(1, 2, figsize=(9.6, 3.6), dpi=150, width_ratios=[1.25, 1])
    picture.imshow(post["image"])
    width, height = post["image"].size
    for name, colour in FRAMES.items():
        for left, top, right, bottom in post[name]:
            corner, sides = (left * width, top * height), ((right - left) * width, (bottom - top) * height)
            picture.add_patch(Rectangle(corner, *sides, fill=False, edgecolor=colour, linewidth=1.6))
    picture.axis("off")
    scores = [relation["score"] for relation in relations]
    bars.barh(range(len(scores)), scores, color=[HEAD] + [GREY] * (len(scores) - 1), height=0.32)
    for place, relation in enumerate(relations):
        bars.text(0, place - 0.24, f"{relation['label']}   {relation['score']:.2%}", va="bottom")
    bars.set_xlim(0, 1)
    bars.set_ylim(len(scores) - 0.6, -0.75)
    bars.axis("off")
    figure.tight_layout(rect=(0, 0, 1, 0.85), w_pad=3)
    left, renderer = 0.03, figure.canvas.get_renderer()
    for piece, colour in words_with_colours(post):
        text = figure.text(left, 0.92, piece, color=colour, weight="normal" if colour == DARK else "bold", size=13)
        middle, left = left, text.get_window_extent(renderer).x1 / figure.bbox.width
        if colour != DARK:
            name = "head" if colour == HEAD else "tail"
            figure.text((middle + left) / 2, 0.9, name, color=colour, size=10, ha="center", va="top")
    figure.savefig(path, metadata={"Software": None})


if __name__ == "__main__":
    shown = make_synthetic_posts(num_train=0, num_validation=0, num_test=POST + 1, image_size=(640, 480))["test"][POST]
    extract = pipeline("multimodal-relation-extraction", model="outputs/quickstart")
    draw(shown, extract(shown, top_k=4), HERE / "post.png")
