"""Values about scores: set at the start of a training, and written at its end."""

import json
import logging

import datasets
import numpy as np
import pytest
from transformers import AutoModel
from transformers.trainer_utils import PredictionOutput

from mmre.training.score_values import add_calibration, begin_scores, finish_scores


def posts(*labels: int) -> datasets.Dataset:
    relation = datasets.ClassLabel(names=["None", "/per/per/couple", "/per/misc/awarded", "/per/org/member_of"])
    return datasets.Dataset.from_dict({"relation": list(labels)}, datasets.Features({"relation": relation}))


@pytest.fixture
def said(caplog):
    """What is said to the user."""
    logger = logging.getLogger("mmre.train")
    logger.addHandler(caplog.handler)
    yield lambda: [record.getMessage() for record in caplog.records]
    logger.removeHandler(caplog.handler)


def validation(*right: bool) -> PredictionOutput:
    return PredictionOutput(np.array([[3.0, 0.0]] * len(right)), np.array([0 if each else 1 for each in right]), {})


def test_a_training_without_a_pair_without_a_relation_is_warned_of_and_kept(tiny_model, tmp_path, said):
    model = tiny_model()
    model.config.score_temperature = 7.0  # of an earlier training
    begin_scores(model, posts(1, 0, 2))
    assert (model.config.score_temperature, model.config.trained_without_none) == (1.0, False) and said() == []
    begin_scores(model, posts(1, 3, 2))
    assert model.config.trained_without_none and "No training post has the relation 'None'" in said()[0]
    model.save_pretrained(tmp_path)
    assert AutoModel.from_pretrained(tmp_path).config.trained_without_none is True


def test_the_temperature_is_written_into_the_saved_configuration_and_changes_no_other_value(tiny_model, tmp_path):
    model = tiny_model()
    model.save_pretrained(tmp_path)
    before = json.loads((tmp_path / "config.json").read_text("utf-8"))
    finish_scores(model, validation(True, True, False), tmp_path)
    after = json.loads((tmp_path / "config.json").read_text("utf-8"))
    # By hand: 2 of 3 are right at logits (3, 0); 1 / (1 + exp(-3 / T)) = 2 / 3 for T = 3 / ln 2.
    assert after.pop("score_temperature") == pytest.approx(4.328085, rel=1e-4)
    assert before.pop("score_temperature") == 1 and before == after


@pytest.mark.parametrize(
    ("prediction", "reason"),
    [(None, "there are no validation posts"), (validation(True, True), "all validation posts are answered rightly")],
)
def test_where_no_temperature_can_be_learned_it_is_one_and_that_is_said(tiny_model, tmp_path, said, prediction, reason):
    model = tiny_model()
    model.save_pretrained(tmp_path)
    finish_scores(model, prediction, tmp_path)
    assert model.config.score_temperature == 1.0 and f"with temperature 1: {reason}" in said()[-1]


def test_splits_that_were_measured_before_stay_in_the_record(tiny_model):
    results = {"calibration": {"temperature": 1.0, "splits": {"validation": "as before"}}}
    add_calibration(results, tiny_model(), {"test": validation(True, False)})
    assert results["calibration"]["splits"]["validation"] == "as before"
    assert results["calibration"]["splits"]["test"]["before"]["ece"] == pytest.approx(abs(0.5 - 1 / (1 + np.exp(-3))))
