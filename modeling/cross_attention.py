"""Attention of one row of states to another, and the Transformer layer around it.

Dimensions: B posts, T states that attend, S states that are attended, d and e their sizes.
"""

import torch
from torch import nn


class CrossAttention(nn.Module):
    """Multi-head attention (Vaswani et al. 2017, section 3.2) of states to a context.

    Where a post's context is empty, what is attended is zero.

    Args:
        size (`int`): d, of the states.
        context_size (`int`): e, of the context.
        num_heads (`int`): heads.
        attention_size (`int`, *optional*): size of all heads together; d by default.
        dropout (`float`): dropout of the attention weights.
    """

    def __init__(
        self, size: int, context_size: int, num_heads: int, attention_size: int | None = None, dropout: float = 0.0
    ):
        super().__init__()
        attention_size = attention_size or size
        self.num_heads, self.dropout = num_heads, dropout
        self.q_proj = nn.Linear(size, attention_size)
        self.k_proj = nn.Linear(context_size, attention_size)
        self.v_proj = nn.Linear(context_size, attention_size)
        self.out_proj = nn.Linear(attention_size, size)

    def forward(self, states: torch.Tensor, context: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return (B, T, d), for states (B, T, d), a context (B, S, e) and its mask (B, S), true where it is read."""
        query, key, value = (
            self._heads(projection(x))
            for projection, x in ((self.q_proj, states), (self.k_proj, context), (self.v_proj, context))
        )
        exists = mask.any(dim=1)[:, None, None, None]  # (B, 1, 1, 1)
        attended = nn.functional.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=mask[:, None, None, :] | ~exists,  # a softmax over nothing is not a number
            dropout_p=self.dropout if self.training else 0.0,
        )
        return self.out_proj((attended * exists).transpose(1, 2).flatten(2))

    def weights(self, states: torch.Tensor, context: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return how much each state attends to each part of its context, a mean over heads: (B, T, S).

        The arguments are those of `forward`. Zero is what the mask leaves out.
        """
        query, key = self._heads(self.q_proj(states)), self._heads(self.k_proj(context))
        scores = query @ key.transpose(2, 3) * query.shape[-1] ** -0.5
        scores = scores.masked_fill(~mask[:, None, None, :], torch.finfo(scores.dtype).min)
        return scores.softmax(dim=-1).mean(dim=1) * mask[:, None, :]

    def _heads(self, projected: torch.Tensor) -> torch.Tensor:
        return projected.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # (B, heads, T or S, size of a head)


class CrossAttentionLayer(nn.Module):
    """A Transformer layer whose states attend to a context: attention, then two linear layers, each added and normed.

    With the states as their own context, it is a layer of BERT.

    Args:
        size (`int`): d, of the states.
        context_size (`int`): e, of the context.
        num_heads (`int`): heads.
        intermediate_size (`int`): width between the two linear layers.
        attention_size (`int`, *optional*): size of all heads together; d by default.
        dropout (`float`): dropout of the attention weights and before each sum.
    """

    def __init__(
        self,
        size: int,
        context_size: int,
        num_heads: int,
        intermediate_size: int,
        attention_size: int | None = None,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.attention = CrossAttention(size, context_size, num_heads, attention_size, dropout)
        self.attention_norm = nn.LayerNorm(size)
        self.mlp = nn.Sequential(nn.Linear(size, intermediate_size), nn.GELU(), nn.Linear(intermediate_size, size))
        self.mlp_norm = nn.LayerNorm(size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: torch.Tensor, context: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return (B, T, d), for states (B, T, d), a context (B, S, e) and its mask (B, S), true where it is read."""
        states = self.attention_norm(states + self.dropout(self.attention(states, context, mask)))
        return self.mlp_norm(states + self.dropout(self.mlp(states)))


def check_heads(name: str, num_heads: int, size_name: str, size: int) -> None:
    """Raise `ValueError`, with their names, for heads that do not divide a size."""
    if num_heads < 1 or size < 1 or size % num_heads:
        raise ValueError(f"`{name}` must divide `{size_name}`, got {num_heads} and {size}.")
