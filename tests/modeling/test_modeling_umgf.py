"""UMGF: the graph, node by node."""

import torch
from model_helpers import tiny_batch, tiny_model
from post_by_post import at_the_entities, posts_of
from slow_attention import check_region_weights, slow_cross_attention, slow_norm


def slow_taken(gate, states: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Sum the others, each through the gate of its pair: one linear layer over both states side by side."""
    weight = torch.cat([gate.own.weight, gate.other.weight], dim=1)
    taken = torch.zeros_like(states)
    for i, state in enumerate(states):
        for other in others:
            taken[i] += other / (1 + torch.exp(-(weight @ torch.cat([state, other]) + gate.own.bias)))
    return taken


def slow_gates(gate, states: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Return how open the gate of each pair is, a mean over its numbers: (T, R)."""
    weight, gates = torch.cat([gate.own.weight, gate.other.weight], dim=1), torch.zeros(len(states), len(others))
    for i, state in enumerate(states):
        for j, other in enumerate(others):
            gates[i, j] = (1 / (1 + torch.exp(-(weight @ torch.cat([state, other]) + gate.own.bias)))).mean()
    return gates


def slow_mlp(mlp, states: torch.Tensor) -> torch.Tensor:
    return (states @ mlp[0].weight.T + mlp[0].bias).clamp(min=0) @ mlp[-1].weight.T + mlp[-1].bias


@torch.no_grad()
def test_words_and_regions_fuse_layer_by_layer():
    model = tiny_model("umgf")
    batch = tiny_batch("umgf", model.config)
    output = model(**batch, output_fusion=True)
    for index, post in enumerate(posts_of(model, batch)):
        text = model.text_model(post.input_ids[None]).last_hidden_state[0]
        words = text @ model.word_projection.weight.T + model.word_projection.bias
        means = [sum(cells) / len(cells) for _, cells in post.pictures]
        regions = slow_mlp(model.region_mlp, torch.stack(means)) if means else torch.zeros(0, 12)
        weights = []
        for layer in model.fusion_layers:
            attend, norms = layer.attention, layer.norms
            words = slow_norm(norms["words"][0], words + slow_cross_attention(attend["words"], words, words))
            regions = slow_norm(
                norms["regions"][0], regions + slow_cross_attention(attend["regions"], regions, regions)
            )
            weights.append(slow_gates(layer.gate["words"], words, regions))
            new = slow_norm(norms["words"][1], words + slow_taken(layer.gate["words"], words, regions))
            if "regions" in layer.gate:
                taken = slow_taken(layer.gate["regions"], regions, words)
                regions = slow_norm(norms["regions"][1], regions + taken)
                regions = slow_norm(norms["regions"][2], regions + slow_mlp(layer.mlp["regions"], regions))
            words = slow_norm(norms["words"][2], new + slow_mlp(layer.mlp["words"], new))
        both = torch.cat([text, words], dim=1)
        expected = model.classifier.weight @ at_the_entities(post, both) + model.classifier.bias
        torch.testing.assert_close(output.logits[index], expected, atol=1e-4, rtol=1e-4)
        check_region_weights(output.region_weights[index], post, weights, [slot for slot, _ in post.pictures])
    assert ["regions" in layer.gate for layer in model.fusion_layers] == [True, False]  # nothing reads the last regions
