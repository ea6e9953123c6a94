"""The first state of a region: its vector in the vision encoder, and its box."""

import torch
from torch import nn


class RegionEmbedding(nn.Module):
    """A region's vector and its box, added and normed: LN(W_f f + W_b [x_min, y_min, x_max, y_max, area]).

    Dimensions: B posts, I regions, d_v the vision encoder's size, e the state's.

    Args:
        feature_size (`int`): d_v, of the vectors.
        size (`int`): e, of the states.
        dropout (`float`): dropout of the states.
    """

    def __init__(self, feature_size: int, size: int, dropout: float = 0.0):
        super().__init__()
        self.feature = nn.Linear(feature_size, size)
        self.box = nn.Linear(5, size)
        self.norm = nn.LayerNorm(size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
        """Return (B, I, e), for vectors (B, I, d_v) and boxes (B, I, 4), fractions of the picture."""
        area = (boxes[..., 2:] - boxes[..., :2]).prod(dim=-1, keepdim=True)
        return self.dropout(self.norm(self.feature(features) + self.box(torch.cat([boxes, area], dim=-1))))
