"""Crops of two sizes in one row of patches, and which encoders can be coupled."""

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from model_helpers import ENCODERS, tiny_batch, tiny_config, tiny_model
from slow_attention import slow_crops
from torch import nn

from mmre.modeling import MODELS

COUPLED = ("ifaformer", "mkgformer")
ENCODER = {"image_size": 32, "patch_size": 16, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}


@pytest.fixture(params=[name for name in COUPLED if name in MODELS])
def system(request) -> str:
    return request.param


@torch.no_grad()
def test_the_row_is_the_class_token_and_the_patches_of_each_crop_with_their_positions(system):
    model = tiny_model(system)
    batch = tiny_batch(system, model.config)
    states, mask, attended = model._embed_crops(batch["pixel_values"], batch["image_mask"], 5)
    assert states.shape == (5, 1 + 2 * 4 + 2 * 1, 24)
    for post, exists in enumerate(batch["image_mask"].tolist()):
        # A class token, twice four patches of a grounded crop, twice the one of a detected crop.
        grounded, detected = exists[:2], exists[2:]
        expected = [any(exists), *(slot for slot in grounded for _ in range(4)), *detected]
        assert mask[post].tolist() == expected
        torch.testing.assert_close(
            states[post, mask[post]], slow_crops(model, batch, post)[mask[post]], atol=1e-4, rtol=1e-4
        )
        # Where there is no picture all are attended, and none is read.
        assert (attended[post, 0] == torch.tensor(expected if any(exists) else [True] * 11)).all()


@torch.no_grad()
def test_a_crop_is_scaled_to_its_number_of_patches(system):
    seen = []
    for grids in ((4, 2), (1, 3)):
        model = tiny_model(system, **dict(zip(("grounded_grid_size", "detected_grid_size"), grids)))
        embedding = model.crop_embedding
        rows = embedding.grounded_positions.num_embeddings, embedding.detected_positions.num_embeddings
        assert rows == (2 * grids[0] ** 2, 2 * grids[1] ** 2)
        convolution = next(module for module in model.vision_model.modules() if isinstance(module, nn.Conv2d))
        convolution.register_forward_pre_hook(lambda _, arguments: seen.append(tuple(arguments[0].shape[2:])))
        assert model(**tiny_batch(system, model.config)).logits.isfinite().all()
    assert seen == [(64, 64), (32, 32), (16, 16), (48, 48)]
    for name in ("grounded_grid_size", "detected_grid_size"):
        with pytest.raises(StrictDataclassError, match=f"`{name}` must be positive, got 0"):
            tiny_config(system, **{name: 0})


@torch.no_grad()
@pytest.mark.parametrize("group", ["num_grounded_regions", "num_detected_regions"])
def test_one_kind_of_region_is_enough(system, group):
    other = {"num_grounded_regions", "num_detected_regions"} - {group}
    model = tiny_model(system, **{group: 4, other.pop(): 0})
    batch = tiny_batch(system, model.config)
    logits = model(**batch).logits
    assert logits.isfinite().all() and torch.pdist(logits).min() > 1e-3


@torch.no_grad()
@pytest.mark.parametrize("kind", ["vit", "deit", "dinov2"])
def test_vision_encoders_of_other_kinds_are_coupled(system, kind):
    model = tiny_model(system, vision_config={"model_type": kind, "intermediate_size": 12, **ENCODER})
    batch = tiny_batch(system, model.config)
    changed = batch["pixel_values"].clone()
    changed[0, 1] += 1
    logits, other = model(**batch).logits, model(**batch | {"pixel_values": changed}).logits
    assert ((logits - other).abs().amax(dim=1) > 1e-4).tolist() == [True, False, False, False, False]


def test_an_encoder_that_cannot_be_coupled_is_refused(system):
    build, siglip = MODELS[system], {"model_type": "siglip_vision_model", "intermediate_size": 12, **ENCODER}
    with pytest.raises(ValueError, match="SiglipVisionModel cannot be run layer by layer on crops: it must have"):
        build(tiny_config(system, vision_config=siglip))
    text = {"model_type": "modernbert", "vocab_size": 60, "hidden_size": 16, "num_hidden_layers": 2}
    text |= {"num_attention_heads": 4, "intermediate_size": 20, "pad_token_id": 0, "cls_token_id": 1}
    with pytest.raises(ValueError, match="ModernBertModel cannot be run layer by layer"):
        build(tiny_config(system, text_config=text))
    own_list = {"model_type": "data2vec-vision", "intermediate_size": 12, **ENCODER}
    with pytest.raises(ValueError, match="The layers of .* or data2vec-vision cannot be coupled"):
        build(tiny_config(system, vision_config=own_list))
    mobile = {**ENCODERS["text"], "model_type": "mobilebert", "embedding_size": 16, "pad_token_id": 0}
    with pytest.raises(ValueError, match="The layers of MobileBertModel cannot be coupled .* keys as wide as their"):
        build(tiny_config(system, text_config=mobile))
    model = tiny_model(system)
    with pytest.raises(ValueError, match="attends over a prefix with 'sdpa' or 'eager', not with 'flash_attention_2'"):
        model.set_attn_implementation("flash_attention_2")


@torch.no_grad()
@pytest.mark.parametrize("kind", ["roberta", "electra"])
def test_text_encoders_of_other_kinds_are_coupled(system, kind):
    text = {**ENCODERS["text"], "model_type": kind, "pad_token_id": 0, "embedding_size": 8}
    model = tiny_model(system, text_config=text)
    batch = tiny_batch(system, model.config)
    logits = model(**batch).logits
    # Without pictures it is the encoder's own output.
    states = model.text_model(batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
    entities = torch.stack([states[i, p] for i, p in enumerate(batch["entity_positions"])]).flatten(1)
    expected = model.classifier(entities)
    torch.testing.assert_close(logits[2], expected[2], atol=1e-5, rtol=1e-5)
    assert ((logits - expected).abs().amax(dim=1) > 1e-3).tolist() == [True, True, False, True, True]
