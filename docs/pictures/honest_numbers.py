"""Draws `honest_numbers.png` from the figures that stand in `docs/honest-numbers.md`."""

import re
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).resolve().parent
GREY, RED = "#8a93a3", "#c8452e"
# What a bar is called, which row of the guide it is, and whether the model could count the released regions.
BARS = [
    ("text", "text only", False),
    ("text + one number:\nhow many regions were released", "text + number of grounded regions", True),
    ("text + pictures of noise", "FocalMRE small | `none` | noise", False),
    ("text + pictures of noise\nwith the released regions drawn in", "FocalMRE small | `released` | noise", True),
]


def figures(text: str) -> tuple[list[float], tuple[float, float]]:
    """Read the F1 of each bar, and the range that the papers report, out of the guide's text."""
    found = []
    for _, row, _ in BARS:
        (line,) = re.findall(rf"^\| {re.escape(row)} \|.*$", text, flags=re.M)
        above = text[: text.index(line)].rsplit("\n\n", 1)[1]
        place = [cell.strip() for cell in above.split("\n")[0].split("|")].index("F1")
        found.append(float(line.split("|")[place].strip(" *")))
    low, high = re.search(r"papers\W+\w* ?report (\d+\.\d+) to (\d+\.\d+) F1", text).groups()
    return found, (float(low), float(high))


def draw(text: str, path: Path) -> None:
    """Draw the figure of the guide's text into a file."""
    values, (low, high) = figures(text)
    plt.rcParams.update({"font.family": "DejaVu Sans", "font.size": 11})
    figure, axes = plt.subplots(figsize=(9.6, 3.5), dpi=150)
    axes.axvspan(low, high, color="#f1d9a7", zorder=0)
    axes.text((low + high) / 2, -0.62, "reported by the papers", ha="center", va="bottom", fontsize=9.5)
    for place, ((_, _, leaks), value) in enumerate(zip(BARS, values)):
        axes.barh(place, value, height=0.62, color=RED if leaks else GREY, zorder=2)
        axes.text(value - 1, place, f"{value:.1f}", ha="right", va="center", color="white", weight="bold", zorder=3)
    axes.set_yticks(range(len(BARS)), [name for name, _, _ in BARS])
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel("F1 on the test posts of MNRE; no model saw a picture of MNRE")
    for color, label in ((GREY, "cannot count the released regions"), (RED, "can count them")):
        axes.barh(0, 0, color=color, label=label)
    axes.legend(loc="lower center", bbox_to_anchor=(0.4, 1.08), ncols=2, frameon=False, fontsize=10)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(left=False)
    figure.savefig(path, bbox_inches="tight", metadata={"Software": None})


if __name__ == "__main__":
    draw((HERE.parent / "honest-numbers.md").read_text("utf-8"), HERE / "honest_numbers.png")
