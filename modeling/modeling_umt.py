"""UMT: a cross-modal Transformer in both directions, and a visual gate (paper section 2.3).

Dimensions: B posts, T tokens, P cells of the picture, d the text encoder's hidden size, d_v the vision encoder's.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn
from transformers.utils import ModelOutput, can_return_tuple

from .configuration_umt import UMTConfig
from .cross_attention import CrossAttentionLayer
from .image_tower import cell_size
from .modeling_relation_extraction import (
    MultimodalRelationExtractionPreTrainedModel,
    gather_tokens,
    relation_loss,
    token_mask,
)


@dataclass
class UMTOutput(ModelOutput):
    """Output of [`UMTForRelationClassification`].

    Args:
        loss (`torch.Tensor` of shape `()`): cross-entropy; if `labels` were given.
        logits (`torch.Tensor` of shape `(B, num_labels)`): one score per relation.
        gates (`torch.Tensor` of shape `(B, T, d)`): g, how much each token takes of the picture; zero for posts without
            one. With `output_fusion=True`.
        cell_attentions (`torch.Tensor` of shape `(B, 2, P)`): attention of the two entities' opening markers over the
            cells of the picture, a mean over heads; zero for posts without one. With `output_fusion=True`, if the batch
            has a picture.
    """

    loss: torch.FloatTensor | None = None
    logits: torch.FloatTensor | None = None
    gates: torch.FloatTensor | None = None
    cell_attentions: torch.FloatTensor | None = None


class UMTPreTrainedModel(MultimodalRelationExtractionPreTrainedModel):
    """Base of the models of UMT."""

    config: UMTConfig
    base_model_prefix = "umt"


class UMTForRelationClassification(UMTPreTrainedModel):
    """UMT with a relation classifier: predicts the relation between two entities of a post.

    Published is UMT for named entities. Of that, the detection of spans and the CRF drop out, and a linear layer reads
    the fused states at the two entities' opening markers: our choice, as that of those who report UMT on MNRE is not
    published. Further differences from the published code:

    - A picture is always read as it is; the code crops and mirrors it at random, once, also those of the test.
    - Where a post has no picture, its part is zero; the code has a picture of something else.

    Args:
        config (`UMTConfig`): the model's configuration.
    """

    def __init__(self, config: UMTConfig):
        super().__init__(config)
        self._build_encoders()
        size, visual_size = config.text_config.hidden_size, cell_size(self.vision_model)

        def make_layer() -> CrossAttentionLayer:
            return CrossAttentionLayer(
                size, size, config.text_config.num_attention_heads, 4 * size, dropout=config.fusion_dropout
            )

        self.text_dropout = nn.Dropout(config.dropout)
        self.text_layer = make_layer()
        self.key_projection = nn.Linear(visual_size, size)  # W_1 of the code: the words read these
        self.query_projection = nn.Linear(visual_size, size)  # W_2: these read the words
        self.image_aware_layer = make_layer()
        self.word_aware_image_layer = make_layer()
        self.word_aware_layer = make_layer()
        self.gate = nn.Linear(2 * size, size)
        self.classifier = nn.Linear(4 * size, config.num_labels)
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
    ) -> UMTOutput:
        """Predict the relation of each post.

        Args:
            input_ids (`torch.LongTensor` of shape `(B, T)`): the text with its entity markers.
            entity_positions (`torch.LongTensor` of shape `(B, 2)`): where the head's and the tail's opening markers
                stand.
            attention_mask (`torch.Tensor` of shape `(B, T)`, *optional*): one for text, zero for padding.
            pixel_values (`torch.FloatTensor` of shape `(B, 1, 3, H, W)`, *optional*): the whole picture. Where it is
                absent, what stands there is never read. Without it no post has a picture.
            image_mask (`torch.BoolTensor` of shape `(B, 1)`, *optional*): true where a picture exists; all of them by
                default.
            labels (`torch.LongTensor` of shape `(B,)`, *optional*): ids of the true relations.
            output_fusion (`bool`): also return gates and attention.
            num_items_in_batch (`int` or `torch.Tensor`, *optional*): number of posts over which the loss is a mean, if
                not these B alone; the Trainer's, for gradient accumulation.

        Returns:
            [`UMTOutput`], or a tuple with `return_dict=False`.

        Raises:
            ValueError: if `pixel_values` has another number of slots than the model, or a mask another shape.
        """
        shape = input_ids.shape[0], 1
        cells, image_mask = self._encode_cells(pixel_values, image_mask, shape, "the whole picture")
        text = self.text_model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        text_mask = token_mask(input_ids, attention_mask)
        text = self.text_dropout(text)
        text = self.text_layer(text, text, text_mask)  # M (B, T, d)
        attentions = None
        if cells is None:
            fused, gates = torch.cat([text, torch.zeros_like(text)], dim=-1), torch.zeros_like(text)
        else:
            fused, gates = self._fuse(text, text_mask, cells[:, 0], image_mask)
            if output_fusion:
                attentions = self._cell_attentions(gather_tokens(text, entity_positions), cells[:, 0], image_mask)
        entities = gather_tokens(fused, entity_positions)  # (B, 2, 2d)
        logits = self.classifier(entities.flatten(1))
        return UMTOutput(
            loss=relation_loss(logits, labels, num_items_in_batch),
            logits=logits,
            gates=gates if output_fusion else None,
            cell_attentions=attentions,
        )

    def _fuse(
        self, text: torch.Tensor, text_mask: torch.Tensor, cells: torch.Tensor, image_mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Let words and picture see each other.

        Args:
            text: M (B, T, d).
            text_mask: (B, T), true on text.
            cells: V (B, P, d_v), of the whole picture.
            image_mask: (B, 1), true where there is a picture.

        Returns:
            O (B, T, 2d), and g (B, T, d), zero where there is no picture.
        """
        cell_mask = image_mask.expand(-1, cells.shape[1])  # (B, P)
        image_aware = self.image_aware_layer(text, self.key_projection(cells), cell_mask)  # C (B, T, d)
        seen = self.word_aware_image_layer(self.query_projection(cells), text, text_mask)  # U (B, P, d)
        word_aware = self.word_aware_layer(text, seen, cell_mask)  # T (B, T, d)
        gates = torch.sigmoid(self.gate(torch.cat([word_aware, image_aware], dim=-1))) * image_mask[:, :, None]
        word_aware = torch.where(image_mask[:, :, None], word_aware, text)
        return torch.cat([word_aware, gates * image_aware], dim=-1), gates

    def _cell_attentions(self, states: torch.Tensor, cells: torch.Tensor, image_mask: torch.Tensor) -> torch.Tensor:
        """Return the attention (B, 2, P) of the entities' states (B, 2, d) over the cells (B, P, d_v)."""
        attention, mask = self.image_aware_layer.attention, image_mask.expand(-1, cells.shape[1])
        return attention.weights(states, self.key_projection(cells), mask)

    def fusion_summary(self, outputs: UMTOutput, inputs: Mapping[str, torch.Tensor]) -> list[dict]:
        """Say in a few numbers how text and picture were fused in each post.

        Args:
            outputs ([`UMTOutput`]): what `forward` returned with `output_fusion=True`.
            inputs (`Mapping[str, torch.Tensor]`): what `forward` was given.

        Returns:
            For each post `gates`, the mean of g at the opening markers of head and tail.
        """
        gates = gather_tokens(outputs.gates, inputs["entity_positions"]).mean(dim=-1).float()  # (B, 2)
        return [{"gates": post} for post in gates.tolist()]

    @property
    def has_picture_attention(self) -> bool:
        """Tell whether the model, as configured, has an attention to pictures, for [`picture_attention`]."""
        return True

    def picture_attention(
        self, outputs: UMTOutput, inputs: Mapping[str, torch.Tensor]
    ) -> tuple[torch.Tensor, None] | None:
        """Return where in the picture the two entities look.

        Args:
            outputs ([`UMTOutput`]): what `forward` returned with `output_fusion=True`.
            inputs (`Mapping[str, torch.Tensor]`): what `forward` was given.

        Returns:
            `cell_attentions`, a mean over both entities, (B, 1, P); and `None`, for one picture needs no weight. `None`
            alone without a picture.
        """
        if outputs.cell_attentions is None:
            return None
        return outputs.cell_attentions.mean(dim=1, keepdim=True), None


__all__ = ["UMTForRelationClassification", "UMTOutput", "UMTPreTrainedModel"]
