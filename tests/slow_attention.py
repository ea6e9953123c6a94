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


def slow_weights(query: torch.Tensor, key: torch.Tensor, num_heads: int) -> torch.Tensor:
    """Return how much each of (T, d) attends to each of (S, d), a mean over heads: (T, S)."""
    size, rows = query.shape[1] // num_heads, torch.zeros(len(query), len(key))
    for head in range(num_heads):
        part = slice(head * size, (head + 1) * size)
        for position, asking in enumerate(query):
            scores = [math.exp(float(asking[part] @ other[part]) / math.sqrt(size)) for other in key]
            rows[position] += torch.tensor(scores) / sum(scores) / num_heads
    return rows


def slow_cross_weights(attention: nn.Module, states: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
    """Compute the weights (T, S) of `CrossAttention` for one post."""
    query, key = (
        x @ linear.weight.T + linear.bias for linear, x in ((attention.q_proj, states), (attention.k_proj, context))
    )
    return slow_weights(query, key, attention.num_heads)


def slow_bert_weights(layer: nn.Module, states: torch.Tensor, prefix_keys: torch.Tensor | None = None) -> torch.Tensor:
    """Compute how much a layer of BERT attends to [prefix; own tokens], for one post: (T, L + T)."""
    own = layer.attention.self
    query, key = (states @ each.weight.T + each.bias for each in (own.query, own.key))
    return slow_weights(query, key if prefix_keys is None else torch.cat([prefix_keys, key]), own.num_attention_heads)


def check_region_weights(given: torch.Tensor, post, weights: list[torch.Tensor], slots: list[int]) -> None:
    """Compare the weights (R,) of one post's slots: a mean over layers and both entities, a sum over what is of a slot.

    Args:
        given: what the model said.
        post: of `posts_of`.
        weights: of each layer, of each token to each column (T, columns).
        slots: the slot of each column.
    """
    expected = torch.zeros(len(given))
    for column, slot in enumerate(slots):
        for layer in weights:
            for position in post.positions:
                expected[slot] += layer[position, column] / (2 * len(weights))
    torch.testing.assert_close(given, expected, atol=1e-4, rtol=1e-4)


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


def slow_clip_layer(layer: nn.Module, states: torch.Tensor, prefix: tuple = ()) -> torch.Tensor:
    """Compute a layer of CLIP for one post; `prefix` are keys and values (L, d) that stand before its own."""
    own = layer.self_attn
    normed = slow_norm(layer.layer_norm1, states)
    query, key, value = (normed @ each.weight.T + each.bias for each in (own.q_proj, own.k_proj, own.v_proj))
    if prefix:
        key, value = torch.cat([prefix[0], key]), torch.cat([prefix[1], value])
    attended = slow_attention(query, key, value, own.num_heads)
    states = states + attended @ own.out_proj.weight.T + own.out_proj.bias
    hidden = slow_norm(layer.layer_norm2, states) @ layer.mlp.fc1.weight.T + layer.mlp.fc1.bias
    return states + (hidden * torch.sigmoid(1.702 * hidden)) @ layer.mlp.fc2.weight.T + layer.mlp.fc2.bias


def slow_embeddings(embeddings: nn.Module, input_ids: torch.Tensor) -> torch.Tensor:
    """Compute BERT's embeddings of one post's tokens."""
    rows = [
        embeddings.word_embeddings.weight[token]
        + embeddings.position_embeddings.weight[position]
        + embeddings.token_type_embeddings.weight[0]
        for position, token in enumerate(input_ids)
    ]
    return slow_norm(embeddings.LayerNorm, torch.stack(rows))


def slow_crops(model, batch: dict, post: int) -> torch.Tensor:
    """Compute the row of a post's crops for two grounded ones of 2 x 2 patches and two detected ones of one patch.

    Pictures and patches are of the tiny models: 32 and 16 pixels. Rows of absent crops are zero.
    """
    vision, embedding = model.vision_model, model.crop_embedding
    kernel = vision.embeddings.patch_embedding.weight  # (d, 3, 16, 16)
    rows = [vision.embeddings.class_embedding]
    for slot, exists in enumerate(batch["image_mask"][post].tolist()):
        picture, number = batch["pixel_values"][post, slot], 4 if slot < 2 else 1
        positions = (
            embedding.grounded_positions.weight[4 * slot : 4 * slot + 4]
            if slot < 2
            else embedding.detected_positions.weight[slot - 2 : slot - 1]
        )
        corners = [(0, 0), (0, 16), (16, 0), (16, 16)] if slot < 2 else [(0, 0)]
        if slot >= 2 and exists:
            picture = halved(halved(picture, 1), 2)
        for patch in range(number):
            if not exists:
                rows.append(torch.zeros(len(kernel)))
                continue
            top, left = corners[patch]
            part = picture[:, top : top + 16, left : left + 16]
            rows.append(torch.stack([(part * each).sum() for each in kernel]) + positions[patch])
    return slow_norm(vision.pre_layrnorm, torch.stack(rows))


def halved(picture: torch.Tensor, dimension: int) -> torch.Tensor:
    """Halve a picture (3, H, W) in one direction: each new pixel is a mean of four, weighed by a triangle."""
    size = picture.shape[dimension]
    result = []
    for index in range(size // 2):
        weights = {pixel: 1 - abs(pixel + 0.5 - 2 * (index + 0.5)) / 2 for pixel in range(size)}
        weights = {pixel: weight for pixel, weight in weights.items() if weight > 0}
        result.append(
            sum(weight * picture.select(dimension, pixel) for pixel, weight in weights.items()) / sum(weights.values())
        )
    return torch.stack(result, dim=dimension)
