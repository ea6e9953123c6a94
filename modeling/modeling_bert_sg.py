"""BERT+SG and BERT+SG+Att: the entities' states beside the picture's objects, and a classifier.

Dimensions: B posts, T tokens, R regions, P patches, d the text encoder's hidden size, d_v the vision encoder's, e the
objects'.
"""

import torch
from torch import nn
from transformers.utils import can_return_tuple

from .configuration_bert_sg import BertSGConfig
from .cross_attention import CrossAttention
from .image_tower import given_boxes
from .modeling_relation_extraction import (
    MultimodalRelationExtractionPreTrainedModel,
    gather_tokens,
    relation_loss,
)
from .region_embedding import RegionEmbedding
from .region_weights import RegionWeightsOutput, WeighsRegions


class BertSGPreTrainedModel(MultimodalRelationExtractionPreTrainedModel):
    """Base of the models of BERT+SG."""

    config: BertSGConfig
    base_model_prefix = "bert_sg"


class BertSGForRelationClassification(WeighsRegions, BertSGPreTrainedModel):
    """BERT+SG, or BERT+SG+Att, with a relation classifier: predicts the relation between two entities of a post.

    With h_s and h_o the text encoder's states at the opening markers of head and tail, and f_j and b_j the vector and
    the box of object j:

    (1) x = W_x [h_s; h_o], of the size 2d;
    (2) o_j = LN(W_f f_j + W_b [b_j; area of b_j]);
    (3) p = mean of the o_j, without attention; with it p = W_p sum_j a_j W_v o_j, where a = softmax over the objects
        of (W_q x) (W_k o_j)^T / sqrt(e);
    (4) the logits are W_c [x; p].

    Each layer has a bias, too. The source was never published. (1) and (4) are as the compiled file of an early variant
    without attention has them; the rest is our choice, with these differences from such files:

    - Attention chooses between objects. There, the objects attend to the pair alone, a softmax over one key, which is 1
      whatever the object, and each object's projection is added to what it reads.
    - With attention, x and p have the size 2d. There, both have half of it, and one more linear layer reads [x; p].
    - Without attention an object counts the same in each slot, and how many there are shows nowhere. There, a linear
      layer reads the vectors of five objects one behind the other, and text and objects are joined along the batch.
    - An object's vector is the mean of its patches in the model's own vision encoder, and its box is read, where the
      authors have features of a scene graph's detector that they did not publish for MNRE's second version.
    - Where a post has no object, p is zero before W_p.

    Args:
        config (`BertSGConfig`): the model's configuration.
    """

    def __init__(self, config: BertSGConfig):
        super().__init__(config)
        self._build_encoders()
        size, object_size = 2 * config.text_config.hidden_size, config.object_size
        self.hidden_layer = nn.Linear(size, size)
        self.object_embedding = RegionEmbedding(config.vision_config.hidden_size, object_size)
        self.object_attention = None
        if config.use_attention:
            self.object_attention = CrossAttention(size, object_size, num_heads=1, attention_size=object_size)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(size + (size if config.use_attention else object_size), config.num_labels)
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
            pixel_values (`torch.FloatTensor` of shape `(B, R, 3, H, W)`, *optional*): the regions, grounded ones first.
                What stands in absent slots is never read. Without it no post has a picture.
            image_mask (`torch.BoolTensor` of shape `(B, R)`, *optional*): true where a region exists; all of them by
                default.
            boxes (`torch.FloatTensor` of shape `(B, R, 4)`, *optional*): `[x_min, y_min, x_max, y_max]` of each region,
                in fractions of the picture; needed with `pixel_values`.
            labels (`torch.LongTensor` of shape `(B,)`, *optional*): ids of the true relations.
            output_fusion (`bool`): also return the weights of the pictures.
            num_items_in_batch (`int` or `torch.Tensor`, *optional*): number of posts over which the loss is a mean, if
                not these B alone; the Trainer's, for gradient accumulation.

        Returns:
            [`RegionWeightsOutput`], or a tuple with `return_dict=False`.

        Raises:
            ValueError: if `pixel_values` has another number of slots than the model, a mask another shape, or there are
                regions without boxes.
        """
        shape = input_ids.shape[0], self.config.num_slots
        cells, image_mask = self._encode_cells(pixel_values, image_mask, shape, "its regions")
        states = self.text_model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state  # (B, T, d)
        pair = self.hidden_layer(gather_tokens(states, entity_positions).flatten(1))  # (B, 2d)
        if cells is None:
            objects = pair.new_zeros(shape[0], 1, self.config.object_size)
            image_mask = torch.zeros_like(objects[..., 0], dtype=torch.bool)
        else:
            boxes = given_boxes(boxes, image_mask).to(cells.dtype)
            objects = self.object_embedding(cells.mean(dim=2), boxes)  # (B, R, e)
        logits = self.classifier(self.dropout(torch.cat([pair, self._pool(pair, objects, image_mask)], dim=-1)))
        weights = None
        if output_fusion and cells is not None:
            weights = self._weights(pair, objects, image_mask)
        return RegionWeightsOutput(
            loss=relation_loss(logits, labels, num_items_in_batch), logits=logits, region_weights=weights
        )

    def _pool(self, pair: torch.Tensor, objects: torch.Tensor, image_mask: torch.Tensor) -> torch.Tensor:
        """Return one vector of a post's objects, (B, 2d) or (B, e), for (B, 2d), (B, R, e) and their mask (B, R)."""
        if self.object_attention is not None:
            return self.object_attention(pair[:, None], objects, image_mask).squeeze(1)
        return (objects * self._weights(pair, objects, image_mask)[..., None]).sum(dim=1)

    def _weights(self, pair: torch.Tensor, objects: torch.Tensor, image_mask: torch.Tensor) -> torch.Tensor:
        """Return how much each object counts, (B, R): by attention, or all alike."""
        if self.object_attention is not None:
            return self.object_attention.weights(pair[:, None], objects, image_mask).squeeze(1)
        return image_mask.to(objects.dtype) / image_mask.sum(dim=1, keepdim=True).clamp(min=1)

    @property
    def has_picture_attention(self) -> bool:
        """Tell whether the model, as configured, has an attention to pictures, for [`picture_attention`]."""
        return self.config.use_attention


__all__ = ["BertSGForRelationClassification", "BertSGPreTrainedModel"]
