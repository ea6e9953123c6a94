"""ViLBERT: a stream of the text and one of the regions, with co-attention between them (paper section 2.2).

Dimensions: B posts, T tokens, I picture slots (the whole picture, then regions), P patches, d the text encoder's hidden
size, e the visual stream's, d_v the vision encoder's.
"""

import torch
from torch import nn
from transformers.utils import can_return_tuple

from .configuration_vilbert import ViLBERTConfig
from .cross_attention import CrossAttentionLayer
from .image_tower import given_boxes
from .modeling_relation_extraction import (
    MultimodalRelationExtractionPreTrainedModel,
    gather_tokens,
    relation_loss,
    token_mask,
)
from .region_embedding import RegionEmbedding
from .region_weights import RegionWeightsOutput, WeighsRegions
from .text_layers import check_layered, embed_text


class ConnectionLayer(nn.Module):
    """Co-attention (section 2.2, figure 2b): each stream's states attend to the other's, both as they came in.

    Args:
        config (`ViLBERTConfig`): the model's configuration.
        is_last (`bool`): whether nothing reads the visual stream any more.
    """

    def __init__(self, config: ViLBERTConfig, is_last: bool):
        super().__init__()
        text, visual_size = config.text_config, config.visual_size
        shared = (config.connection_num_heads,), (config.connection_size, config.visual_dropout)
        self.text = CrossAttentionLayer(text.hidden_size, visual_size, *shared[0], text.intermediate_size, *shared[1])
        self.vision = None
        if not is_last:
            self.vision = CrossAttentionLayer(
                visual_size, text.hidden_size, *shared[0], config.visual_intermediate_size, *shared[1]
            )

    def forward(
        self, text: torch.Tensor, text_mask: torch.Tensor, vision: torch.Tensor, vision_mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return both streams' states, (B, T, d) and (B, I, e), for these and their masks (B, T) and (B, I)."""
        read = vision if self.vision is None else self.vision(vision, text, text_mask)
        return self.text(text, vision, vision_mask), read


class ViLBERTPreTrainedModel(MultimodalRelationExtractionPreTrainedModel):
    """Base of the models of ViLBERT."""

    config: ViLBERTConfig
    base_model_prefix = "vilbert"


class ViLBERTForRelationClassification(WeighsRegions, ViLBERTPreTrainedModel):
    """ViLBERT with a relation classifier: predicts the relation between two entities of a post.

    The text encoder is a BERT, with its pretrained weights, whose first layers run alone. Before each of the last ones
    stands a co-attention layer, after which a layer of the visual stream runs beside it. No code of it for MNRE is
    published. Differences from the paper:

    - The weights of the visual stream and of co-attention are new, where the paper trains them on captioned pictures.
    - A region's vector is the mean of its patches in the model's own vision encoder, where the paper has features of
      Faster R-CNN that nobody has for a picture of their own. The first region is the whole picture, by its own vector;
      in the paper it is the mean of the regions.
    - The classifier reads the states at the two entities' opening markers, as those of the other systems do. So the
      visual stream ends with its last co-attention layer that the text reads: what would follow is read by none.
    - Where a post has no picture, the text attends to nothing: co-attention leaves its residual alone.

    Args:
        config (`ViLBERTConfig`): the model's configuration.

    Raises:
        ValueError: if the text encoder is not built as BERT is.
    """

    def __init__(self, config: ViLBERTConfig):
        super().__init__(config)
        self._build_encoders()
        check_layered(self.text_model)
        number, size = config.num_connections, config.visual_size
        self.region_embedding = RegionEmbedding(config.vision_config.hidden_size, size, config.visual_dropout)
        self.connections = nn.ModuleList(ConnectionLayer(config, is_last=i == number - 1) for i in range(number))
        self.vision_layers = nn.ModuleList(
            CrossAttentionLayer(
                size, size, config.visual_num_heads, config.visual_intermediate_size, dropout=config.visual_dropout
            )
            for _ in range(number - 1)
        )
        self.dropout = nn.Dropout(config.dropout)
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
        boxes: torch.FloatTensor | None = None,
        labels: torch.LongTensor | None = None,
        output_fusion: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> RegionWeightsOutput:
        """Predict the relation of each post.

        Args:
            input_ids (`torch.LongTensor` of shape `(B, T)`): the text with its entity markers.
            entity_positions (`torch.LongTensor` of shape `(B, 2)`): where the head's and the tail's opening markers
                stand.
            attention_mask (`torch.Tensor` of shape `(B, T)`, *optional*): one for text, zero for padding.
            pixel_values (`torch.FloatTensor` of shape `(B, I, 3, H, W)`, *optional*): the whole picture, then its
                regions. What stands in absent slots is never read. Without it no post has a picture.
            image_mask (`torch.BoolTensor` of shape `(B, I)`, *optional*): true where a picture exists; all of them by
                default.
            boxes (`torch.FloatTensor` of shape `(B, I, 4)`, *optional*): `[x_min, y_min, x_max, y_max]` of what each
                slot shows, in fractions of the picture; needed with `pixel_values`.
            labels (`torch.LongTensor` of shape `(B,)`, *optional*): ids of the true relations.
            output_fusion (`bool`): also return the weights of the pictures.
            num_items_in_batch (`int` or `torch.Tensor`, *optional*): number of posts over which the loss is a mean, if
                not these B alone; the Trainer's, for gradient accumulation.

        Returns:
            [`RegionWeightsOutput`], or a tuple with `return_dict=False`.

        Raises:
            ValueError: if `pixel_values` has another number of slots than the model, a mask another shape, or there are
                pictures without boxes.
        """
        shape = input_ids.shape[0], self.config.num_slots
        cells, image_mask = self._encode_cells(pixel_values, image_mask, shape, "the whole picture and its regions")
        text, layer_mask = embed_text(self.text_model, input_ids, attention_mask)
        text_mask = token_mask(input_ids, attention_mask)
        if cells is None:
            vision = text.new_zeros(shape[0], 1, self.config.visual_size)
            image_mask = torch.zeros_like(vision[..., 0], dtype=torch.bool)
        else:
            boxes = given_boxes(boxes, image_mask).to(cells.dtype)
            vision = self.region_embedding(cells.mean(dim=2), boxes)  # (B, I, e)

        layers = self.text_model.encoder.layer
        first = len(layers) - len(self.connections)
        for layer in layers[:first]:
            text = layer(text, layer_mask)
        seen = []  # by the two entities, at each connection
        for index, connection in enumerate(self.connections):
            if output_fusion and cells is not None:
                entities = gather_tokens(text, entity_positions)
                seen.append(connection.text.attention.weights(entities, vision, image_mask).mean(dim=1))  # (B, I)
            text, vision = connection(text, text_mask, vision, image_mask)
            text = layers[first + index](text, layer_mask)
            if index < len(self.vision_layers):
                vision = self.vision_layers[index](vision, vision, image_mask)
        entities = gather_tokens(text, entity_positions)  # (B, 2, d)
        logits = self.classifier(self.dropout(entities.flatten(1)))
        weights = torch.stack(seen).mean(dim=0) if seen else None
        return RegionWeightsOutput(
            loss=relation_loss(logits, labels, num_items_in_batch), logits=logits, region_weights=weights
        )


__all__ = ["ViLBERTForRelationClassification", "ViLBERTPreTrainedModel"]
