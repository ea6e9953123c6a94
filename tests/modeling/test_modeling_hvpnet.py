"""HVPNeT: pyramid, prefix and gates by hand."""

import math

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from model_helpers import ENCODERS, tiny_batch, tiny_config, tiny_model
from post_by_post import at_the_entities, posts_of
from slow_attention import check_region_weights, slow_bert_layer, slow_bert_weights, slow_embeddings
from transformers import AutoConfig, AutoModel

from mmre.modeling import HVPNeTForRelationClassification

SIZE = 16


def pool(feature_map: torch.Tensor) -> list[torch.Tensor]:
    """Average a map (channels, H, W) to 2 x 2 cells, row by row; a single cell is all four."""
    _, height, width = feature_map.shape
    rows = [(0, max(height // 2, 1)), (height // 2, height)]
    columns = [(0, max(width // 2, 1)), (width // 2, width)]
    return [feature_map[:, top:end, left:right].mean(dim=(1, 2)) for top, end in rows for left, right in columns]


def levels_of(model, picture: torch.Tensor) -> list[torch.Tensor]:
    """Return the four maps of one picture."""
    if model.config.vision_features == "maps":
        return [feature_map[0] for feature_map in model.vision_model(picture[None]).feature_maps]
    states = model.vision_model(picture[None], output_hidden_states=True).hidden_states
    assert len(states) == 3
    # A class token, then 2 x 2 patches; of two layers and the embeddings, four levels evenly spaced.
    return [states[i][0, 1:].T.unflatten(1, (2, 2)) for i in (0, 1, 2, 2)]


@torch.no_grad()
@pytest.mark.parametrize("case", ["hvpnet", "hvpnet-patches"])
def test_the_pyramid_is_a_prefix_of_each_layer(case):
    model = tiny_model(case)
    batch = tiny_batch(case, model.config)
    output = model(**batch, output_fusion=True)
    first, _, last = model.visual_prefix.projection
    gate = model.visual_prefix.gate
    for index, post in enumerate(posts_of(model, batch)):
        keys, values = ([[] for _ in range(2)] for _ in range(2))  # of each text layer
        for slot, _ in post.pictures:
            pooled = [pool(level) for level in levels_of(model, batch["pixel_values"][index, slot])]
            cells = [torch.cat([level[cell] for level in pooled]) for cell in range(4)]
            projected = [last.weight @ torch.tanh(first.weight @ cell + first.bias) + last.bias for cell in cells]
            blocks = [[cell[b * 2 * SIZE : (b + 1) * 2 * SIZE] for cell in projected] for b in range(4)]
            mean = torch.cat([sum(block[cell] for block in blocks) / 4 for cell in range(4)])
            for layer in range(2):
                scores = gate.weight[4 * layer : 4 * layer + 4] @ mean + gate.bias[4 * layer : 4 * layer + 4]
                scores = [math.exp(s if s > 0 else 0.01 * s) for s in scores.tolist()]
                weights = [score / sum(scores) for score in scores]
                torch.testing.assert_close(output.gates[index, slot, layer].tolist(), weights, atol=1e-4, rtol=1e-4)
                for cell in range(4):
                    both = sum(weight * block[cell] for weight, block in zip(weights, blocks))
                    keys[layer].append(both[:SIZE])
                    values[layer].append(both[SIZE:])
        states = slow_embeddings(model.text_model.embeddings, post.input_ids)
        weights = []
        for layer, own in enumerate(model.text_model.encoder.layer):
            prefix = (torch.stack(keys[layer]), torch.stack(values[layer])) if post.pictures else ()
            weights.append(slow_bert_weights(own, states, prefix[0] if prefix else None))
            states = slow_bert_layer(own, states, prefix)
        expected = model.classifier.weight @ at_the_entities(post, states) + model.classifier.bias
        torch.testing.assert_close(output.logits[index], expected, atol=1e-4, rtol=1e-4)
        four_cells = [slot for slot, _ in post.pictures for _ in range(4)]
        check_region_weights(output.region_weights[index], post, weights, four_cells)
    assert (output.gates[~batch["image_mask"]] == 0).all()


def test_the_maps_are_those_of_four_stages():
    config = tiny_config("hvpnet", vision_config=ENCODERS["maps"] | {"out_features": ["stage4"]})
    assert config.vision_config.out_features == ["stage1", "stage2", "stage3", "stage4"]
    three = {"model_type": "resnet", "hidden_sizes": [8, 8, 12], "depths": [1, 1, 1], "layer_type": "basic"}
    with pytest.raises(
        StrictDataclassError, match="`vision_config` must have 4 stages, but 'resnet' gives the maps of"
    ):
        tiny_config("hvpnet", vision_config=three)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["convnext", "swin", "resnet"])
def test_a_pretrained_encoder_of_any_kind_gives_its_four_stages(tmp_path, kind):
    values = {
        "convnext": {"hidden_sizes": [8, 8, 12, 16], "depths": [1, 1, 1, 1]},
        "swin": {"embed_dim": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2], "window_size": 2, "image_size": 64},
        "resnet": {
            name: value for name, value in ENCODERS["maps"].items() if name not in ("model_type", "out_features")
        },
    }[kind]
    torch.manual_seed(1)
    pretrained = AutoModel.from_config(AutoConfig.for_model(kind, **values))
    pretrained.save_pretrained(tmp_path / "vision")
    tiny_model("hvpnet").text_model.save_pretrained(tmp_path / "text")
    model = HVPNeTForRelationClassification.from_encoders(
        str(tmp_path / "text"), str(tmp_path / "vision"), vocab_size=250
    )
    assert len(model.vision_model.channels) == 4
    own = {name.removeprefix("swin."): weight for name, weight in model.vision_model.state_dict().items()}
    weights = pretrained.state_dict()
    kept = [name for name in own if name in weights and torch.equal(own[name], weights[name])]
    assert len(kept) > 20 and not [name for name in own if name in weights and name not in kept]
    batch = tiny_batch("hvpnet", model.config)
    batch["pixel_values"] = torch.nn.functional.interpolate(batch["pixel_values"].flatten(0, 1), 64).unflatten(
        0, (5, 4)
    )
    assert model(**batch).logits.isfinite().all()


def test_without_crops_no_region_is_read():
    assert tiny_config("hvpnet", num_object_images=0).reads() == ("text", "image")
