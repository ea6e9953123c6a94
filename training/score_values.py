"""Scores of a trained model: whether it saw pairs without a relation, and the temperature, fitted on validation."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets
from accelerate import PartialState
from peft import PeftModel
from transformers import PreTrainedModel
from transformers.trainer_utils import PredictionOutput
from transformers.utils import logging

from mmre.evaluation.calibration import compare_calibration, fit_temperature
from mmre.inference.adapter_scores import save_score_values
from mmre.posts.schema import NEGATIVE_RELATION

logger = logging.get_logger("mmre.train")


def begin_scores(model: PreTrainedModel | PeftModel, posts: datasets.Dataset) -> None:
    """Set what the model's configuration says of its scores to that of an untrained model, on these training posts."""
    names = posts.features["relation"].names
    negative = names.index(NEGATIVE_RELATION) if NEGATIVE_RELATION in names else None
    model.config.score_temperature = 1.0
    model.config.trained_without_none = negative not in posts["relation"][:]
    if model.config.trained_without_none and PartialState().is_main_process:
        logger.warning(
            f"No training post has the relation {NEGATIVE_RELATION!r}: the model will name a relation for almost every "
            "pair of entities. Posts whose entities are not related mend that."
        )


def finish_scores(model: PreTrainedModel | PeftModel, validation: PredictionOutput | None, output_dir: Path) -> None:
    """Fit the temperature of the model's scores, and write it to the saved model.

    Args:
        model: the trained model, which was saved to the output folder.
        validation: its logits and labels of the validation posts; None without such posts.
        output_dir: the output folder.
    """
    reason = "there are no validation posts"
    if validation is not None:
        temperature = fit_temperature(validation.predictions, validation.label_ids)
        reason = (
            "all validation posts are answered rightly, or the scores say no more than chance, so that none fits best"
        )
        model.config.score_temperature = 1.0 if temperature is None else temperature
    if not PartialState().is_main_process:
        return
    if validation is None or temperature is None:
        logger.warning(f"The scores are the model's own, with temperature 1: {reason}.")
    save_score_values(model, output_dir)


def add_calibration(
    results: dict[str, Any], model: PreTrainedModel | PeftModel, predictions: Mapping[str, PredictionOutput | None]
) -> None:
    """Add `calibration` to the results of a run: the temperature, and for each split how far scores can be trusted.

    Args:
        results: gets the calibration, beside that of splits which were measured before.
        model: the model, whose configuration has the temperature.
        predictions: logits and labels of the splits that were predicted, by name.
    """
    temperature = model.config.score_temperature
    splits = dict(results.get("calibration", {}).get("splits", {}))
    for split, prediction in predictions.items():
        if prediction is not None:
            splits[split] = compare_calibration(prediction.predictions, prediction.label_ids, temperature)
    results["calibration"] = {
        "temperature": temperature,
        "trained_without_none": model.config.trained_without_none,
        "splits": splits,
    }


__all__ = ["add_calibration", "begin_scores", "finish_scores"]
