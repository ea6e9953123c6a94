"""Attention to a context, and the layer around it."""

import pytest
import torch
from slow_attention import slow_cross_attention, slow_layer
from torch import nn

from mmre.modeling.cross_attention import CrossAttention, CrossAttentionLayer, check_heads


@torch.no_grad()
@pytest.mark.parametrize("attention_size", [None, 8])
def test_each_post_attends_to_what_its_mask_leaves_and_to_nothing_else(attention_size):
    torch.manual_seed(0)
    layer = CrossAttentionLayer(12, 10, 4, 14, attention_size, dropout=0.5).double().eval()
    states, context = torch.randn(3, 5, 12).double(), torch.randn(3, 6, 10).double()
    mask = torch.tensor([[True] * 6, [True, False, True, True, False, False], [False] * 6])
    attended, result = layer.attention(states, context, mask), layer(states, context, mask)
    for post in range(3):
        own = context[post][mask[post]]
        torch.testing.assert_close(attended[post], slow_cross_attention(layer.attention, states[post], own))
        torch.testing.assert_close(result[post], slow_layer(layer, states[post], own))
    # Over nothing, what is attended is zero: the projection's bias is left.
    torch.testing.assert_close(attended[2], layer.attention.out_proj.bias.expand(5, 12))


@torch.no_grad()
def test_it_is_torch_s_multi_head_attention():
    torch.manual_seed(0)
    own, other = CrossAttention(12, 10, 3).double(), nn.MultiheadAttention(12, 3, kdim=10, vdim=10, batch_first=True)
    other = other.double()
    for name, projection in (("q", own.q_proj), ("k", own.k_proj), ("v", own.v_proj)):
        getattr(other, f"{name}_proj_weight").copy_(projection.weight)
    other.in_proj_bias.copy_(torch.cat([own.q_proj.bias, own.k_proj.bias, own.v_proj.bias]))
    other.out_proj.load_state_dict(own.out_proj.state_dict())
    states, context = torch.randn(2, 5, 12).double(), torch.randn(2, 4, 10).double()
    mask = torch.tensor([[True, True, False, True], [False, True, False, False]])
    expected, _ = other(states, context, context, key_padding_mask=~mask)
    torch.testing.assert_close(own(states, context, mask), expected)


@pytest.mark.parametrize(("heads", "size"), [(3, 8), (0, 8), (-1, 8), (2, 0)])
def test_heads_that_do_not_divide_the_size_are_refused(heads, size):
    with pytest.raises(ValueError, match=rf"`h` must divide `s`, got {heads} and {size}"):
        check_heads("h", heads, "s", size)
    check_heads("h", 4, "s", 8)
