"""IFAformer: both encoders by hand, and what each layer reads of the other encoder."""

import pytest
import torch
from model_helpers import ENCODERS, tiny_batch, tiny_config, tiny_model
from post_by_post import at_the_entities, posts_of
from slow_attention import (
    check_region_weights,
    slow_bert_layer,
    slow_bert_weights,
    slow_clip_layer,
    slow_crops,
    slow_embeddings,
    slow_norm,
)

TEXT, VISION = ENCODERS["text"], ENCODERS["patches"]
DEPTHS = {
    "alike": {},
    "deeper text": {"text_config": TEXT | {"num_hidden_layers": 4}},
    "deeper vision": {"vision_config": VISION | {"num_hidden_layers": 4}},
    "three layers": {
        "text_config": TEXT | {"num_hidden_layers": 3},
        "vision_config": VISION | {"num_hidden_layers": 3},
    },
    "other heads": {"vision_config": VISION | {"num_attention_heads": 2}},
    "one size": {"text_config": TEXT | {"hidden_size": 24}},
}


def keys_values_of_text(layer, states):
    own = layer.attention.self
    return [states @ each.weight.T + each.bias for each in (own.key, own.value)]


def keys_values_of_vision(layer, states):
    own, normed = layer.self_attn, slow_norm(layer.layer_norm1, states)
    return [normed @ each.weight.T + each.bias for each in (own.k_proj, own.v_proj)]


def cross(bridge, keys_values):
    """Bring keys and values to the other encoder's size, if it is another one."""
    linears = bridge.key, bridge.value
    return tuple(x @ each.weight.T if hasattr(each, "weight") else x for each, x in zip(linears, keys_values))


@torch.no_grad()
@pytest.mark.parametrize("values", DEPTHS.values(), ids=DEPTHS)
def test_each_layer_reads_the_keys_and_values_of_the_other_encoder(values):
    model = tiny_model("ifaformer", **values)
    batch = tiny_batch("ifaformer", model.config)
    output = model(**batch, output_fusion=True)
    text_layers, vision_layers = list(model.text_model.encoder.layer), list(model.vision_model.encoder.layers)
    number = min(len(text_layers), len(vision_layers))
    for index, post in enumerate(posts_of(model, batch)):
        text, weights = slow_embeddings(model.text_model.embeddings, post.input_ids), []
        if not post.pictures:
            for layer in text_layers:
                text = slow_bert_layer(layer, text)
        else:
            exists = batch["image_mask"][index].tolist()
            present = [True, *(slot for slot in exists[:2] for _ in range(4)), *exists[2:]]
            vision = slow_crops(model, batch, index)[present]
            for layer in text_layers[:-number]:
                text = slow_bert_layer(layer, text)
            for layer in vision_layers[:-number]:
                vision = slow_clip_layer(layer, vision)
            before_text, before_vision = [text, text], [vision, vision]
            for pair, (text_layer, vision_layer) in enumerate(zip(text_layers[-number:], vision_layers[-number:])):
                of_text, of_vision = keys_values_of_text(text_layer, text), keys_values_of_vision(vision_layer, vision)
                read = before_vision if pair == 0 else of_vision
                if pair < number - 1:
                    vision = slow_clip_layer(vision_layer, vision, cross(model.to_vision[pair], before_text))
                read = cross(model.to_text[pair], read)
                weights.append(slow_bert_weights(text_layer, text, read[0])[:, 1:])  # without the class token
                text = slow_bert_layer(text_layer, text, read)
                before_text = of_text
        expected = model.classifier.weight @ at_the_entities(post, text) + model.classifier.bias
        torch.testing.assert_close(output.logits[index], expected, atol=2e-4, rtol=1e-4)
        patches = [slot for slot, _ in post.pictures for _ in range(4 if slot < 2 else 1)]
        check_region_weights(output.region_weights[index], post, weights, patches)


def test_encoders_of_one_size_need_no_bridge():
    with_bridges = {name for name, _ in tiny_model("ifaformer").named_parameters() if name.startswith("to_")}
    assert with_bridges == {
        *(f"to_text.{layer}.{what}.weight" for layer in (0, 1) for what in ("key", "value")),
        *(f"to_vision.0.{what}.weight" for what in ("key", "value")),
    }
    alike = tiny_model("ifaformer", **DEPTHS["one size"])
    assert not [name for name, _ in alike.named_parameters() if name.startswith("to_")]


@torch.no_grad()
@pytest.mark.parametrize("changed", ["value", "key"])
def test_values_are_values_and_keys_are_keys(changed):
    model = tiny_model("ifaformer", **DEPTHS["one size"])
    batch = tiny_batch("ifaformer", model.config)
    attention, seen = model.vision_model.encoder.layers[1].self_attn, {}
    text = model.text_model.encoder.layer[1].attention.self
    text.register_forward_pre_hook(
        lambda _, arguments, keywords: seen.update(prefix=keywords["prefix"].keys_values), with_kwargs=True
    )
    model(**batch)
    before = dict(zip(("key", "value"), seen["prefix"]))
    {"key": attention.k_proj, "value": attention.v_proj}[changed].bias += 1
    model(**batch)
    after = dict(zip(("key", "value"), seen["prefix"]))
    for name in ("key", "value"):
        difference = after[name] - before[name]
        torch.testing.assert_close(difference, torch.full_like(difference, float(name == changed)), atol=1e-4, rtol=0)


def test_the_last_layers_are_coupled_as_many_as_the_shallower_encoder_has():
    for text, vision, expected in ((1, 1, 1), (6, 12, 6), (12, 6, 6), (12, 12, 12)):
        config = tiny_config(
            "ifaformer",
            text_config=TEXT | {"num_hidden_layers": text},
            vision_config=VISION | {"num_hidden_layers": vision},
        )
        assert config.num_coupled_layers == expected
