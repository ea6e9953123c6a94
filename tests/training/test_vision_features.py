"""Features of a frozen vision encoder: the same outputs and gradients, with each picture encoded once."""

import pytest
import torch
from model_helpers import CASES, loss_and_gradients, tiny_batch, tiny_model
from run_helpers import settings_of

from mmre.modeling.coupled_encoders import CoupledRelationExtractionPreTrainedModel
from mmre.training.vision_features import keep_vision_features


def frozen(case: str):
    model = tiny_model(case)
    for encoder in model.encoders("vision"):
        encoder.requires_grad_(False)
    return model


MODELS_OF_CASES = {case: tiny_model(case) for case in CASES}
PLAIN = [
    case
    for case, model in MODELS_OF_CASES.items()
    if model.encoders("vision") and not isinstance(model, CoupledRelationExtractionPreTrainedModel)
]


@pytest.mark.parametrize("case", PLAIN)
def test_logits_and_gradients_stay_the_same_and_a_picture_is_encoded_once(case, tmp_path):
    torch.manual_seed(0)
    model = frozen(case)
    batch = tiny_batch(case, model.config, labels=True)
    loss, gradients = loss_and_gradients(model, batch)
    with torch.no_grad():
        logits = model(**batch).logits
    for encoder in model.encoders("vision"):
        encoder.plain = encoder.forward
    keep_vision_features(model, tmp_path)
    for _ in range(2):
        kept_loss, kept = loss_and_gradients(model, batch)
        torch.testing.assert_close(kept_loss, loss, atol=1e-6, rtol=1e-5)
        assert kept.keys() == gradients.keys()
        for name, gradient in gradients.items():
            torch.testing.assert_close(kept[name], gradient, atol=1e-6, rtol=1e-4, msg=name)
    for encoder in model.encoders("vision"):
        encoder.forward.forward = None  # nothing is left to encode
    with torch.no_grad():
        torch.testing.assert_close(model(**batch).logits, logits, atol=1e-6, rtol=1e-5)


def test_other_weights_have_other_features(tmp_path):
    first, second = frozen("focalmre"), frozen("focalmre")
    with torch.no_grad():
        for parameter in second.vision_model.parameters():
            parameter.mul_(1.5)
    batch = tiny_batch("focalmre", first.config)
    with torch.no_grad():
        expected = [model(**batch).logits for model in (first, second)]
        for model in (first, second):
            keep_vision_features(model, tmp_path)
        found = [model(**batch).logits for model in (first, second)]
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)
    assert not torch.allclose(*expected) and len([*tmp_path.iterdir()]) == 2


def test_a_file_that_is_cut_is_written_anew(tmp_path):
    model = frozen("focalmre")
    batch = tiny_batch("focalmre", model.config)
    keep_vision_features(model, tmp_path)
    with torch.no_grad():
        expected = model(**batch).logits
        for path in tmp_path.glob("*/*/*"):
            path.write_bytes(path.read_bytes()[:-4])
        torch.testing.assert_close(model(**batch).logits, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("kind", "message"), [("mtb", "has no vision encoder"), ("mkgformer", "has its vision encoder read the text")]
)
def test_a_model_without_features_of_its_own_is_refused(kind, message, tmp_path):
    model = MODELS_OF_CASES[next(case for case, (name, *_) in CASES.items() if name == kind)]
    with pytest.raises(ValueError, match=f"`feature_cache`: .* {message}: leave it out"):
        keep_vision_features(model, tmp_path)


def test_features_of_an_encoder_that_is_trained_are_refused(config_file):
    with pytest.raises(ValueError, match="`feature_cache` is for those of a frozen vision encoder: set `freeze"):
        settings_of([config_file(), "--feature_cache", "features"])
