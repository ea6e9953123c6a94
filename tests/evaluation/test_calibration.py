"""Temperature, expected calibration error and reliability diagram."""

import math

import numpy as np
import pytest
from PIL import Image

from mmre.evaluation.calibration import (
    calibration_lines,
    compare_calibration,
    fit_temperature,
    mean_loss,
    measure_calibration,
)
from mmre.evaluation.plots import plot_reliability


def logits_of(*scores: float) -> list[list[float]]:
    """Logits of two relations, the first with this probability."""
    return [[math.log(score / (1 - score)), 0.0] for score in scores]


def loss_by_loops(logits: np.ndarray, labels: list[int], temperature: float) -> float:
    total = 0.0
    for row, label in zip(logits.tolist(), labels):
        powers = [math.exp((value - max(row)) / temperature) for value in row]
        total -= math.log(powers[label] / sum(powers))
    return total / len(labels)


@pytest.mark.parametrize("true_temperature", [0.4, 1.0, 3.0])
def test_the_temperature_is_the_one_that_a_search_over_a_grid_finds(true_temperature):
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 2, (400, 4))
    chances = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    labels = [int(generator.choice(4, p=row)) for row in chances]
    logits *= true_temperature
    grid = [true_temperature * (0.7 + step / 200) for step in range(121)]
    best = min(grid, key=lambda temperature: loss_by_loops(logits, labels, temperature))
    assert grid[0] < best < grid[-1]
    assert fit_temperature(logits, np.array(labels)) == pytest.approx(best, abs=true_temperature / 200)


def test_two_thirds_right_at_one_score_make_the_score_two_thirds():
    """By hand: of three posts with the logits (3, 0), two are right; 1 / (1 + exp(-3 / T)) = 2 / 3 for T = 3 / ln 2."""
    temperature = fit_temperature(np.array([[3.0, 0.0]] * 3), np.array([0, 0, 1]))
    assert temperature == pytest.approx(3 / math.log(2), rel=1e-4)


def test_answers_that_are_all_right_tell_no_temperature():
    assert fit_temperature(np.array([[3.0, 0.0], [0.0, 1.0]]), np.array([0, 1])) is None
    assert fit_temperature(np.zeros((0, 2)), np.zeros(0, dtype=int)) is None


def test_the_calibration_error_is_that_of_a_table_made_by_hand():
    # Bins of 1/15: 0.55 and 0.59 lie in (8/15, 9/15], 0.97 and 0.99 in (14/15, 1]; 0.75 in (11/15, 12/15].
    scores, right = [0.55, 0.59, 0.75, 0.97, 0.99], [1, 0, 0, 1, 1]
    logits, labels = np.array(logits_of(*scores)), np.array([0 if each else 1 for each in right])
    found = measure_calibration(logits, labels)
    by_hand = 2 / 5 * abs(0.5 - 0.57) + 1 / 5 * abs(0 - 0.75) + 2 / 5 * abs(1 - 0.98)
    assert found["ece"] == pytest.approx(by_hand, abs=1e-12)
    filled = {number: each for number, each in enumerate(found["bins"]) if each["posts"]}
    assert {number: each["posts"] for number, each in filled.items()} == {8: 2, 11: 1, 14: 2}
    assert filled[8] == {"posts": 2, "score": pytest.approx(0.57), "accuracy": 0.5}
    assert found["bins"][0] == {"posts": 0, "score": None, "accuracy": None}
    losses = [-math.log(score if each else 1 - score) for score, each in zip(scores, right)]
    assert found["loss"] == pytest.approx(sum(losses) / 5)


def test_a_score_at_the_edge_of_two_bins_lies_in_the_lower_one_and_one_lies_in_the_last():
    # Softmax of 15 equal logits is 1/15; of two with a difference of 1000 it is 1.
    edge = measure_calibration(np.zeros((1, 15)), np.array([0]))["bins"]
    assert edge[0]["posts"] == 1
    assert measure_calibration(np.array([[1000.0, 0.0]]), np.array([0]))["bins"][14]["posts"] == 1


def test_a_temperature_changes_scores_and_no_answer(tmp_path):
    logits, labels = np.array([[4.0, 0.0, 1.0], [0.0, 5.0, 1.0], [6.0, 0.0, 0.0]]), np.array([0, 1, 1])
    measured = compare_calibration(logits, labels, 4.0)
    before, after = ([each for each in measured[name]["bins"] if each["posts"]] for name in ("before", "after"))
    assert max(each["score"] for each in after) < min(each["score"] for each in before)
    right = [sum(each["posts"] * each["accuracy"] for each in bins) for bins in (before, after)]
    assert right[0] == right[1] == pytest.approx(2)


def test_the_diagram_has_a_bar_for_each_bin_that_has_posts(tmp_path):
    logits, labels = np.array(logits_of(0.55, 0.59, 0.97, 0.99)), np.array([0, 1, 0, 0])
    three = {"test": compare_calibration(logits[:3].repeat(3, 0)[:3], labels[:1].repeat(3), 1.0)}  # 0.8 x 3 / 3 > 0.8
    assert plot_reliability({"temperature": 1.0, "splits": three}, tmp_path / "three.png").axes
    splits = {"validation": compare_calibration(logits, labels, 2.0), "test": compare_calibration(logits, labels, 2.0)}
    figure = plot_reliability({"temperature": 2.0, "splits": splits}, tmp_path / "reliability.png")
    assert len(figure.axes) == 4
    first = figure.axes[0]
    assert [round(bar.get_height(), 6) for bar in first.patches] == [0.5, 1.0]
    assert first.patches[0].get_x() == pytest.approx(8 / 15)
    error = 100 * (0.5 * abs(0.5 - 0.57) + 0.5 * abs(1 - 0.98))
    assert first.get_title() == f"validation, temperature 1: ECE {error:.2f} %"
    assert figure.axes[3].get_title().startswith("test, temperature 2: ECE ")
    with Image.open(tmp_path / "reliability.png") as image:
        assert image.format == "PNG"


def test_the_table_has_both_splits_and_says_the_formula():
    logits, labels = np.array(logits_of(0.97, 0.99)), np.array([0, 1])
    results = {"calibration": {"temperature": 2.0, "splits": {"test": compare_calibration(logits, labels, 2.0)}}}
    lines = calibration_lines(results)
    assert "softmax(logits / 2)" in lines[1] and "|share of right answers - mean score|" in lines[1]
    assert lines[-1].startswith("| test | 2 | 48.00 | ")
    assert calibration_lines({}) == calibration_lines({"calibration": {"temperature": 1.0, "splits": {}}}) == []


def test_a_model_that_knows_nothing_has_no_temperature():
    """Each answer is wrong, so that the loss falls on, to that of equal scores, however large the temperature."""
    logits = np.array([[2.0, 0.0, 0.0]] * 3)
    labels = np.array([1, 2, 1])
    losses = [mean_loss(logits, labels, temperature) for temperature in (1, 10, 100, 1000)]
    assert losses == sorted(losses, reverse=True) and losses[-1] > np.log(3)
    assert fit_temperature(logits, labels) is None
