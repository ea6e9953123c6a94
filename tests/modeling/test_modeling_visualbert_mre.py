"""VisualBERT: its input, by hand, and the weights of a BERT."""

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from model_helpers import ENCODERS, tiny_batch, tiny_config, tiny_model
from post_by_post import at_the_entities, posts_of
from slow_attention import check_region_weights, slow_bert_layer, slow_bert_weights, slow_norm
from transformers import AutoModel, BertConfig, BertModel, VisualBertConfig, VisualBertModel

from mmre.modeling import VisualBertMREConfig, VisualBertMREForRelationClassification

CASE = "visualbert_mre"


@torch.no_grad()
@pytest.mark.parametrize("visual_embedding_dim", [24, 10])
def test_text_and_pictures_are_one_row_of_states(visual_embedding_dim):
    text = {**ENCODERS["text"], "model_type": "visual_bert", "visual_embedding_dim": visual_embedding_dim}
    model = tiny_model(CASE, text_config=text)
    batch = tiny_batch(CASE, model.config)
    output = model(**batch, output_fusion=True)
    embeddings = model.text_model.embeddings
    for index, post in enumerate(posts_of(model, batch)):
        rows = [
            embeddings.word_embeddings.weight[token]
            + embeddings.position_embeddings.weight[position]
            + embeddings.token_type_embeddings.weight[0]
            for position, token in enumerate(post.input_ids)
        ]
        for _, cells in post.pictures:
            vector = sum(cells) / len(cells)
            if visual_embedding_dim != 24:
                vector = model.region_projection.weight @ vector + model.region_projection.bias
            rows.append(
                embeddings.visual_projection.weight @ vector
                + embeddings.visual_projection.bias
                + embeddings.visual_position_embeddings.weight[0]
                + embeddings.visual_token_type_embeddings.weight[1]
            )
        states, weights = slow_norm(embeddings.LayerNorm, torch.stack(rows)), []
        for layer in model.text_model.encoder.layer:
            weights.append(slow_bert_weights(layer, states)[:, len(post.input_ids) :])
            states = slow_bert_layer(layer, states)
        expected = model.classifier.weight @ at_the_entities(post, states) + model.classifier.bias
        torch.testing.assert_close(output.logits[index], expected, atol=1e-4, rtol=1e-4)
        check_region_weights(output.region_weights[index], post, weights, [slot for slot, _ in post.pictures])


def test_a_bert_gives_its_weights_and_its_positions_and_types_to_the_pictures(tmp_path):
    bert = BertModel(BertConfig(**{k: v for k, v in ENCODERS["text"].items() if k != "model_type"}))
    bert.save_pretrained(tmp_path / "text")
    vision = tiny_model(CASE).vision_model
    vision.save_pretrained(tmp_path / "vision")
    model = VisualBertMREForRelationClassification.from_encoders(
        str(tmp_path / "text"), str(tmp_path / "vision"), vocab_size=250
    )
    weights, own = bert.state_dict(), model.text_model.state_dict()
    assert {name for name in own if name not in weights} == {
        *("embeddings.visual_token_type_embeddings.weight", "embeddings.visual_position_embeddings.weight"),
        *("embeddings.visual_projection.weight", "embeddings.visual_projection.bias"),
    }
    for name in weights:
        assert torch.equal(own[name], weights[name]), name
    for name in ("token_type", "position"):
        expected = weights[f"embeddings.{name}_embeddings.weight"]
        assert torch.equal(own[f"embeddings.visual_{name}_embeddings.weight"], expected)
    assert model.config.text_config.visual_embedding_dim == 24
    assert model.config.text_config.pad_token_id == bert.config.pad_token_id


@pytest.mark.parametrize(("visual_embedding_dim", "expected"), [(24, True), (10, False)])
def test_a_frozen_text_encoder_stands_still_but_for_a_projection_that_is_new(visual_embedding_dim, expected):
    text = {**ENCODERS["text"], "model_type": "visual_bert", "visual_embedding_dim": visual_embedding_dim}
    model = tiny_model(CASE, text_config=text, dropout=0.1)
    # The model's own projection stands before one of another size, and learns in its place.
    assert model.new_in_encoders == (("text_model.embeddings.visual_projection",) if expected else ())
    model.text_model.requires_grad_(False)
    for name in model.new_in_encoders:
        model.get_submodule(name).requires_grad_(True)
    model.train()
    assert model.training and not model.text_model.training
    model(**tiny_batch(CASE, model.config, labels=True)).loss.backward()
    learned = {name for name, weight in model.text_model.named_parameters() if weight.grad is not None}
    assert learned == ({f"embeddings.visual_projection.{name}" for name in ("weight", "bias")} if expected else set())


def test_a_visualbert_keeps_all_its_weights(tmp_path):
    config = tiny_config(CASE, text_config={**ENCODERS["text"], "model_type": "visual_bert"}).text_config
    visualbert = VisualBertModel(config)
    visualbert.save_pretrained(tmp_path / "text")
    tiny_model(CASE).vision_model.save_pretrained(tmp_path / "vision")
    model = VisualBertMREForRelationClassification.from_encoders(
        str(tmp_path / "text"), str(tmp_path / "vision"), vocab_size=250
    )
    for name, weight in visualbert.state_dict().items():
        assert torch.equal(model.text_model.state_dict()[name], weight), name
    model.save_pretrained(tmp_path / "model")
    assert type(AutoModel.from_pretrained(tmp_path / "model").config.text_config) is VisualBertConfig


def test_another_text_encoder_is_refused():
    with pytest.raises(StrictDataclassError, match="`text_config` must be a VisualBERT or a BERT, but it is 'roberta'"):
        VisualBertMREConfig(text_config={"model_type": "roberta"})
