"""The learning curve and the confusion matrix."""

import json

import matplotlib
import pytest
from PIL import Image

from mmre.evaluation.plots import MAX_RELATIONS, plot_confusion_matrix, plot_learning_curve
from mmre.posts.mnre import MNRE_RELATIONS

HISTORY = [
    {"epoch": 0.5, "step": 5, "loss": 2.0, "grad_norm": 1.0, "learning_rate": 1e-3},
    {"epoch": 1.0, "step": 10, "loss": 1.5},
    {"epoch": 1.0, "step": 10, "eval_loss": 1.8, "eval_f1": 0.25, "eval_accuracy": 0.5},
    {"epoch": 2.0, "step": 20, "loss": 1.0},
    {"epoch": 2.0, "step": 20, "eval_loss": 1.6, "eval_f1": 0.75, "eval_accuracy": 0.6},
    {"epoch": 2.0, "step": 20, "train_loss": 1.4, "train_runtime": 9.0},
]


def lines(axes) -> dict[str, list[tuple[float, float]]]:
    return {line.get_label(): [tuple(map(float, point)) for point in line.get_xydata()] for line in axes.get_lines()}


def test_the_learning_curve_shows_the_losses_and_the_validation_f1_over_the_epochs(tmp_path):
    figure = plot_learning_curve(HISTORY, tmp_path / "curve.png")
    loss, f1 = figure.axes
    assert (loss.get_xlabel(), loss.get_ylabel()) == ("epoch", "loss")
    assert (f1.get_xlabel(), f1.get_ylabel()) == ("epoch", "validation F1 (%)")
    assert lines(loss) == {"training": [(0.5, 2.0), (1.0, 1.5), (2.0, 1.0)], "validation": [(1.0, 1.8), (2.0, 1.6)]}
    assert lines(f1) == {"validation": [(1.0, 25.0), (2.0, 75.0)]}
    assert [text.get_text() for text in loss.get_legend().get_texts()] == ["training", "validation"]
    with Image.open(tmp_path / "curve.png") as image:
        assert image.format == "PNG"
        assert len(image.convert("RGB").getcolors(1 << 20)) > 2


def test_a_learning_curve_leaves_out_what_was_not_logged(tmp_path):
    figure = plot_learning_curve([entry for entry in HISTORY if "eval_f1" not in entry], tmp_path / "curve.png")
    (loss,) = figure.axes
    assert list(lines(loss)) == ["training"]
    assert plot_learning_curve(HISTORY[-1:], tmp_path / "nothing.png") is None
    assert not (tmp_path / "nothing.png").exists()


def test_the_confusion_matrix_has_the_shares_of_each_true_relation(tmp_path):
    references = [0, 0, 0, 0, 1, 1]
    predictions = [0, 0, 0, 2, 1, 0]
    figure = plot_confusion_matrix(references, predictions, ["None", "couple", "peer"], tmp_path / "matrix.png")
    axes = figure.axes[0]
    assert axes.images[0].get_array().tolist() == [[75, 0, 25], [50, 50, 0], [0, 0, 0]]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted relation", "true relation (posts)")
    assert [label.get_text() for label in axes.get_xticklabels()] == ["None", "couple", "peer"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["None (4)", "couple (2)", "peer (0)"]
    shown = {text.get_position(): text.get_text() for text in axes.texts if text.get_visible()}
    assert shown == {(0, 0): "75", (2, 0): "25", (0, 1): "50", (1, 1): "50"}
    with Image.open(tmp_path / "matrix.png") as image:
        assert image.format == "PNG"
        assert len(image.convert("RGB").getcolors(1 << 20)) > 2


def test_the_names_of_mnre_s_relations_do_not_overlap(tmp_path):
    ids = list(range(len(MNRE_RELATIONS)))
    figure = plot_confusion_matrix(ids, ids, MNRE_RELATIONS, tmp_path / "matrix.png")
    axes = figure.axes[0]
    page = figure.bbox
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        boxes = [label.get_window_extent() for label in labels]
        assert len(boxes) == 23
        assert all(page.x0 <= box.x0 and page.y0 <= box.y0 and box.x1 <= page.x1 and box.y1 <= page.y1 for box in boxes)
        for one, next_one in zip(boxes, boxes[1:]):
            assert not one.overlaps(next_one)


def test_the_user_s_matplotlib_stays_as_it_is(tmp_path):
    # Not `rcParams["backend"]`: to look at it would choose one.
    before, backend = matplotlib.rcParams.copy(), matplotlib.get_backend(auto_select=False)
    plot_learning_curve(HISTORY, tmp_path / "curve.png")
    plot_confusion_matrix([0, 1], [0, 1], ["None", "couple"], tmp_path / "matrix.png")
    assert matplotlib.rcParams.copy() == before
    assert matplotlib.get_backend(auto_select=False) == backend


def test_a_training_leaves_both_pictures(run):
    for name in ("learning_curve.png", "confusion_matrix.png"):
        with Image.open(run / name) as image:
            assert image.format == "PNG"
            assert len(image.convert("RGB").getcolors(1 << 20)) > 2


def test_the_history_of_a_training_has_what_is_drawn(run, tmp_path):
    history = json.loads((run / "checkpoint-12" / "trainer_state.json").read_text())["log_history"]
    loss, f1 = plot_learning_curve(history, tmp_path / "curve.png").axes
    assert [epoch for epoch, _ in lines(loss)["training"]] == pytest.approx([0.5, 1.0, 1.5, 2.0])
    assert [epoch for epoch, _ in lines(f1)["validation"]] == [1.0, 2.0]


def test_the_best_epoch_is_marked_and_named(tmp_path):
    history = [*HISTORY, {"epoch": 3.0, "eval_f1": 0.5}, {"epoch": 4.0, "eval_f1": 0.75}]
    _, f1 = plot_learning_curve(history, tmp_path / "curve.png").axes
    assert f1.get_title() == "best: 75.00 % at epoch 2"  # of two as good, the first, which is the one that is kept
    assert f1.collections[0].get_offsets().tolist() == [[2.0, 75.0]]


def test_many_relations_are_bounded_and_those_with_few_posts_stand_together(tmp_path):
    names = ["None", *(f"relation {number}" for number in range(1, 900))]
    references = [number for number in range(900) for _ in range(3 if number in (5, 800) or number < 37 else 1)]
    predictions = [0 if number == 800 else number for number in references]
    figure = plot_confusion_matrix(references, predictions, names, tmp_path / "matrix.png", title="F1 1 %")
    axes = figure.axes[0]
    rows = [label.get_text() for label in axes.get_yticklabels()]
    assert len(rows) == MAX_RELATIONS and axes.get_title() == "F1 1 %"
    assert rows[:2] == ["None (3)", "relation 1 (3)"] and "relation 800 (3)" in rows
    others = 900 - (MAX_RELATIONS - 1)
    assert rows[-1] == f"{others} others ({others})"
    shares = axes.images[0].get_array()
    assert shares[rows.index("relation 800 (3)"), 0] == 100 and shares[-1, -1] == 100
    with Image.open(tmp_path / "matrix.png") as image:
        assert max(image.size) < 4000


def test_names_that_the_font_lacks_or_that_would_be_formulas_are_written_out(tmp_path, recwarn):
    names = ["None", "家族", "a$b$c", "x" * 99, "a\nb", "Straße"]
    figure = plot_confusion_matrix([0], [0], names, tmp_path / "matrix.png")
    shown = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert shown == ["None", r"\u{5bb6}\u{65cf}", r"a\$b\$c", "x" * 39 + "…", r"a\u{a}b", "Straße"]
    assert not [warning for warning in recwarn if "Glyph" in str(warning.message)]
