"""ViLBERT: both streams by hand, and where they meet."""

import pytest
import torch
from model_helpers import ENCODERS, tiny_batch, tiny_config, tiny_model, without
from post_by_post import at_the_entities, posts_of
from slow_attention import (
    check_region_weights,
    slow_bert_layer,
    slow_cross_weights,
    slow_embeddings,
    slow_layer,
    slow_norm,
)

from mmre.modeling import ViLBERTForRelationClassification

CASE = "vilbert"


@torch.no_grad()
def test_the_streams_run_alone_meet_and_run_on():
    model = tiny_model(CASE)  # four text layers: two alone, then twice co-attention and a layer
    batch = tiny_batch(CASE, model.config)
    output = model(**batch, output_fusion=True)
    region, layers = model.region_embedding, model.text_model.encoder.layer
    assert (len(model.connections), len(model.vision_layers)) == (2, 1)
    for index, post in enumerate(posts_of(model, batch)):
        text = slow_embeddings(model.text_model.embeddings, post.input_ids)
        rows = []
        for (_, cells), box in zip(post.pictures, post.boxes):
            x_min, y_min, x_max, y_max = box
            five = torch.stack([x_min, y_min, x_max, y_max, (x_max - x_min) * (y_max - y_min)])
            vector = region.feature.weight @ (sum(cells) / len(cells)) + region.feature.bias
            rows.append(vector + region.box.weight @ five + region.box.bias)
        vision = slow_norm(region.norm, torch.stack(rows)) if rows else torch.zeros(0, 12)
        text = slow_bert_layer(layers[1], slow_bert_layer(layers[0], text))
        first, last = model.connections
        weights = [slow_cross_weights(first.text.attention, text, vision)]
        text, vision = slow_layer(first.text, text, vision), slow_layer(first.vision, vision, text)
        text, vision = slow_bert_layer(layers[2], text), slow_layer(model.vision_layers[0], vision, vision)
        weights.append(slow_cross_weights(last.text.attention, text, vision))
        text = slow_bert_layer(layers[3], slow_layer(last.text, text, vision))
        expected = model.classifier.weight @ at_the_entities(post, text) + model.classifier.bias
        torch.testing.assert_close(output.logits[index], expected, atol=1e-4, rtol=1e-4)
        check_region_weights(output.region_weights[index], post, weights, [slot for slot, _ in post.pictures])


def test_half_of_the_text_layers_have_a_connection():
    for layers, expected in ((1, 1), (2, 1), (5, 3), (12, 6)):
        config = tiny_config(CASE, text_config={**ENCODERS["text"], "num_hidden_layers": layers})
        assert config.num_connections == expected


@torch.no_grad()
def test_pictures_need_their_boxes():
    model = tiny_model(CASE)
    batch = tiny_batch(CASE, model.config)
    with pytest.raises(ValueError, match="`boxes` is None"):
        model(**without(batch, "boxes"))
    with pytest.raises(ValueError, match=r"`boxes` must have shape \(5, 4, 4\), but its shape is \(5, 4, 3\)"):
        model(**batch | {"boxes": batch["boxes"][..., :3]})
    changed = batch["boxes"].clone()
    changed[0, 1] /= 2
    assert ((model(**batch).logits != model(**batch | {"boxes": changed}).logits).any(dim=1)).tolist() == [
        *(True, False, False, False, False)
    ]


def test_a_text_encoder_of_another_build_is_refused():
    text = {"model_type": "modernbert", "vocab_size": 60, "hidden_size": 16, "num_hidden_layers": 2}
    text |= {"num_attention_heads": 4, "intermediate_size": 20, "pad_token_id": 0, "cls_token_id": 1}
    with pytest.raises(ValueError, match="ModernBertModel cannot be run layer by layer"):
        ViLBERTForRelationClassification(tiny_config(CASE, text_config=text))
    # A norm after the last layer, positions that the layers are told, languages, or outputs beside the states.
    for kind, name in (
        ("roberta-prelayernorm", "RobertaPreLayerNorm"),
        ("megatron-bert", "MegatronBert"),
        ("mpnet", "MPNet"),
        ("deberta-v2", "DebertaV2"),
        ("xmod", "Xmod"),
        ("rembert", "RemBert"),
    ):
        text = {**ENCODERS["text"], "model_type": kind, "pad_token_id": 0}
        with pytest.raises(ValueError, match=f"{name}Model cannot be run layer by layer"):
            ViLBERTForRelationClassification(tiny_config(CASE, text_config=text))
    for kind in ("roberta", "electra"):
        text = {**ENCODERS["text"], "model_type": kind, "pad_token_id": 0, "embedding_size": 8}
        model = ViLBERTForRelationClassification(tiny_config(CASE, text_config=text)).eval()
        batch = tiny_batch(CASE, model.config)
        assert model(**batch).logits.isfinite().all()
        # Without a connection that says anything, it is the encoder's own output.
        for connection in model.connections:
            connection.forward = lambda text, text_mask, vision, vision_mask: (text, vision)
        states = model.text_model(batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
        entities = torch.stack([states[i, p] for i, p in enumerate(batch["entity_positions"])]).flatten(1)
        torch.testing.assert_close(model(**batch).logits, model.classifier(entities))
