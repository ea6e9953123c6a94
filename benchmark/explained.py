"""Explanations of trained models over test posts: are they faithful, and the papers' figures of attention."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import transformers
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from transformers import AutoProcessor
from transformers.utils import logging

from mmre.annotation.model_files import files_fingerprint
from mmre.annotation.unfinished import append_line, read_batches
from mmre.evaluation.markdown import as_cell
from mmre.evaluation.output_lock import only_writer
from mmre.evaluation.plots import drawable
from mmre.evaluation.run_record import SETTINGS_FILE, posts_in_short
from mmre.inference.cards import CardMaker
from mmre.inference.error_page import PAGE_FILE, write_error_page
from mmre.inference.explanation_plot import draw_scores, score_colors
from mmre.inference.explanations import Explanation, explain
from mmre.inference.inner_values import ATTENTION
from mmre.inference.loading import load_model
from mmre.posts.fingerprint import posts_fingerprint
from mmre.posts.sources import open_posts
from mmre.posts.whole_file import whole_file
from mmre.training.arguments import DataArguments
from mmre.training.settings import read_config

RESAMPLES = 2000  # of the bootstrap
LEAST_DIFFERENCE = 0.01  # of probability; below, a sure difference says nothing
FIGURES = {"focalmre_fig4": "focalmre", "tgdi_fig5": "tgdi"}
POSTS_OF_A_FIGURE, POSTS_OF_THE_TABLE = 3, 100
PANEL = 2.6  # inches
LEAST_POSTS = 10  # of a verdict: the bootstrap of a few is narrow whatever they are
MEANS = ("drop", "random_drop", "difference", "low", "high")
CARDS_FILE = "cards.part"  # beside the page until it is written
CARDS_VERSION = 1


class TrainedRun:
    """A trained model with its processor and the test posts of its run.

    Args:
        folder: the output folder of `mmre train`, with the model.

    Raises:
        FileNotFoundError: the folder has no `resolved_config.yaml`.
        OSError: the model or its posts are gone.
    """

    def __init__(self, folder: str | os.PathLike):
        self.folder = Path(folder)
        settings = self.folder / SETTINGS_FILE
        if not settings.is_file():
            raise FileNotFoundError(f"there is no file {settings}; expected the output folder of a run of mmre train")
        names = DataArguments.__dataclass_fields__
        data = DataArguments(**{name: value for name, value in read_config(settings).items() if name in names})
        self.model, self.processor = load_model(folder), AutoProcessor.from_pretrained(folder)
        ids = self.model.config.id2label
        self.posts = open_posts(
            **data.places,
            use_images=data.use_images,
            relations=[ids[number] for number in sorted(ids)],
            num_synthetic_posts=data.num_synthetic_posts,
        )["test"]
        self.name = f"{self.model.config.model_type}, {data.dataset}"

    def rows(self, ids: Sequence[str], count: int | None = None) -> datasets.Dataset:
        """Return the test posts of these ids, in their order; without ids the first `count`, or all.

        Raises:
            ValueError: there is no such post.
        """
        if not ids:
            return self.posts if count is None else self.posts.select(range(min(count, len(self.posts))))
        places = {post_id: place for place, post_id in enumerate(self.posts["id"])}
        missing = [post_id for post_id in ids if post_id not in places]
        if missing:
            some = ", ".join(list(places)[:3])
            raise ValueError(f"--posts {missing[0]}: {self.folder} has no such test post; it has {some} and others")
        return self.posts.select([places[post_id] for post_id in ids])


def explain_run(folder: str, out: str | os.PathLike, ids: Sequence[str] = (), method: str = "occlusion") -> Path:
    """Write a page of a run's test posts, the errors first, or go on with one that was stopped.

    Args:
        folder: of the run.
        out: new folder of the page and its pictures; or one in which this was stopped, with the cards that are done.
        ids: of test posts; all if there are none.
        method: of the explanations, see [`~mmre.inference.explanations.explain`].

    Returns:
        The path of the page.

    Raises:
        OutputFileError: cards are there that were made by another method, of another model or of other posts.
        OSError: the page is there already, or the run, its model or its posts are not.
        ValueError: there is no such post, the method does not exist for the model, or another run is writing there.
        ImportError: the method needs captum, which is not installed.
    """
    with only_writer(Path(out)):
        return _explain_run(folder, Path(out), ids, method)


def _explain_run(folder: str, out: Path, ids: Sequence[str], method: str) -> Path:
    page, part = out / PAGE_FILE, out / CARDS_FILE
    if page.exists():
        raise FileExistsError(f"{page} is there already; give another --out, or delete it")
    run = TrainedRun(folder)
    posts, make_card = run.rows(ids), CardMaker(run.model, run.processor, out, method)
    header = {
        "mmre_cards": CARDS_VERSION,
        "files_sha256": files_fingerprint(folder),
        "posts_sha256": posts_fingerprint({"test": posts}),
        "method": method,
        "transformers": transformers.__version__,
    }
    ends = [end for _, _, end in read_batches(part, header)] if part.exists() else []
    done = max(0, len(ends) - 1)  # the first line is the header
    rest = posts.select(range(done, len(posts)))
    relation_of = posts.features["relation"].int2str
    out.mkdir(exist_ok=True)
    bar = logging.tqdm(total=len(posts), initial=done, desc="Explaining", unit="post")
    with open(part, "ab", buffering=0) as file, bar:
        file.truncate(ends[-1] if ends else 0)
        for number, (post, short) in enumerate(zip(rest, posts_in_short(rest)), start=done):
            card = make_card(post["id"], post, gold=relation_of(post["relation"]), picture_name=short["image"])
            # Not before a card is there: what fails at the first one may be tried with other settings.
            if not (ends or number):
                append_line(file, header)
            append_line(file, {"batch": number, "rows": [card]})
            bar.update()
    cards = (card for _, rows, _ in read_batches(part, header) for card in rows)
    write_error_page(out, f"{run.folder.name}: {run.name}", method, cards)
    part.unlink()
    return page


def measure_runs(folders: Sequence[str], ids: Sequence[str], method: str) -> Iterator[dict[str, Any]]:
    """Measure for each model whether its explanations are faithful.

    Args:
        folders: of the runs.
        ids: of their test posts; the first `POSTS_OF_THE_TABLE` if there are none.
        method: of the scores, beside the model's own attention.

    Yields:
        For each run, explanation and kind of parts: the number of `posts`; the mean `drop` of the probability without
        the parts of the highest scores; the mean `random_drop`; their `difference` with the `low` and the `high` end of
        its 95 % interval (bootstrap over the posts).
    """
    for folder in folders:
        run = TrainedRun(folder)
        found: dict[tuple[str, str], list[tuple[float, float]]] = {}
        posts = run.rows(ids, POSTS_OF_THE_TABLE)
        for post in logging.tqdm(posts, desc=f"Explaining {run.folder.name}", unit="post"):
            for line in explain(run.model, run.processor, post, method=method, check=True).faithfulness:
                found.setdefault((line.explanation, line.parts), []).append((line.drop, line.random_drop))
        for (explanation, parts), drops in found.items():
            top, others = np.array(drops).T
            low, high = interval(top - others)
            yield {
                **{"system": run.name, "explanation": explanation, "parts": parts, "posts": len(drops)},
                **{"drop": top.mean(), "random_drop": others.mean()},
                **{"difference": (top - others).mean(), "low": low, "high": high},
            }


def interval(differences: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of a mean, by bootstrap."""
    chosen = np.random.default_rng(0).integers(0, len(differences), (RESAMPLES, len(differences)))
    low, high = np.percentile(differences[chosen].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def faithfulness_table(rows: Sequence[dict[str, Any]]) -> str:
    """Format what was measured, in Markdown.

    Args:
        rows: from [`measure_runs`].
    """
    lines = [
        "Drop of the predicted relation's probability without the fifth of the parts that has the highest scores, and "
        "without as many at random.",
        "",
        "| system | explanation | parts | posts | drop | at random | difference [95 %] | a reason? |",
        "|---|---|---|--:|--:|--:|--:|---|",
    ]
    for row in rows:
        verdict = "yes" if row["low"] > 0 else "less than chance" if row["high"] < 0 else "not shown"
        if max(abs(row["low"]), abs(row["high"])) < LEAST_DIFFERENCE:
            verdict = "these parts hardly count"
        if row["posts"] < LEAST_POSTS:
            verdict = "too few posts"
        # Adding zero takes the sign of what rounds to zero.
        means = {name: f"{round(row[name], 3) + 0.0:.3f}" for name in MEANS}
        difference = f"{means['difference']} [{means['low']}, {means['high']}]"
        cells = [as_cell(row["system"]), row["explanation"].replace("_", " "), row["parts"], str(row["posts"])]
        cells += [means["drop"], means["random_drop"], difference, verdict]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def draw_figure(name: str, folder: str, ids: Sequence[str], path: str | os.PathLike) -> list[str]:
    """Draw a figure of attention over chosen posts.

    `focalmre_fig4` shows for each post the focal attention of the two entities on the picture as it is, and on the
    augmented pictures of two regions: the one without which the relation loses most, and the one without which it loses
    least. `tgdi_fig5` shows the matching scores of the whole picture, with text and caption.

    Args:
        name: one of `FIGURES`.
        folder: of a run of that system.
        ids: of test posts; the first ones if there are none.
        path: the PNG file to write.

    Returns:
        The ids of the posts.

    Raises:
        ValueError: the model is of another system, as configured has no attention, or there is no such post.
    """
    run = TrainedRun(folder)
    kind = run.model.config.model_type
    if kind != FIGURES[name]:
        raise ValueError(f"{name} is of {FIGURES[name]}, and {folder} is a {kind!r}")
    posts = run.rows(ids, POSTS_OF_A_FIGURE)
    columns = 4 if kind == "focalmre" else 2
    figure = Figure(figsize=(PANEL * columns, (PANEL + 0.5) * len(posts)), layout="constrained", dpi=150)
    for row, post in zip(figure.subplots(len(posts), columns, squeeze=False), posts):
        found = explain(run.model, run.processor, post, method=ATTENTION)
        row[0].imshow(found.image)
        _title(row[0], found, run.posts.features["relation"].int2str(post["relation"]))
        if kind == "focalmre":
            plain = post | {"grounded_regions": [], "detected_regions": []}
            _panel(row[1], explain(run.model, run.processor, plain, method=ATTENTION), 0, "original picture")
            lost = explain(run.model, run.processor, post).scores.slots
            for axes, number, word in ((row[2], lost.argmax(), "counts most"), (row[3], lost.argmin(), "counts least")):
                _panel(axes, found, int(number), f"{found.slots[number].name}, {word}")
        else:
            _panel(row[1], found, 0, "matching scores of the entities")
            row[1].set_xlabel(drawable(f"caption: {post['caption'] or 'none'}"), fontsize=6)
        for axes in row:
            axes.set(xticks=[], yticks=[])
    with whole_file(path, "wb") as file:
        figure.savefig(file, format="png")
    return list(posts["id"])


def _title(axes, found: Explanation, gold: str) -> None:
    names = [drawable(found.text[slice(*span)]) for span in (found.head, found.tail)]
    said = "right" if found.prediction == gold else f"predicted {drawable(found.prediction)}"
    axes.set_title(f"{names[0]}, {names[1]}\n{drawable(gold)}: {said}", fontsize=7)


def _panel(axes, found: Explanation, number: int, title: str) -> None:
    scores = found.scores.patches[number]
    norm, colors = score_colors([scores], ATTENTION)
    draw_scores(axes, found.slots[number].view.draw(), (0, 0, 1, 1), scores, norm, colors)
    # Scores that are nearly the same are all of one colour: the bar and the range say so.
    bar = axes.figure.colorbar(ScalarMappable(norm, colors), ax=axes, shrink=0.8)
    bar.ax.tick_params(labelsize=6)
    title += f"\nfrom {scores.min():.3g} to {scores.max():.3g}"
    axes.set_title(title, fontsize=7)


__all__ = ["FIGURES", "TrainedRun", "draw_figure", "explain_run", "faithfulness_table", "measure_runs"]
