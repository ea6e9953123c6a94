"""UMT: the multimodal interaction by hand, and the gate."""

import pytest
import torch
from model_helpers import take, tiny_batch, tiny_model
from post_by_post import at_the_entities, posts_of
from slow_attention import slow_cross_weights, slow_layer


@torch.no_grad()
@pytest.mark.parametrize("case", ["umt", "umt-patches"])
def test_words_and_cells_see_each_other(case):
    model = tiny_model(case)
    batch = tiny_batch(case, model.config)
    output = model(**batch, output_fusion=True)
    for index, post in enumerate(posts_of(model, batch)):
        text = model.text_model(post.input_ids[None]).last_hidden_state[0]
        text = slow_layer(model.text_layer, text, text)  # M
        fused, gates = [], []
        if post.pictures:
            ((_, cells),) = post.pictures
            keys, queries = (
                cells @ projection.weight.T + projection.bias
                for projection in (model.key_projection, model.query_projection)
            )
            image_aware = slow_layer(model.image_aware_layer, text, keys)  # C
            weights = slow_cross_weights(model.image_aware_layer.attention, text, keys)[post.positions]
            torch.testing.assert_close(output.cell_attentions[index], weights, atol=1e-4, rtol=1e-4)
            seen = slow_layer(model.word_aware_image_layer, queries, text)  # U
            word_aware = slow_layer(model.word_aware_layer, text, seen)  # T
            for t, c in zip(word_aware, image_aware):
                gates.append(1 / (1 + torch.exp(-(model.gate.weight @ torch.cat([t, c]) + model.gate.bias))))
                fused.append(torch.cat([t, gates[-1] * c]))
        else:
            fused = [torch.cat([state, torch.zeros_like(state)]) for state in text]
            gates = [torch.zeros_like(state) for state in text]
            assert (output.cell_attentions[index] == 0).all()
        expected = model.classifier.weight @ at_the_entities(post, torch.stack(fused)) + model.classifier.bias
        torch.testing.assert_close(output.logits[index], expected, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(output.gates[index, : len(text)], torch.stack(gates), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_what_the_gate_shuts_out_is_not_read():
    model = tiny_model("umt")
    batch = take(tiny_batch("umt", model.config), [0])
    model.gate.weight.zero_()
    model.gate.bias.fill_(-1e4)
    model.word_aware_layer.attention.out_proj.weight.zero_()  # T reads no picture either
    other = batch | {"pixel_values": batch["pixel_values"] + 1}
    assert torch.equal(model(**batch).logits, model(**other).logits)
    model.gate.bias.zero_()
    assert not torch.equal(model(**batch).logits, model(**other).logits)
