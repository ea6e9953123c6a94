"""FocalMRE: focal attention, gate and focal fusion over focal augmented images (paper sections 3.2 and 3.4).

Dimensions: B posts, T text tokens, R region slots (grounded ones first), P patches, d the text encoder's hidden size,
d_v the vision encoder's.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn
from transformers import initialization as init
from transformers.utils import ModelOutput, can_return_tuple, is_torchdynamo_exporting

from .configuration_focalmre import FocalMREConfig
from .image_tower import encode_images, existing_images, given_image_mask, patch_grid, scatter_images, select_patches
from .modeling_relation_extraction import MultimodalRelationExtractionPreTrainedModel, gather_tokens, relation_loss


@dataclass
class FocalMREOutput(ModelOutput):
    """Output of [`FocalMREForRelationClassification`].

    Args:
        loss (`torch.Tensor` of shape `()`): cross-entropy; if `labels` were given.
        logits (`torch.Tensor` of shape `(B, num_labels)`): one score per relation.
        gates (`torch.Tensor` of shape `(B, R, T, d)`): λ of equation (4), how much of the image each feature takes;
            zero for absent regions. With `output_fusion=True`, if the batch has an image and the model a gate.
        focal_attentions (`torch.Tensor` of shape `(B, R, T, P)`): attention of each token over the patches, equation
            (3); zero for absent regions. With `output_fusion=True`, if the batch has an image and the model uses focal
            attention.
        region_weights (`torch.Tensor` of shape `(B, R)`): weights of equation (5); zero for slots that do not count.
            With `output_fusion=True`.
    """

    loss: torch.FloatTensor | None = None
    logits: torch.FloatTensor | None = None
    gates: torch.FloatTensor | None = None
    focal_attentions: torch.FloatTensor | None = None
    region_weights: torch.FloatTensor | None = None


class FocalAttention(nn.Module):
    """Text-to-image attention with one head, equation (3), and the official code's output projection."""

    def __init__(self, config: FocalMREConfig):
        super().__init__()
        text_size, image_size = config.text_config.hidden_size, config.vision_config.hidden_size
        self.q_proj = nn.Linear(text_size, text_size)
        self.k_proj = nn.Linear(image_size, text_size)
        self.v_proj = nn.Linear(image_size, text_size)
        self.out_proj = nn.Linear(text_size, text_size)
        self.dropout = nn.Dropout(config.focal_dropout)
        self.scale = text_size**-0.5

    def forward(self, text: torch.Tensor, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the image as each token sees it (B, T, d), and the weights (B, T, P), for (B, T, d), (B, P, d_v)."""
        scores = self.q_proj(text) @ self.k_proj(image).transpose(1, 2) * self.scale  # (B, T, P)
        weights = scores.softmax(dim=-1)
        return self.out_proj(self.dropout(weights) @ self.v_proj(image)), weights


class MeanPatches(nn.Module):
    """Mean of the projected patches, the same for every token: the ablation of focal attention."""

    def __init__(self, config: FocalMREConfig):
        super().__init__()
        self.v_proj = nn.Linear(config.vision_config.hidden_size, config.text_config.hidden_size)

    def forward(self, text: torch.Tensor, image: torch.Tensor) -> tuple[torch.Tensor, None]:
        """Return the image (B, T, d), and no weights, for (B, T, d), (B, P, d_v)."""
        return self.v_proj(image).mean(dim=1, keepdim=True).expand_as(text), None


class Gate(nn.Module):
    """Gate between text and image, one for each feature of each token: equation (4)."""

    def __init__(self, config: FocalMREConfig):
        super().__init__()
        size = config.text_config.hidden_size
        self.text_proj = nn.Linear(size, size)  # U, with the bias
        self.image_proj = nn.Linear(size, size, bias=False)  # V

    def forward(self, text: torch.Tensor, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return text and image fused (B, T, d), and λ (B, T, d)."""
        gate = torch.sigmoid(self.text_proj(text) + self.image_proj(image))
        return (1 - gate) * text + gate * image, gate


class Sum(nn.Module):
    """Sum of text and image: the ablation of the gate."""

    def forward(self, text: torch.Tensor, image: torch.Tensor) -> tuple[torch.Tensor, None]:
        """Return the sum (B, T, d), and no gate."""
        return text + image, None


class RegionFusion(nn.Module):
    """Fuses one focal augmented image into the text: focal attention, then the gate."""

    def __init__(self, config: FocalMREConfig):
        super().__init__()
        self.attention = FocalAttention(config) if config.use_focal_attention else MeanPatches(config)
        self.gate = Gate(config) if config.use_gate else Sum()
        self.dropout = nn.Dropout(config.focal_dropout)

    def forward(self, text: torch.Tensor, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return h_out and gate (B, T, d), and attention (B, T, P); gate and attention are none if switched off."""
        text, image = self.dropout(text), self.dropout(image)
        attended, attention = self.attention(text, image)
        fused, gate = self.gate(text, attended)
        return fused, gate, attention


class FocalFusion(nn.Module):
    """Fuses the regions of one group, grounded or detected, into one representation: equation (5)."""

    def __init__(self, config: FocalMREConfig, num_regions: int):
        super().__init__()
        self.weighting = config.region_weighting
        self.weights = nn.Parameter(torch.full((num_regions,), self.initial_weight))

    @property
    def initial_weight(self) -> float:
        return 1.0 if self.weighting == "raw" else 0.0

    def forward(
        self, text: torch.Tensor, regions: torch.Tensor, image_mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Fuse one group.

        Args:
            text: (B, T, d), what remains where no slot counts.
            regions: (B, R_group, T, d), h_out of each slot.
            image_mask: (B, R_group), true where the slot counts.

        Returns:
            H̄ (B, T, d) and the weights (B, R_group).
        """
        if self.weighting == "raw":
            weights = self.weights * image_mask
        else:
            lowest = torch.finfo(self.weights.dtype).min
            scores = self.weights.expand(image_mask.shape).masked_fill(~image_mask, lowest)
            weights = scores.softmax(dim=-1) * image_mask
        weights = weights.to(regions.dtype)
        fused = (weights[:, :, None, None] * regions).sum(dim=1)
        return torch.where(image_mask.any(dim=1)[:, None, None], fused, text), weights


class FocalMREPreTrainedModel(MultimodalRelationExtractionPreTrainedModel):
    """Base of the models of FocalMRE: initial weights, attention of the encoders."""

    config: FocalMREConfig
    base_model_prefix = "focalmre"
    # Focal attention is the same under each attention that the encoders support.
    _supports_flash_attn = True
    _supports_flex_attn = True

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        super()._init_weights(module)
        if isinstance(module, FocalFusion):
            init.constant_(module.weights, module.initial_weight)


class FocalMREForRelationClassification(FocalMREPreTrainedModel):
    """FocalMRE with its relation classifier: predicts the relation between two entities of a post.

    Args:
        config (`FocalMREConfig`): the model's configuration.

    Example:

    ```python
    >>> processor = FocalMREProcessor.from_encoders("google-bert/bert-base-uncased", "openai/clip-vit-base-patch32")
    >>> model = FocalMREForRelationClassification.from_encoders(
    ...     "google-bert/bert-base-uncased", "openai/clip-vit-base-patch32", vocab_size=len(processor.tokenizer)
    ... )
    >>> inputs = processor(text="Rafael Nadal and Mery Perello", images=image, head=(0, 12), tail=(17, 29))
    >>> model(**inputs).logits
    ```
    """

    def __init__(self, config: FocalMREConfig):
        super().__init__(config)
        self._build_encoders()
        self.num_regions = config.num_grounded_regions + config.num_detected_regions
        self.region_fusions = nn.ModuleList(
            RegionFusion(config) for _ in range(1 if config.share_region_weights else self.num_regions)
        )
        self.grounded_fusion = FocalFusion(config, config.num_grounded_regions)
        self.detected_fusion = FocalFusion(config, config.num_detected_regions)
        self.classifier = _classifier(
            4 * config.text_config.hidden_size, config.classifier_hidden_sizes, config.num_labels
        )
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
    ) -> FocalMREOutput:
        """Predict the relation of each post.

        Args:
            input_ids (`torch.LongTensor` of shape `(B, T)`): the text with its entity markers.
            entity_positions (`torch.LongTensor` of shape `(B, 2)`): where the head's and the tail's opening markers
                stand.
            attention_mask (`torch.Tensor` of shape `(B, T)`, *optional*): one for text, zero for padding.
            pixel_values (`torch.FloatTensor` of shape `(B, R, 3, H, W)`, *optional*): the focal augmented images,
                grounded regions first. What stands in absent slots is never read. Without it no post has an image.
            image_mask (`torch.BoolTensor` of shape `(B, R)`, *optional*): true where a slot has an image; all of them
                by default.
            labels (`torch.LongTensor` of shape `(B,)`, *optional*): ids of the true relations.
            output_fusion (`bool`): also return gates, focal attentions and region weights, for every token.
            num_items_in_batch (`int` or `torch.Tensor`, *optional*): number of posts over which the loss is a mean, if
                not these B alone; the Trainer's, for gradient accumulation.

        Returns:
            [`FocalMREOutput`], or a tuple with `return_dict=False`.

        Raises:
            ValueError: if `pixel_values` has another number of region slots than the model.
        """
        text = self.text_model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state  # (B, T, d)
        if not output_fusion:
            # Fusion treats each token on its own and the classifier reads two of them: only these are fused.
            text = gather_tokens(text, entity_positions)  # (B, 2, d)
        images, image_mask = self._encode_regions(pixel_values, image_mask, batch_size=input_ids.shape[0])

        gates = attentions = None
        if images is None:
            grounded = detected = text
            weights = text.new_zeros(text.shape[0], self.num_regions)
        else:
            fused, gates, attentions = self._fuse_regions(text, images)
            weighted = image_mask
            if self._counts_absent_slots:
                weighted = image_mask.any(dim=1, keepdim=True).expand_as(image_mask)
            first_detected = self.config.num_grounded_regions
            grounded, grounded_weights = self.grounded_fusion(
                text, fused[:, :first_detected], weighted[:, :first_detected]
            )
            detected, detected_weights = self.detected_fusion(
                text, fused[:, first_detected:], weighted[:, first_detected:]
            )
            weights = torch.cat([grounded_weights, detected_weights], dim=1)

        if output_fusion:
            grounded = gather_tokens(grounded, entity_positions)
            detected = gather_tokens(detected, entity_positions)
        # Equation (6): head and tail after grounded regions, then head and tail after detected ones.
        logits = self.classifier(torch.cat([grounded.flatten(1), detected.flatten(1)], dim=1))
        loss = relation_loss(logits, labels, num_items_in_batch)
        if not output_fusion:
            return FocalMREOutput(loss=loss, logits=logits)
        present = None if image_mask is None else image_mask[:, :, None, None]
        return FocalMREOutput(
            loss=loss,
            logits=logits,
            gates=None if gates is None else gates * present,
            focal_attentions=None if attentions is None else attentions * present,
            region_weights=weights,
        )

    def fusion_summary(self, outputs: FocalMREOutput, inputs: Mapping[str, torch.Tensor]) -> list[dict]:
        """Say in a few numbers how text and pictures were fused in each post.

        Args:
            outputs ([`FocalMREOutput`]): what `forward` returned with `output_fusion=True`.
            inputs (`Mapping[str, torch.Tensor]`): what `forward` was given.

        Returns:
            For each post, under `grounded_regions` and `detected_regions`, a number for each region that exists: its
            `gates`, how much of the picture the two entities take (a mean over λ at their markers), if the model has a
            gate, and its `weights`.
        """
        numbers = {"weights": outputs.region_weights.float()}
        if outputs.gates is not None:
            positions = inputs["entity_positions"][:, None, :, None]
            positions = positions.expand(-1, outputs.gates.shape[1], -1, outputs.gates.shape[-1])
            numbers = {"gates": outputs.gates.gather(2, positions).mean(dim=(2, 3)).float(), **numbers}  # (B, R)
        elif self.config.use_gate:  # no picture at all
            numbers = {"gates": numbers["weights"], **numbers}
        image_mask = given_image_mask(
            inputs.get("pixel_values"), inputs.get("image_mask"), tuple(outputs.region_weights.shape)
        )
        # At once, for a GPU would be waited for at each post.
        numbers, image_mask = {name: values.cpu() for name, values in numbers.items()}, image_mask.cpu()
        first_detected = self.config.num_grounded_regions
        groups = {"grounded_regions": slice(first_detected), "detected_regions": slice(first_detected, None)}
        return [
            {
                group: {name: values[post, slots][image_mask[post, slots]].tolist() for name, values in numbers.items()}
                for group, slots in groups.items()
            }
            for post in range(len(image_mask))
        ]

    @property
    def has_picture_attention(self) -> bool:
        """Tell whether the model, as configured, has an attention to pictures, for [`picture_attention`]."""
        return self.config.use_focal_attention

    def picture_attention(
        self, outputs: FocalMREOutput, inputs: Mapping[str, torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Return where the two entities look in each picture, and how much of each picture they take.

        Args:
            outputs ([`FocalMREOutput`]): what `forward` returned with `output_fusion=True`.
            inputs (`Mapping[str, torch.Tensor]`): what `forward` was given.

        Returns:
            The focal attention of equation (3) at the opening markers, a mean over both, (B, R, P), without the class
            token; and the weights (B, R) of equation (5) times the mean gate of equation (4) there. `None` without a
            picture or without focal attention.
        """
        if outputs.focal_attentions is None:
            return None
        positions = inputs["entity_positions"][:, None, :, None]  # (B, 1, 2, 1)

        def at_entities(values: torch.Tensor) -> torch.Tensor:
            return values.gather(2, positions.expand(-1, values.shape[1], -1, values.shape[-1])).mean(dim=2)

        attention, weights = at_entities(outputs.focal_attentions), outputs.region_weights
        if outputs.gates is not None:
            weights = weights * at_entities(outputs.gates).mean(dim=-1)
        grid = patch_grid(inputs["pixel_values"].flatten(0, 1), self.config.vision_config.patch_size)
        return attention[..., -math.prod(grid) :], weights

    @property
    def _counts_absent_slots(self) -> bool:
        return self.config.region_weighting == "raw"

    def _encode_regions(
        self, pixel_values: torch.Tensor | None, image_mask: torch.Tensor | None, batch_size: int
    ) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """Encode the regions that exist, in one call.

        Returns:
            Patch features (B, R, P, d_v), zero where a region is absent, and the mask (B, R); None and None if there
            is no region at all.
        """
        existing, image_mask = existing_images(
            pixel_values,
            image_mask,
            (batch_size, self.num_regions),
            "`num_grounded_regions` + `num_detected_regions`",
            self.vision_model.dtype,
        )
        if existing is None:
            return None, None
        zero_image_counts = self._counts_absent_slots and (
            is_torchdynamo_exporting() or len(existing) < image_mask.numel()
        )
        if zero_image_counts:
            # The official code encodes a zero image in every absent slot. They are all alike: one is enough.
            existing = torch.cat([existing, torch.zeros_like(existing[:1])])
        features = encode_images(self.vision_model, existing).last_hidden_state
        if self.config.vision_feature_select_strategy == "default":
            features = select_patches(features, existing, self.config.vision_config.patch_size)
        if not zero_image_counts:
            return scatter_images(features, image_mask), image_mask
        images = scatter_images(features[:-1], image_mask)
        return torch.where(image_mask[:, :, None, None], images, features[-1]), image_mask

    def _fuse_regions(self, text: torch.Tensor, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Fuse each slot (B, R, P, d_v) with the text: fused and gates (B, R, T, d), attentions (B, R, T, P)."""
        fusions = list(self.region_fusions)
        if self.config.share_region_weights:
            fusions = fusions * self.num_regions
        results = [fusion(text, images[:, slot]) for slot, fusion in enumerate(fusions)]
        return tuple(None if part[0] is None else torch.stack(part, dim=1) for part in zip(*results))


def _classifier(input_size: int, hidden_sizes: list[int] | tuple[int, ...], num_labels: int) -> nn.Module:
    """Build the MLP of equation (7): linear layers with ReLU between them."""
    layers = []
    for hidden_size in hidden_sizes:
        layers += [nn.Linear(input_size, hidden_size), nn.ReLU()]
        input_size = hidden_size
    return nn.Sequential(*layers, nn.Linear(input_size, num_labels))


__all__ = ["FocalMREForRelationClassification", "FocalMREOutput", "FocalMREPreTrainedModel"]
