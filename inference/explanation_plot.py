"""Plot of an explanation: the picture with its regions, the scores over it, the most probable relations, the text."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes

# Not pyplot: it would keep each figure open, and choose a backend for the whole process.
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from mmre.evaluation.plots import drawable
from mmre.processing.focal_augmentation import Box

from .inner_values import ATTENTION

WIDTH = 11.0  # inches
DOTS_AN_INCH = 120
TOP_HEIGHT, SLOTS_HEIGHT, LINE_HEIGHT = 3.6, 2.0, 0.3  # inches
FONT_SIZE = 9
FONT = "DejaVu Sans Mono"
CHARACTERS_A_LINE = 120
MAX_LINES = 40
MOST_RELATIONS = 5
LEAST_SCALE = 0.1  # scores below are not worth a colour
HEAD_COLOR, TAIL_COLOR = "red", "blue"
FRAME_COLORS = {"grounded": "red", "detected": "blue"}
# What the scores of each method are, for the colour bar.
SCORE_NAMES = {
    "occlusion": "probability lost without it",
    "integrated_gradients": "log-probability by it",
    ATTENTION: "attention of the entities",
}


def plot_explanation(explanation: Any) -> Figure:
    """Draw an explanation.

    Red parts speak for the relation and blue ones against it; of attention, red is looked at most and blue least.

    Args:
        explanation: an [`~mmre.inference.explanations.Explanation`], which calls this.

    Returns:
        The figure: the picture with its regions, the scores over it, and the most probable relations; below, what the
        model sees, if the scores are of that; and the text with its words coloured, the head framed red, the tail blue.
    """
    lines, scores = _text_lines(explanation), explanation.scores
    # One scale for the picture and the words, so that what hardly counts looks like it.
    scale = score_colors(
        [scores.cells] if explanation.method == ATTENTION else [scores.cells, scores.words], explanation.method
    )
    has_slots = explanation.scores.patches is not None
    heights = [TOP_HEIGHT, SLOTS_HEIGHT if has_slots else 0.01, LINE_HEIGHT * (len(lines) + 2)]
    figure = Figure(figsize=(WIDTH, sum(heights)), layout="constrained", dpi=DOTS_AN_INCH)
    top, middle, bottom = figure.subfigures(3, 1, height_ratios=heights)
    has_cells = scores.cells is not None
    panels = top.subplots(1, 1 + bool(explanation.slots) + has_cells, squeeze=False)[0]
    _draw_relations(panels[-1], explanation)
    if explanation.slots:
        _draw_picture(panels[0], explanation)
    if has_cells:
        norm, colors = scale
        whole = (0.0, 0.0, 1.0, 1.0)
        draw_scores(panels[1], explanation.image, whole, explanation.scores.cells, norm, colors)
        panels[1].set_title(f"for {drawable(explanation.relation)}", fontsize=FONT_SIZE)
        bar = ScalarMappable(norm, colors)
        bar = top.colorbar(bar, ax=panels[1], shrink=0.8)
        bar.set_label(SCORE_NAMES[explanation.method], size=FONT_SIZE - 1)
        bar.ax.tick_params(labelsize=FONT_SIZE - 2)
    if has_slots:
        patches = explanation.scores.patches
        norm, colors = score_colors([patches], explanation.method)
        for axes, slot, scores in zip(middle.subplots(1, max(4, len(patches)))[:], explanation.slots, patches):
            draw_scores(axes, slot.view.draw(), (0.0, 0.0, 1.0, 1.0), scores, norm, colors)
            axes.set_title(slot.name, fontsize=FONT_SIZE - 2)
        for axes in middle.axes[len(patches) :]:
            axes.set_axis_off()
    _draw_text(bottom.subplots(), explanation, lines, *scale)
    return figure


def score_colors(scores: Sequence[np.ndarray | None], method: str) -> tuple[Normalize, str]:
    """Return the scale and the colour map of scores: red high and blue low; around zero if they have a sign."""
    largest = max(
        (float(np.abs(values).max()) for values in scores if np.size(values) and values is not None), default=0
    )
    if method == ATTENTION:
        return Normalize(0.0, largest or 1.0), "turbo"
    largest = max(largest, LEAST_SCALE)
    return Normalize(-largest, largest), "coolwarm"


def draw_scores(axes: Axes, image, shown: Box, scores: np.ndarray, norm: Normalize, colors: str) -> None:
    """Draw a picture in grey with scores over a part of it.

    Args:
        axes: where to draw.
        image: a picture of PIL.
        shown: the part that the scores are of, in fractions of the picture.
        scores: (rows, columns).
        norm: scale of the scores.
        colors: name of the colour map.
    """
    width, height = image.size
    axes.imshow(image.convert("L"), cmap="gray", extent=(0, width, height, 0), vmin=0, vmax=255)
    x_min, y_min, x_max, y_max = shown
    extent = (x_min * width, x_max * width, y_max * height, y_min * height)
    axes.imshow(scores, extent=extent, norm=norm, cmap=colors, alpha=0.55, interpolation="nearest")
    axes.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])


def _draw_picture(axes: Axes, explanation: Any) -> None:
    width, height = explanation.image.size
    axes.imshow(explanation.image, extent=(0, width, height, 0))
    for number, slot in enumerate(explanation.slots):
        color = FRAME_COLORS.get(slot.name.split()[0])
        if color is None:
            continue
        x_min, y_min, x_max, y_max = slot.box
        corner, size = (x_min * width, y_min * height), ((x_max - x_min) * width, (y_max - y_min) * height)
        axes.add_patch(Rectangle(corner, *size, fill=False, edgecolor=color, linewidth=1.5))
        if explanation.scores.slots is not None:
            label = in_two_places(explanation.scores.slots[number])
            # Two regions may have one box: one label above, the other below.
            place = (x_min * width, y_min * height) if color == "red" else (x_min * width, y_max * height)
            box = {"facecolor": color, "edgecolor": "none", "pad": 1, "alpha": 0.8}
            anchor = "top" if color == "red" else "bottom"
            axes.text(*place, label, color="white", fontsize=FONT_SIZE - 3, va=anchor, bbox=box, clip_on=True)
    axes.set(xticks=[], yticks=[])
    axes.set_title("red: grounded regions, blue: detected ones", fontsize=FONT_SIZE)


def _draw_relations(axes: Axes, explanation: Any) -> None:
    rows = list(explanation.probabilities.items())[:MOST_RELATIONS]
    colors = ["C1" if name == explanation.relation else "C0" for name, _ in rows]
    bars = axes.barh([drawable(name) for name, _ in rows], [value for _, value in rows], color=colors)
    axes.bar_label(bars, [f"{value:.3f}" for _, value in rows], padding=2, fontsize=FONT_SIZE - 1)
    axes.invert_yaxis()
    axes.set(xlim=(0, 1.18), xticks=[0, 0.5, 1])
    axes.tick_params(labelsize=FONT_SIZE - 1)
    axes.set_title("probability of the relation", fontsize=FONT_SIZE)
    axes.spines[["top", "right"]].set_visible(False)


def _text_lines(explanation: Any) -> list[list[tuple[int, str]]]:
    """Break the words into lines: the number of each word, and what the font draws of it."""
    lines, used = [[]], 0
    for number, (start, end) in enumerate(explanation.words):
        word = drawable(explanation.text[start:end], FONT)
        if used + len(word) > CHARACTERS_A_LINE and lines[-1]:
            lines.append([])
            used = 0
        lines[-1].append((number, word))
        used += len(word) + 1
    if len(lines) > MAX_LINES:
        lines[MAX_LINES:] = [[(-1, f"... and {sum(map(len, lines[MAX_LINES:]))} words more")]]
    return lines


def _draw_text(axes: Axes, explanation: Any, lines: list[list[tuple[int, str]]], norm: Normalize, colors: str) -> None:
    """Draw the words in a font of one width, each on the colour of its score."""
    scores = explanation.scores.words
    color_of = colormaps[colors]
    for row, line in enumerate(lines):
        column = 0
        for number, word in line:
            has_score = scores is not None and number >= 0
            face = color_of(norm(scores[number])) if has_score else "none"
            span = explanation.words[number] if number >= 0 else (-1, -1)
            edges = [
                color
                for color, (start, end) in ((HEAD_COLOR, explanation.head), (TAIL_COLOR, explanation.tail))
                if span[0] < end and span[1] > start
            ]
            axes.text(
                column,
                row,
                word,
                family=FONT,
                fontsize=FONT_SIZE,
                va="center",
                color=_readable_on(face),
                bbox={"facecolor": face, "edgecolor": edges[0] if edges else "none", "pad": 1.5, "linewidth": 1.5},
            )
            column += len(word) + 1
    axes.set(xlim=(-1, CHARACTERS_A_LINE + 20), ylim=(len(lines) + 0.2, -1.2))
    axes.set_axis_off()
    title = "words" if scores is None else f"words: {SCORE_NAMES[explanation.method]}"
    if scores is not None and len(scores):
        title += f" (from {in_two_places(scores.min())} to {in_two_places(scores.max())})"
    caption = explanation.scores.caption
    title += "" if caption is None else f"; the caption as a whole: {in_two_places(caption)}"
    axes.set_title(f"{title}; head framed red, tail blue", fontsize=FONT_SIZE, loc="left")


def in_two_places(number: float) -> str:
    """Write a number with two decimal places, and what rounds to zero without a sign."""
    return f"{round(float(number), 2) + 0.0:.2f}"


def _readable_on(face) -> str:
    """Return black or white, whichever is read better on a colour."""
    if isinstance(face, str):
        return "black"
    red, green, blue, _ = face
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.45 else "white"


__all__ = ["draw_scores", "in_two_places", "plot_explanation", "score_colors"]
