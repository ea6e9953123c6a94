"""MKGformer: both encoders by hand, and where they meet."""

import math

import pytest
import torch
from model_helpers import ENCODERS, tiny_batch, tiny_config, tiny_model
from post_by_post import at_the_entities, posts_of
from slow_attention import (
    check_region_weights,
    slow_attention,
    slow_bert_layer,
    slow_clip_layer,
    slow_crops,
    slow_embeddings,
    slow_gelu,
    slow_norm,
)

TEXT, VISION = ENCODERS["text"], ENCODERS["patches"]
DEPTHS = {
    "one size": {"text_config": TEXT | {"hidden_size": 24}},
    "deeper text": {"text_config": TEXT | {"num_hidden_layers": 4}},
    "deeper both": {
        "text_config": TEXT | {"num_hidden_layers": 4},
        "vision_config": VISION | {"num_hidden_layers": 3},
        "num_fusion_layers": 2,
    },
    "one layer": {"text_config": TEXT | {"num_hidden_layers": 1}},
}


def through(linear, states: torch.Tensor) -> torch.Tensor:
    """Bring states to another size, if it is another one."""
    return states @ linear.weight.T if hasattr(linear, "weight") else states


def slow_fused_layer(layer, fusion, states, vision) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute a layer of BERT whose feed-forward takes of the patches (S, d), token by token; and their weights."""
    own, out = layer.attention.self, layer.attention.output
    query, key, value = (states @ each.weight.T + each.bias for each in (own.query, own.key, own.value))
    context = slow_attention(query, key, value, own.num_attention_heads)
    attended = slow_norm(out.LayerNorm, states + context @ out.dense.weight.T + out.dense.bias)
    rows, weights = [], []
    for token, each in zip(context, attended):
        scores = [float(token @ patch) for patch in vision]
        scores = [math.exp(score - max(scores)) for score in scores]
        weights.append([score / sum(scores) for score in scores])
        taken = sum(weight * patch for weight, patch in zip(weights[-1], vision))
        first = layer.intermediate.dense
        rows.append(first.weight @ each + first.bias + fusion.dense.weight @ taken)
    hidden, last = slow_gelu(torch.stack(rows)), layer.output
    fused = slow_norm(last.LayerNorm, attended + hidden @ last.dense.weight.T + last.dense.bias)
    return fused, torch.tensor(weights)


@torch.no_grad()
@pytest.mark.parametrize("values", DEPTHS.values(), ids=DEPTHS)
def test_the_encoders_run_alone_and_meet_in_their_last_layers(values):
    model = tiny_model("mkgformer", **values)
    batch = tiny_batch("mkgformer", model.config)
    output = model(**batch, output_fusion=True)
    text_layers, vision_layers = list(model.text_model.encoder.layer), list(model.vision_model.encoder.layers)
    number = len(model.fusions)
    for index, post in enumerate(posts_of(model, batch)):
        text, weights = slow_embeddings(model.text_model.embeddings, post.input_ids), []
        if not post.pictures:
            for layer in text_layers:
                text = slow_bert_layer(layer, text)
        else:
            exists = batch["image_mask"][index].tolist()
            present = [True, *(slot for slot in exists[:2] for _ in range(4)), *exists[2:]]
            vision = slow_crops(model, batch, index)[present]
            for layer in vision_layers[:-number]:
                vision = slow_clip_layer(layer, vision)
            prefix = ()
            for number_of_layer, layer in enumerate(text_layers):
                own, fused = layer.attention.self, number_of_layer - (len(text_layers) - number)
                if fused >= 0:
                    if prefix:
                        bridge = model.to_vision[fused]
                        prefix = through(bridge.key, prefix[0]), through(bridge.value, prefix[1])
                    vision = slow_clip_layer(vision_layers[fused - number], vision, prefix)
                prefix = tuple(text @ each.weight.T + each.bias for each in (own.key, own.value))
                if fused >= 0:
                    fusion = model.fusions[fused]
                    text, of_patches = slow_fused_layer(layer, fusion, text, through(fusion.vision, vision))
                    weights.append(of_patches[:, 1:])  # without the class token
                else:
                    text = slow_bert_layer(layer, text)
        expected = model.classifier.weight @ at_the_entities(post, text) + model.classifier.bias
        torch.testing.assert_close(output.logits[index], expected, atol=5e-4, rtol=1e-4)
        patches = [slot for slot, _ in post.pictures for _ in range(4 if slot < 2 else 1)]
        check_region_weights(output.region_weights[index], post, weights, patches)


@pytest.mark.parametrize(
    ("text", "vision", "asked", "expected"),
    [(12, 12, 4, 4), (6, 12, 4, 4), (12, 3, 4, 3), (2, 2, 4, 1), (1, 2, 4, 1), (12, 12, 2, 2)],
)
def test_as_many_layers_meet_as_leave_the_text_one_before_them(text, vision, asked, expected):
    config = tiny_config(
        "mkgformer",
        text_config=TEXT | {"num_hidden_layers": text},
        vision_config=VISION | {"num_hidden_layers": vision},
        num_fusion_layers=asked,
    )
    assert config.num_fused_layers == expected


@torch.no_grad()
def test_without_what_the_feed_forward_takes_the_text_is_alone():
    model = tiny_model("mkgformer")
    batch = tiny_batch("mkgformer", model.config)
    logits, text = model(**batch).logits, {name: batch[name] for name in ("input_ids", "attention_mask")}
    for fusion in model.fusions:
        fusion.dense.weight.zero_()
    states = model.text_model(**text).last_hidden_state
    entities = torch.stack([states[i, p] for i, p in enumerate(batch["entity_positions"])]).flatten(1)
    alone = model.classifier(entities)
    torch.testing.assert_close(model(**batch).logits, alone, atol=1e-5, rtol=1e-5)
    assert ((logits - alone).abs().amax(dim=1) > 1e-3).tolist() == [True, True, False, True, True]


@torch.no_grad()
def test_the_pictures_read_the_text_in_the_fused_layers_alone():
    """The states of each vision layer change with the text from the first fused layer on."""
    model = tiny_model("mkgformer", vision_config=VISION | {"num_hidden_layers": 4}, num_fusion_layers=2)
    batch = tiny_batch("mkgformer", model.config)
    seen = []
    for layer in model.vision_layers:
        layer.register_forward_hook(lambda _, arguments, states: seen.append(states[0]))
    model(**batch)
    before = [*seen]
    seen.clear()
    model(**batch | {"input_ids": batch["input_ids"].roll(1, dims=0)})
    changed = [not torch.equal(one, other) for one, other in zip(before, seen)]
    assert changed == [False, False, True, True]
