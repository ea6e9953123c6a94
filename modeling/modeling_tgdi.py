"""TGDI: Cross-Modal Interaction, Text Modulated Matching Gate, Text-Oriented Interaction (paper section 3).

Dimensions: B posts, T_e tokens of text and caption, T tokens of the text alone, I = 1 + m images (the whole image, then
object crops), N images that exist in the batch, P patches, c levels of the vision encoder, K text layers, L prompt
tokens per image, d the text encoder's hidden size, d_v the vision encoder's.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn
from transformers import AutoModel
from transformers.utils import ModelOutput, can_return_tuple, is_torchdynamo_exporting

from .configuration_tgdi import TGDIConfig
from .image_tower import encode_images, existing_images, given_image_mask, scatter_images, select_patches
from .modeling_relation_extraction import gather_tokens, relation_loss, token_mask
from .prefix_attention import Prefix, PrefixRelationExtractionPreTrainedModel, check_layers, encode_with_prefix


@dataclass
class TGDIOutput(ModelOutput):
    """Output of [`TGDIForRelationClassification`].

    Args:
        loss (`torch.Tensor` of shape `()`): cross-entropy, equation (16); if `labels` were given.
        logits (`torch.Tensor` of shape `(B, num_labels)`): one score per relation.
        hierarchy_gates (`torch.Tensor` of shape `(B, I, K, c)`): g of equation (3), how much of each level each text
            layer takes; zero for absent images. With `output_fusion=True`, if the batch has an image and the model a
            visual prefix.
        matching_scores (`torch.Tensor` of shape `(B, I, P, T)`): A of equation (8), each patch over the text tokens;
            zero for absent images. With `output_fusion=True`, if the batch has an image and the model a matching gate.
        matching_gate (`torch.Tensor` of shape `(B, d)`): m of equation (10); one for posts without an image. With
            `output_fusion=True`, if the model has a matching gate.
    """

    loss: torch.FloatTensor | None = None
    logits: torch.FloatTensor | None = None
    hierarchy_gates: torch.FloatTensor | None = None
    matching_scores: torch.FloatTensor | None = None
    matching_gate: torch.FloatTensor | None = None


class HierarchicalVisualFeatures(nn.Module):
    """Visual features for each text layer, from all levels of the vision encoder: equations (1) to (3)."""

    def __init__(self, config: TGDIConfig):
        super().__init__()
        size = config.text_config.hidden_size
        self.num_levels = config.vision_config.num_hidden_layers + 1
        self.num_layers = config.text_config.num_hidden_layers
        self.pool = nn.AdaptiveAvgPool1d(config.visual_prompt_length)
        self.mlp = nn.Sequential(
            nn.Linear(config.vision_config.hidden_size, config.visual_projection_size),
            nn.Tanh(),
            nn.Linear(config.visual_projection_size, size),
        )
        self.convolution = nn.Conv1d(size, size, kernel_size=1)
        self.gate = nn.Linear(size, self.num_layers * self.num_levels)  # W_l of all layers

    def forward(self, levels: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return Ṽ_l of every text layer (N, K, L, d), and gates (N, K, c), for each level's (N, P, d_v)."""
        pooled = torch.stack([self.pool(level.transpose(1, 2)) for level in levels], dim=1)  # (N, c, d_v, L)
        hidden = self.mlp(pooled.flatten(0, 1).transpose(1, 2))  # (N c, L, d)
        features = self.convolution(hidden.transpose(1, 2)).transpose(1, 2)  # equation (1)
        features = features.unflatten(0, (-1, self.num_levels))  # (N, c, L, d)
        mean = features.mean(dim=(1, 2))  # over the levels, each pooled: (N, d)
        scores = nn.functional.leaky_relu(self.gate(mean))  # equation (2)
        gates = scores.unflatten(1, (self.num_layers, self.num_levels)).softmax(dim=-1)  # (N, K, c), equation (3)
        return torch.einsum("nkc,ncld->nkld", gates, features), gates


class PrefixProjections(nn.Module):
    """Projections to the prefix of each text layer: W^α of equation (5), and W^β of equation (13)."""

    def __init__(self, config: TGDIConfig):
        super().__init__()
        size = config.text_config.hidden_size
        self.layers = nn.ModuleList(
            nn.Linear(size, 2 * size, bias=False) for _ in range(config.text_config.num_hidden_layers)
        )

    def forward(self, states: list[torch.Tensor] | tuple[torch.Tensor, ...], mask: torch.Tensor) -> Prefix:
        """Return the prefix of all layers, for each layer's (B, L, d) and their mask (B, L)."""
        return Prefix([layer(state) for layer, state in zip(self.layers, states, strict=True)], mask)


class TextSelfAttention(nn.Module):
    """Self-attention of the text with one head, equation (7)."""

    def __init__(self, config: TGDIConfig):
        super().__init__()
        size = config.text_config.hidden_size
        self.q_proj = nn.Linear(size, size, bias=False)
        self.k_proj = nn.Linear(size, size, bias=False)
        self.v_proj = nn.Linear(size, size, bias=False)
        self.scale = size**-0.5

    def forward(self, text: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return H_s (B, T, d), for H (B, T, d) and the mask (B, T), true on text."""
        scores = self.q_proj(text) @ self.k_proj(text).transpose(1, 2) * self.scale
        return _masked_softmax(scores, mask) @ self.v_proj(text)


class TextModulatedMatchingGate(nn.Module):
    """Gate by how well the images match the text, one for each feature: equations (8) to (10)."""

    def __init__(self, config: TGDIConfig):
        super().__init__()
        size = config.text_config.hidden_size
        self.image_proj = nn.Linear(config.vision_config.hidden_size, size)
        self.mlp = nn.Sequential(nn.Linear(3 * size, size), nn.ReLU(), nn.Linear(size, size))
        self.scale = size**-0.5 if config.scale_matching_scores else 1.0

    def forward(
        self, patches: torch.Tensor, image_mask: torch.Tensor, text: torch.Tensor, text_mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Match the images with the text.

        Args:
            patches: (B, I, P, d_v), the last level's.
            image_mask: (B, I), true where an image exists.
            text: H_s (B, T, d).
            text_mask: (B, T), true on text.

        Returns:
            m (B, d), one for posts without an image, and A (B, I, P, T).
        """
        # Flattened first: in 8 bits, a linear layer takes matrices and batches of them alone.
        vision = self.image_proj(patches.flatten(1, 2))  # V (B, I P, d)
        scores = _masked_softmax(vision @ text.transpose(1, 2) * self.scale, text_mask)  # (B, I P, T), equation (8)
        context = scores @ text  # C', equation (9)
        exists = image_mask.repeat_interleave(patches.shape[2], dim=1)[:, None, :].to(vision.dtype)  # (B, 1, I P)
        share = exists / exists.sum(dim=2, keepdim=True).clamp(min=1)
        # The mean of each part of [V; C'; V * C'], so that the three are never copied side by side.
        mean = torch.cat([share @ part for part in (vision, context, vision * context)], dim=-1).squeeze(1)  # (B, 3d)
        gate = torch.sigmoid(self.mlp(mean))  # equation (10)
        gate = torch.where(image_mask.any(dim=1, keepdim=True), gate, torch.ones_like(gate))
        return gate, scores.unflatten(1, patches.shape[1:3])


class TGDIPreTrainedModel(PrefixRelationExtractionPreTrainedModel):
    """Base of the models of TGDI."""

    config: TGDIConfig
    base_model_prefix = "tgdi"
    text_encoders = ("text_model", "toi_model")


class TGDIForRelationClassification(TGDIPreTrainedModel):
    """TGDI with its relation classifier: predicts the relation between two entities of a post.

    Args:
        config (`TGDIConfig`): the model's configuration.

    Raises:
        ValueError: if the text encoder's layers cannot be given a prefix, or it reads no hidden states.
    """

    def __init__(self, config: TGDIConfig):
        super().__init__(config)
        self._build_encoders()
        check_layers(self.text_model)
        if config.use_cross_modal_interaction:
            self.visual_features = HierarchicalVisualFeatures(config)
            self.visual_prefixes = PrefixProjections(config)  # W^α
        if config.use_text_oriented_interaction:
            embedding_size = self.text_model.get_input_embeddings().embedding_dim
            if embedding_size != config.text_config.hidden_size:
                raise ValueError(
                    f"The text encoder {type(self.text_model).__name__} reads embeddings of size {embedding_size}, so "
                    "Text-Oriented Interaction cannot give it hidden states, whose size is "
                    f"{config.text_config.hidden_size}."
                )
            if config.toi_encoder == "separate":
                self.toi_model = AutoModel.from_config(config.text_config, dtype=torch.get_default_dtype())
                self.toi_model.set_input_embeddings(None)  # it reads hidden states
            self.text_attention = TextSelfAttention(config)
            if config.has_matching_gate:
                self.matching_gate = TextModulatedMatchingGate(config)
            self.fusion_prefixes = PrefixProjections(config)  # W^β
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(2 * config.text_config.hidden_size, config.num_labels)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor,
        entity_positions: torch.LongTensor,
        attention_mask: torch.Tensor | None = None,
        text_mask: torch.Tensor | None = None,
        pixel_values: torch.FloatTensor | None = None,
        image_mask: torch.BoolTensor | None = None,
        labels: torch.LongTensor | None = None,
        output_fusion: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> TGDIOutput:
        """Predict the relation of each post.

        Args:
            input_ids (`torch.LongTensor` of shape `(B, T_e)`): the text with its entity markers, then the caption:
                `[CLS] text [SEP] caption [SEP]`.
            entity_positions (`torch.LongTensor` of shape `(B, 2)`): where the head's and the tail's opening markers
                stand.
            attention_mask (`torch.Tensor` of shape `(B, T_e)`, *optional*): one for text and caption, zero for padding.
            text_mask (`torch.Tensor` of shape `(B, T_e)`, *optional*): true on `[CLS] text [SEP]`; by default there are
                no captions.
            pixel_values (`torch.FloatTensor` of shape `(B, I, 3, H, W)`, *optional*): the whole image, then the object
                crops. What stands in absent slots is never read. Without it no post has an image: there is no visual
                prefix, and m = 1.
            image_mask (`torch.BoolTensor` of shape `(B, I)`, *optional*): true where an image exists; all of them by
                default.
            labels (`torch.LongTensor` of shape `(B,)`, *optional*): ids of the true relations.
            output_fusion (`bool`): also return hierarchy gates, matching scores and the matching gate.
            num_items_in_batch (`int` or `torch.Tensor`, *optional*): number of posts over which the loss is a mean, if
                not these B alone; the Trainer's, for gradient accumulation.

        Returns:
            [`TGDIOutput`], or a tuple with `return_dict=False`.

        Raises:
            ValueError: if `pixel_values` has another number of slots than the model, or a mask another shape.
            RuntimeError: if the text encoder's attention was changed so that it does not read the prefix.
        """
        attention_mask = token_mask(input_ids, attention_mask)
        text_mask = attention_mask if text_mask is None else text_mask.bool()
        if text_mask.shape != input_ids.shape:
            raise ValueError(
                f"`text_mask` must have the shape of `input_ids`, {tuple(input_ids.shape)}, but its shape is "
                f"{tuple(text_mask.shape)}."
            )
        reads_captions = self.config.use_caption
        # T is the start of T_e; all of it while exporting, for a program has no length that depends on its data.
        text_length = text_mask.shape[1]
        if not is_torchdynamo_exporting():
            ends = (text_mask * torch.arange(1, text_length + 1, device=text_mask.device)).amax(dim=1)
            more_than_text = (text_mask != attention_mask).any()
            shortest, text_length, has_captions = torch.stack([*ends.aminmax(), more_than_text]).tolist()
            if shortest == 0:
                raise ValueError("`text_mask` must be true on each post's text, but it is false for all of a post.")
            reads_captions = self.config.use_caption and has_captions
        text_ids, text_mask = input_ids[:, :text_length], text_mask[:, :text_length]
        if not reads_captions:
            input_ids, attention_mask = text_ids, text_mask

        levels, image_mask = self._encode_images(pixel_values, image_mask, batch_size=input_ids.shape[0])
        fused, hierarchy_gates = self._interact_across_modalities(input_ids, attention_mask, levels, image_mask)  # f1
        gate = scores = None
        result = gather_tokens(fused, entity_positions)
        if self.config.use_text_oriented_interaction:
            text = fused  # H, where nothing but the text was read, and without dropout, which draws anew
            if hierarchy_gates is not None or reads_captions or self.text_model.training:
                text = self.text_model(text_ids, attention_mask=text_mask).last_hidden_state  # H
            text = self.text_attention(text, text_mask)  # H_s (B, T, d)
            gate, scores = self._match(levels, image_mask, text, text_mask)  # m (B, d)
            gated = fused if gate is None else gate[:, None, :] * fused  # f2, equation (11)
            prefix = self.fusion_prefixes([gated] * self.config.text_config.num_hidden_layers, attention_mask)
            refined = encode_with_prefix(  # f3, equations (12) and (13)
                getattr(self, "toi_model", self.text_model), prefix, inputs_embeds=text, attention_mask=text_mask
            )
            refined = gather_tokens(refined, entity_positions)
            if self.config.use_result_fusion:
                weight = self.config.fusion_weight
                result = weight * refined + (1 - weight) * result  # equation (14)
            else:
                result = refined
        logits = self.classifier(self.dropout(result.flatten(1)))  # equation (15), from head and tail
        return TGDIOutput(
            loss=relation_loss(logits, labels, num_items_in_batch),
            logits=logits,
            hierarchy_gates=hierarchy_gates if output_fusion else None,
            matching_scores=scores if output_fusion else None,
            matching_gate=gate if output_fusion else None,
        )

    def fusion_summary(self, outputs: TGDIOutput, inputs: Mapping[str, torch.Tensor]) -> list[dict]:
        """Say in a few numbers how text and pictures were fused in each post.

        Args:
            outputs ([`TGDIOutput`]): what `forward` returned with `output_fusion=True`.
            inputs (`Mapping[str, torch.Tensor]`): what `forward` was given.

        Returns:
            For each post `matching_gate`, the mean of m, if the model has a matching gate; and, if it has a visual
            prefix, `hierarchy_gates`: for each image that exists the weight of each vision level, a mean over the text
            layers.
        """
        batch_size = outputs.logits.shape[0]
        summaries = [{} for _ in range(batch_size)]
        if outputs.matching_gate is not None:
            for summary, gate in zip(summaries, outputs.matching_gate.mean(dim=1).float().tolist()):
                summary["matching_gate"] = gate
        if self.config.use_cross_modal_interaction:
            shape = batch_size, 1 + self.config.num_object_images
            image_mask = given_image_mask(inputs.get("pixel_values"), inputs.get("image_mask"), shape)
            gates = outputs.hierarchy_gates  # (B, I, K, c), none if no post has an image
            gates = image_mask if gates is None else gates.mean(dim=2).float()
            for summary, post_gates, exists in zip(summaries, gates.cpu(), image_mask.cpu()):
                summary["hierarchy_gates"] = post_gates[exists].tolist()
        return summaries

    @property
    def has_picture_attention(self) -> bool:
        """Tell whether the model, as configured, has an attention to pictures, for [`picture_attention`]."""
        return self.config.has_matching_gate

    def picture_attention(
        self, outputs: TGDIOutput, inputs: Mapping[str, torch.Tensor]
    ) -> tuple[torch.Tensor, None] | None:
        """Return how well each patch of each picture matches the two entities.

        Args:
            outputs ([`TGDIOutput`]): what `forward` returned with `output_fusion=True`.
            inputs (`Mapping[str, torch.Tensor]`): what `forward` was given.

        Returns:
            The matching scores of equation (8) at the opening markers, a sum over both, (B, I, P): of 1, the share of
            each patch that goes to the entities; and `None`, for pictures have no weights. `None` alone without a
            picture or without a matching gate.
        """
        if outputs.matching_scores is None:
            return None
        positions = inputs["entity_positions"][:, None, None, :].expand(-1, *outputs.matching_scores.shape[1:3], -1)
        return outputs.matching_scores.gather(3, positions).sum(dim=3), None

    def _encode_images(
        self, pixel_values: torch.Tensor | None, image_mask: torch.Tensor | None, batch_size: int
    ) -> tuple[list[torch.Tensor] | None, torch.Tensor | None]:
        """Encode the images that exist, in one call: patches of each level (N, P, d_v), and the mask (B, I)."""
        if "image" not in self.config.reads():
            return None, None
        images, image_mask = existing_images(
            pixel_values,
            image_mask,
            (batch_size, 1 + self.config.num_object_images),
            "the whole image and `num_object_images` crops",
            self.vision_model.dtype,
        )
        if images is None:
            return None, None
        levels = encode_images(self.vision_model, images, output_hidden_states=True).hidden_states
        patch_size = self.config.vision_config.patch_size
        return [select_patches(level, images, patch_size) for level in levels], image_mask

    def _interact_across_modalities(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        levels: list[torch.Tensor] | None,
        image_mask: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Let the images into the text, equations (4) to (6): f1 (B, T_e, d), and the hierarchy gates (B, I, K, c)."""
        if levels is None or not self.config.use_cross_modal_interaction:
            return self.text_model(input_ids, attention_mask=attention_mask).last_hidden_state, None
        features, gates = self.visual_features(levels)  # (N, K, L, d), (N, K, c)
        features = scatter_images(features, image_mask).permute(0, 2, 1, 3, 4).flatten(2, 3)  # (B, K, I L, d)
        mask = image_mask.repeat_interleave(self.config.visual_prompt_length, dim=1)  # (B, I L)
        prefix = self.visual_prefixes(features.unbind(dim=1), mask)
        fused = encode_with_prefix(self.text_model, prefix, input_ids=input_ids, attention_mask=attention_mask)
        return fused, scatter_images(gates, image_mask)

    def _match(
        self,
        levels: list[torch.Tensor] | None,
        image_mask: torch.Tensor | None,
        text: torch.Tensor,
        text_mask: torch.Tensor,
    ) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """Return the matching gate m (B, d) and its scores A (B, I, P, T)."""
        if not self.config.has_matching_gate:
            return None, None
        if levels is None:
            return text.new_ones(text.shape[0], text.shape[-1]), None
        gate, scores = self.matching_gate(scatter_images(levels[-1], image_mask), image_mask, text, text_mask)
        return gate, scores * image_mask[:, :, None, None]


def _masked_softmax(scores: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the softmax of (B, X, T) over the tokens that the mask (B, T) leaves."""
    return scores.masked_fill(~mask[:, None, :], torch.finfo(scores.dtype).min).softmax(dim=-1)


__all__ = ["TGDIForRelationClassification", "TGDIOutput", "TGDIPreTrainedModel"]
