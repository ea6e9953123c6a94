"""HVPNeT: the levels of the vision encoder as a prefix of each text layer (paper section 3).

Dimensions: B posts, T tokens, I = 1 + m images (the whole image, then object crops), N images that exist in the batch,
K text layers, d the text encoder's hidden size. Each image gives four blocks of four prompt tokens.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn
from transformers.utils import ModelOutput, can_return_tuple

from .configuration_hvpnet import NUM_LEVELS, HVPNeTConfig
from .image_tower import encode_images, existing_images, given_image_mask, patch_grid, scatter_images, select_patches
from .modeling_relation_extraction import gather_tokens, relation_loss
from .prefix_attention import Prefix, PrefixRelationExtractionPreTrainedModel, check_layers, encode_with_prefix
from .region_weights import WeighsRegions, at_entities

SIDE = 2  # each map is pooled to 2 x 2 cells


@dataclass
class HVPNeTOutput(ModelOutput):
    """Output of [`HVPNeTForRelationClassification`].

    Args:
        loss (`torch.Tensor` of shape `()`): cross-entropy; if `labels` were given.
        logits (`torch.Tensor` of shape `(B, num_labels)`): one score per relation.
        gates (`torch.Tensor` of shape `(B, I, K, 4)`): how much of each block each text layer takes; zero for absent
            images. With `output_fusion=True`, if the batch has an image.
        region_weights (`torch.Tensor` of shape `(B, I)`): share of each image's prefix in the attention at the two
            entities' opening markers, a mean over heads and text layers; zero for absent images. Likewise.
    """

    loss: torch.FloatTensor | None = None
    logits: torch.FloatTensor | None = None
    gates: torch.FloatTensor | None = None
    region_weights: torch.FloatTensor | None = None


class VisualPrefix(nn.Module):
    """Projection and dynamic gates that make the prefix of each text layer of an image's pyramid."""

    def __init__(self, config: HVPNeTConfig, pyramid_size: int):
        super().__init__()
        size = 2 * config.text_config.hidden_size  # a key and a value
        self.num_layers = config.text_config.num_hidden_layers
        self.projection = nn.Sequential(
            nn.Linear(pyramid_size, config.visual_projection_size),
            nn.Tanh(),
            nn.Linear(config.visual_projection_size, NUM_LEVELS * size),
        )
        self.gate = nn.Linear(SIDE**2 * size, self.num_layers * NUM_LEVELS)  # of all text layers

    def forward(self, pyramids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the prefixes (N, K, 4, 2d) and the gates (N, K, 4), for pyramids (N, 4 cells, size)."""
        blocks = self.projection(pyramids).unflatten(-1, (NUM_LEVELS, -1)).transpose(1, 2)  # (N, 4 blocks, 4 cells, 2d)
        scores = nn.functional.leaky_relu(self.gate(blocks.mean(dim=1).flatten(1)))
        gates = scores.unflatten(-1, (self.num_layers, NUM_LEVELS)).softmax(dim=-1)
        return torch.einsum("nkl,nlcd->nkcd", gates, blocks), gates


class HVPNeTPreTrainedModel(PrefixRelationExtractionPreTrainedModel):
    """Base of the models of HVPNeT."""

    config: HVPNeTConfig
    base_model_prefix = "hvpnet"


class HVPNeTForRelationClassification(WeighsRegions, HVPNeTPreTrainedModel):
    """HVPNeT with its relation classifier: predicts the relation between two entities of a post.

    Differences from the published code:

    - The classifier is trained; there it keeps its first, random weights.
    - Keys and values of the prefix are cut into heads as the text's are, and cells keep their channels; there plain
      views mix slots with heads, and channels with cells.
    - Absent crops are masked; there they are grey pictures. The crops are the first boxes, grounded ones before
      detected ones.
    - A picture is scaled to the model's size whole; there a centre crop cuts its sides off, as the processor's
      `resize="center_crop"` does.
    - The statistics of batch normalisation of a frozen ResNet stay as they are; there they drift.

    Args:
        config (`HVPNeTConfig`): the model's configuration.

    Raises:
        ValueError: if the text encoder's layers cannot be given a prefix.
    """

    def __init__(self, config: HVPNeTConfig):
        super().__init__(config)
        self._build_encoders()
        check_layers(self.text_model)
        if config.vision_features == "maps":
            pyramid_size = sum(self.vision_model.channels)
        else:
            pyramid_size = NUM_LEVELS * config.vision_config.hidden_size
        self.visual_prefix = VisualPrefix(config, pyramid_size)
        self.classifier = nn.Linear(2 * config.text_config.hidden_size, config.num_labels)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor,
        entity_positions: torch.LongTensor,
        attention_mask: torch.Tensor | None = None,
        pixel_values: torch.FloatTensor | None = None,
        image_mask: torch.BoolTensor | None = None,
        labels: torch.LongTensor | None = None,
        output_fusion: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> HVPNeTOutput:
        """Predict the relation of each post.

        Args:
            input_ids (`torch.LongTensor` of shape `(B, T)`): the text with its entity markers.
            entity_positions (`torch.LongTensor` of shape `(B, 2)`): where the head's and the tail's opening markers
                stand.
            attention_mask (`torch.Tensor` of shape `(B, T)`, *optional*): one for text, zero for padding.
            pixel_values (`torch.FloatTensor` of shape `(B, I, 3, H, W)`, *optional*): the whole image, then the object
                crops. What stands in absent slots is never read. Without it no post has an image.
            image_mask (`torch.BoolTensor` of shape `(B, I)`, *optional*): true where an image exists; all of them by
                default.
            labels (`torch.LongTensor` of shape `(B,)`, *optional*): ids of the true relations.
            output_fusion (`bool`): also return gates and weights of the images.
            num_items_in_batch (`int` or `torch.Tensor`, *optional*): number of posts over which the loss is a mean, if
                not these B alone; the Trainer's, for gradient accumulation.

        Returns:
            [`HVPNeTOutput`], or a tuple with `return_dict=False`.

        Raises:
            ValueError: if `pixel_values` has another number of slots than the model, or a mask another shape.
            RuntimeError: if the text encoder's attention was changed so that it does not read the prefix.
        """
        images, image_mask = existing_images(
            pixel_values,
            image_mask,
            (input_ids.shape[0], 1 + self.config.num_object_images),
            "the whole image and `num_object_images` crops",
            self.vision_model.dtype,
        )
        text, gates, weights = {"input_ids": input_ids, "attention_mask": attention_mask}, None, None
        if images is None:
            states = self.text_model(**text).last_hidden_state
        else:
            prefixes, gates = self.visual_prefix(self._pyramids(images))  # (N, K, 4, 2d), (N, K, 4)
            prefixes = scatter_images(prefixes, image_mask).transpose(1, 2).flatten(2, 3)  # (B, K, 4 I, 2d)
            gates = scatter_images(gates, image_mask)
            prefix = Prefix(list(prefixes.unbind(dim=1)), image_mask.repeat_interleave(SIDE**2, dim=1))
            if output_fusion:
                prefix.weights = []
            states = encode_with_prefix(self.text_model, prefix, **text)  # (B, T, d)
            if output_fusion:
                weights = at_entities(prefix.weights, entity_positions).unflatten(1, (-1, SIDE**2)).sum(dim=2)
        logits = self.classifier(gather_tokens(states, entity_positions).flatten(1))
        return HVPNeTOutput(
            loss=relation_loss(logits, labels, num_items_in_batch),
            logits=logits,
            gates=gates if output_fusion else None,
            region_weights=weights,
        )

    def _pyramids(self, images: torch.Tensor) -> torch.Tensor:
        """Return the four levels of images (N, 3, H, W), each pooled to 2 x 2 cells, side by side: (N, 4, size)."""
        if self.config.vision_features == "maps":
            levels = encode_images(self.vision_model, images).feature_maps
        else:
            patch_size = self.config.vision_config.patch_size
            grid = patch_grid(images, patch_size)
            states = encode_images(self.vision_model, images, output_hidden_states=True).hidden_states
            last = len(states) - 1
            states = [states[round(last * level / NUM_LEVELS)] for level in range(1, NUM_LEVELS + 1)]
            levels = [select_patches(s, images, patch_size).transpose(1, 2).unflatten(2, grid) for s in states]
        pooled = [nn.functional.adaptive_avg_pool2d(level, SIDE) for level in levels]  # (N, channels, 2, 2)
        return torch.cat(pooled, dim=1).flatten(2).transpose(1, 2)

    def fusion_summary(self, outputs: HVPNeTOutput, inputs: Mapping[str, torch.Tensor]) -> list[dict]:
        """Say in a few numbers how text and pictures were fused in each post.

        Args:
            outputs ([`HVPNeTOutput`]): what `forward` returned with `output_fusion=True`.
            inputs (`Mapping[str, torch.Tensor]`): what `forward` was given.

        Returns:
            For each post `gates`: for each image that exists the weight of each block, a mean over the text layers; and
            `region_weights`, a number for each image that exists.
        """
        shape = outputs.logits.shape[0], 1 + self.config.num_object_images
        image_mask = given_image_mask(inputs.get("pixel_values"), inputs.get("image_mask"), shape)
        gates = image_mask if outputs.gates is None else outputs.gates.mean(dim=2).float()  # (B, I, 4)
        weights = image_mask if outputs.region_weights is None else outputs.region_weights.float()
        return [
            {"gates": post_gates[exists].tolist(), "region_weights": post_weights[exists].tolist()}
            for post_gates, post_weights, exists in zip(gates.cpu(), weights.cpu(), image_mask.cpu())
        ]


__all__ = ["HVPNeTForRelationClassification", "HVPNeTOutput", "HVPNeTPreTrainedModel"]
