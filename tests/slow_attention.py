"""Attention and layers of a Transformer for one post, by hand: a loop over heads and states, no batch, no mask."""

import math

import torch
from torch import nn


def slow_attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, num_heads: int) -> torch.Tensor:
    """Attend from (T, d) over (S, d): softmax of the scaled products, head by head; zero over nothing."""
    size = query.shape[1] // num_heads
    result = torch.zeros_like(query)
    for head in range(num_heads):
        part = slice(head * size, (head + 1) * size)
        for position in range(len(query)):
            scores = [float(query[position, part] @ other[part]) / math.sqrt(size) for other in key]
            weights = [math.exp(score - max(scores)) for score in scores]
            for weight, other in zip(weights, value):
                result[position, part] += weight / sum(weights) * other[part]
    return result


def slow_cross_attention(attention: nn.Module, states: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
    """Compute `CrossAttention` for one post."""
    query, key, value = (
        linear.weight @ x.T
        for linear, x in ((attention.q_proj, states), (attention.k_proj, context), (attention.v_proj, context))
    )
    query, key, value = query.T + attention.q_proj.bias, key.T + attention.k_proj.bias, value.T + attention.v_proj.bias
    attended = slow_attention(query, key, value, attention.num_heads)
    return attended @ attention.out_proj.weight.T + attention.out_proj.bias


def slow_norm(norm: nn.LayerNorm, states: torch.Tensor) -> torch.Tensor:
    """Norm each state: minus its mean, over its standard deviation."""
    rows = [
        (state - state.mean()) / torch.sqrt(((state - state.mean()) ** 2).mean() + norm.eps) * norm.weight + norm.bias
        for state in states
    ]
    return torch.stack(rows) if rows else states


def slow_gelu(states: torch.Tensor) -> torch.Tensor:
    return states * 0.5 * (1 + torch.erf(states / math.sqrt(2)))


def slow_layer(layer: nn.Module, states: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
    """Compute `CrossAttentionLayer` for one post."""
    states = slow_norm(layer.attention_norm, states + slow_cross_attention(layer.attention, states, context))
    first, _, last = layer.mlp
    hidden = slow_gelu(states @ first.weight.T + first.bias)
    return slow_norm(layer.mlp_norm, states + hidden @ last.weight.T + last.bias)


def slow_bert_layer(layer: nn.Module, states: torch.Tensor, prefix: tuple = ()) -> torch.Tensor:
    """Compute a layer of BERT for one post; `prefix` are keys and values (L, d) that stand before its own."""
    own = layer.attention.self
    query, key, value = (states @ each.weight.T + each.bias for each in (own.query, own.key, own.value))
    if prefix:
        key, value = torch.cat([prefix[0], key]), torch.cat([prefix[1], value])
    attended = slow_attention(query, key, value, own.num_attention_heads)
    out = layer.attention.output
    states = slow_norm(out.LayerNorm, states + attended @ out.dense.weight.T + out.dense.bias)
    hidden = slow_gelu(states @ layer.intermediate.dense.weight.T + layer.intermediate.dense.bias)
    return slow_norm(layer.output.LayerNorm, states + hidden @ layer.output.dense.weight.T + layer.output.dense.bias)
