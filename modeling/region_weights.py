"""Weights of a post's pictures: how much the two entities look at each of them.

Dimensions: B posts, T tokens, R picture slots.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from transformers.utils import ModelOutput

from .image_tower import given_image_mask
from .modeling_relation_extraction import gather_tokens


@dataclass
class RegionWeightsOutput(ModelOutput):
    """Output of a model that weighs the pictures of a post.

    Args:
        loss (`torch.Tensor` of shape `()`): cross-entropy; if `labels` were given.
        logits (`torch.Tensor` of shape `(B, num_labels)`): one score per relation.
        region_weights (`torch.Tensor` of shape `(B, R)`): how much the two entities look at each picture, a mean over
            both opening markers, over heads and over layers; zero for absent pictures. With `output_fusion=True`, if
            the batch has a picture.
    """

    loss: torch.FloatTensor | None = None
    logits: torch.FloatTensor | None = None
    region_weights: torch.FloatTensor | None = None


class WeighsRegions:
    """Base of the models whose output has `region_weights`, beside that of their encoders."""

    def fusion_summary(self, outputs: ModelOutput, inputs: Mapping[str, torch.Tensor]) -> list[dict[str, Any]]:
        """Say in a few numbers how text and pictures were fused in each post.

        Args:
            outputs ([`RegionWeightsOutput`]): what `forward` returned with `output_fusion=True`.
            inputs (`Mapping[str, torch.Tensor]`): what `forward` was given.

        Returns:
            For each post `region_weights`, a number for each picture that exists.
        """
        shape = outputs.logits.shape[0], self.config.num_slots
        image_mask = given_image_mask(inputs.get("pixel_values"), inputs.get("image_mask"), shape)
        weights = image_mask if outputs.region_weights is None else outputs.region_weights.float()
        return [{"region_weights": post[exists].tolist()} for post, exists in zip(weights, image_mask)]

    @property
    def has_picture_attention(self) -> bool:
        """Tell whether the model, as configured, has an attention to pictures, for [`picture_attention`]."""
        return True

    def picture_attention(
        self, outputs: ModelOutput, inputs: Mapping[str, torch.Tensor]
    ) -> tuple[None, torch.Tensor] | None:
        """Return how much the two entities look at each picture.

        Args:
            outputs ([`RegionWeightsOutput`]): what `forward` returned with `output_fusion=True`.
            inputs (`Mapping[str, torch.Tensor]`): what `forward` was given.

        Returns:
            `None`, for the patches have no weights; and `region_weights` (B, R). `None` alone without a picture.
        """
        return None if outputs.region_weights is None else (None, outputs.region_weights)


def at_entities(weights: list[torch.Tensor], entity_positions: torch.Tensor) -> torch.Tensor:
    """Return weights (B, T, S) of some layers at the markers (B, 2): (B, S), a mean over layers and both entities."""
    return gather_tokens(torch.stack(weights).mean(dim=0), entity_positions).mean(dim=1)


__all__ = ["RegionWeightsOutput", "WeighsRegions", "at_entities"]
