"""BERT+SG and BERT+SG+Att: both ways to pool the objects, by hand."""

import math

import pytest
import torch
from model_helpers import take, tiny_batch, tiny_model, without
from post_by_post import at_the_entities, posts_of
from slow_attention import slow_norm

from mmre.modeling import BertSGForRelationClassification

CASES = ["bert_sg", "bert_sg-attention"]


def linear(layer, vector: torch.Tensor) -> torch.Tensor:
    return layer.weight @ vector + layer.bias


def objects_of(model, post) -> list[torch.Tensor]:
    """Embed the vector and the box of each object."""
    embedding, objects = model.object_embedding, []
    for (_, cells), (x_min, y_min, x_max, y_max) in zip(post.pictures, post.boxes):
        five = torch.stack([x_min, y_min, x_max, y_max, (x_max - x_min) * (y_max - y_min)])
        added = linear(embedding.feature, sum(cells) / len(cells)) + linear(embedding.box, five)
        objects.append(slow_norm(embedding.norm, added[None])[0])
    return objects


def weighed_by_the_pair(attention, pair: torch.Tensor, objects: list[torch.Tensor]) -> torch.Tensor:
    pooled = torch.zeros(12)
    for weight, each in zip(weights_of(attention, pair, objects), objects):
        pooled += weight * linear(attention.v_proj, each)
    return linear(attention.out_proj, pooled)


def weights_of(attention, pair: torch.Tensor, objects: list[torch.Tensor]) -> list[float]:
    query = linear(attention.q_proj, pair)
    scores = [math.exp(float(query @ linear(attention.k_proj, each)) / math.sqrt(12)) for each in objects]
    return [score / sum(scores) for score in scores]


@torch.no_grad()
@pytest.mark.parametrize("case", CASES)
def test_the_pair_stands_beside_the_pooled_objects(case):
    model = tiny_model(case)
    batch = tiny_batch(case, model.config)
    output = model(**batch, output_fusion=True)
    for index, post in enumerate(posts_of(model, batch)):
        states = model.text_model(post.input_ids[None]).last_hidden_state[0]
        pair, objects = linear(model.hidden_layer, at_the_entities(post, states)), objects_of(model, post)
        if case == "bert_sg":
            pooled = sum(objects) / len(objects) if objects else torch.zeros(12)
            weights = [1 / len(objects)] * len(objects) if objects else []
        else:
            pooled = weighed_by_the_pair(model.object_attention, pair, objects)
            weights = weights_of(model.object_attention, pair, objects)
        expected = linear(model.classifier, torch.cat([pair, pooled]))
        torch.testing.assert_close(output.logits[index], expected, atol=1e-4, rtol=1e-4)
        by_slot = dict(zip((slot for slot, _ in post.pictures), weights))
        assert output.region_weights[index].tolist() == pytest.approx([by_slot.get(slot, 0) for slot in range(4)])
    # Weights that are all alike are no attention.
    assert model.has_picture_attention == (case != "bert_sg")


def test_the_switch_adds_attention_and_changes_the_classifier_alone():
    without_attention, with_attention = map(tiny_model, CASES)
    shapes = [{name: w.shape for name, w in m.named_parameters()} for m in (without_attention, with_attention)]
    assert {name.split(".")[0] for name in shapes[1].keys() - shapes[0].keys()} == {"object_attention"}
    assert not shapes[0].keys() - shapes[1].keys()
    assert [name for name, shape in shapes[0].items() if shapes[1][name] != shape] == ["classifier.weight"]
    assert (shapes[0]["classifier.weight"], shapes[1]["classifier.weight"]) == ((4, 32 + 12), (4, 32 + 32))


@torch.no_grad()
@pytest.mark.parametrize("case", CASES)
def test_the_weights_of_the_objects_depend_on_the_pair_with_attention_alone(case):
    model = tiny_model(case)
    batch = take(tiny_batch(case, model.config), [0, 0])
    batch["entity_positions"] = torch.tensor([[1, 4], [2, 5]])
    pooled = []
    model.classifier.register_forward_pre_hook(lambda _, inputs: pooled.append(inputs[0][:, 32:]))
    model(**batch)
    assert torch.equal(pooled[0][0], pooled[0][1]) == (case == "bert_sg")


@torch.no_grad()
@pytest.mark.parametrize("case", CASES)
def test_the_slot_of_an_object_does_not_matter(case):
    model = tiny_model(case)
    batch = tiny_batch(case, model.config)
    order = [2, 0, 3, 1]
    moved = batch | {name: batch[name][:, order] for name in ("pixel_values", "image_mask", "boxes")}
    torch.testing.assert_close(model(**moved).logits, model(**batch).logits, atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("case", CASES)
def test_regions_need_their_boxes(case):
    model = tiny_model(case)
    assert type(model) is BertSGForRelationClassification
    batch = tiny_batch(case, model.config)
    with pytest.raises(ValueError, match="`boxes` is None"):
        model(**without(batch, "boxes"))
    changed = batch["boxes"].clone()
    changed[0, 1] /= 2
    difference = (model(**batch).logits - model(**batch | {"boxes": changed}).logits).abs().amax(dim=1)
    assert (difference > 1e-4).tolist() == [True, False, False, False, False]
