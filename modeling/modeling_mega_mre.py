"""MEGA: words and objects aligned by meaning and by the structure of their graphs, fused, and a classifier.

Dimensions: B posts, T tokens, R regions (the objects), P patches, K numbers that describe a node of a graph, d the text
encoder's hidden size, d_v the vision encoder's.
"""

import torch
from torch import nn
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.utils import can_return_tuple

from .configuration_mega_mre import MegaMREConfig
from .image_tower import given_boxes
from .modeling_relation_extraction import (
    MultimodalRelationExtractionPreTrainedModel,
    gather_tokens,
    relation_loss,
    token_mask,
)
from .region_embedding import RegionEmbedding


def structural_alignment(
    words: torch.Tensor, objects: torch.Tensor, objects_mask: torch.Tensor, num_nearest: int
) -> torch.Tensor:
    """Align words and objects by what they see around themselves in their graphs (REGAL, Heimann et al. 2018).

    With w_t and o_j the descriptions of word and object and s = exp(-|w_t - o_j|) their similarity, the weight is

    r_jt = exp(-sqrt(2 - 2 s)) for the objects nearest to the word, zero for the others.

    Args:
        words: (B, T, K), zero where a token is not the first of a word: such a token is aligned with no object.
        objects: (B, R, K), anything where an object is absent.
        objects_mask: (B, R), true where an object exists.
        num_nearest: how many objects are the nearest; of two that are equally near, the one of the earlier slot is.

    Returns:
        (B, R, T).
    """
    objects = torch.where(objects_mask[..., None], objects, 0.0).float()
    distance = (objects[:, :, None] - words[:, None].float()).square().sum(dim=-1).sqrt()  # (B, R, T)
    distance = distance.masked_fill(~objects_mask[..., None], torch.inf)
    # By comparison with each other object, for a sort may order equals in any way.
    slots = torch.arange(distance.shape[1], device=distance.device)
    nearer = distance[:, None] < distance[:, :, None]  # (B, R, R, T): that of the third dimension than of the second
    equal = (distance[:, None] == distance[:, :, None]) & (slots[None, :] < slots[:, None])[None, :, :, None]
    is_near = (nearer | equal).sum(dim=2) < num_nearest
    aligned = is_near & objects_mask[..., None] & (words != 0).any(dim=-1)[:, None]
    # Two vectors of length 1 whose product is s are sqrt(2 - 2 s) apart; rounding must not make that negative.
    return torch.where(aligned, torch.exp(-(2 - 2 * torch.exp(-distance)).clamp(min=0).sqrt()), 0.0)


class MegaMREPreTrainedModel(MultimodalRelationExtractionPreTrainedModel):
    """Base of the models of MEGA."""

    config: MegaMREConfig
    base_model_prefix = "mega_mre"


class MegaMREForRelationClassification(MegaMREPreTrainedModel):
    """MEGA with a relation classifier: predicts the relation between two entities of a post.

    With H the text encoder's states, h_s and h_o those at the opening markers of head and tail, and f_j and b_j the
    vector and the box of object j:

    (1) x = [h_s; h_o], and H' = W_h H, of the size 2d too;
    (2) v_j = LN(W_f f_j + W_b [b_j; area of b_j]), of the size 2d;
    (3) s_j = sigmoid(softmax((W_q v_j) (W_k H')^T / sqrt(2d)) W_v H'), the semantic alignment;
    (4) g_j = sum_t r_jt H'_t, the structural alignment, with r of [`structural_alignment`];
    (5) m = sum_j W_m [s_j; g_j] over the objects that exist;
    (6) the logits are W_c W_y [x; m].

    Each layer has a bias, too. The processor describes words and objects by their graphs, the dependency tree of the
    text and the graph of the boxes. The published code embeds the nodes of both in one space, by their similarity to
    random landmarks, and weighs by the embeddings' distance. At the size of a post each node is a landmark, whatever
    the draw, and then the products of the embeddings are the similarities themselves: the formula above gives the same
    weights without a draw. Differences from the published code, where it errs:

    - The alignment belongs to its words and objects: it is neither read with rows for columns, nor moved by the markers
      of other posts with the same picture, nor are head and tail exchanged.
    - A word's row of the alignment goes to the word's first token, found by characters, not to the token that has the
      word's number.
    - Padding and absent objects are masked, and there is no layer that nothing reads.

    Our choices, where MNRE's second version has no files of the authors:

    - An object's vector is the mean of its patches in the model's own vision encoder, and its box is read.
    - Two objects are neighbours where their boxes overlap, in the place of a scene graph's edges.
    - spaCy finds the dependency tree, in the place of CoreNLP.
    - Up to seven objects, those that a post has; the code has ten.
    - Where a post has no object, m is zero.

    Args:
        config (`MegaMREConfig`): the model's configuration.
    """

    def __init__(self, config: MegaMREConfig):
        super().__init__(config)
        self._build_encoders()
        size = 2 * config.text_config.hidden_size
        self.word_projection = nn.Linear(config.text_config.hidden_size, size)
        self.object_embedding = RegionEmbedding(config.vision_config.hidden_size, size)
        self.query_projection = nn.Linear(size, size)
        self.key_projection = nn.Linear(size, size)
        self.value_projection = nn.Linear(size, size)
        self.alignment_fusion = nn.Linear(2 * size, size)
        self.fusion = nn.Linear(2 * size, size)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(size, config.num_labels)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor,
        entity_positions: torch.LongTensor,
        attention_mask: torch.Tensor | None = None,
        word_structure: torch.FloatTensor | None = None,
        pixel_values: torch.FloatTensor | None = None,
        image_mask: torch.BoolTensor | None = None,
        boxes: torch.FloatTensor | None = None,
        region_structure: torch.FloatTensor | None = None,
        labels: torch.LongTensor | None = None,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> SequenceClassifierOutput:
        """Predict the relation of each post.

        Args:
            input_ids (`torch.LongTensor` of shape `(B, T)`): the text with its entity markers.
            entity_positions (`torch.LongTensor` of shape `(B, 2)`): where the head's and the tail's opening markers
                stand.
            attention_mask (`torch.Tensor` of shape `(B, T)`, *optional*): one for text, zero for padding.
            word_structure (`torch.FloatTensor` of shape `(B, T, K)`, *optional*): what the words see around themselves
                in their dependency tree, each at its first token, zero elsewhere; needed with `pixel_values`.
            pixel_values (`torch.FloatTensor` of shape `(B, R, 3, H, W)`, *optional*): the regions, grounded ones first.
                What stands in absent slots is never read. Without it no post has a picture.
            image_mask (`torch.BoolTensor` of shape `(B, R)`, *optional*): true where a region exists; all of them by
                default.
            boxes (`torch.FloatTensor` of shape `(B, R, 4)`, *optional*): `[x_min, y_min, x_max, y_max]` of each region,
                in fractions of the picture; needed with `pixel_values`.
            region_structure (`torch.FloatTensor` of shape `(B, R, K)`, *optional*): what the regions see around
                themselves in the graph of their boxes; needed with `pixel_values`.
            labels (`torch.LongTensor` of shape `(B,)`, *optional*): ids of the true relations.
            num_items_in_batch (`int` or `torch.Tensor`, *optional*): number of posts over which the loss is a mean, if
                not these B alone; the Trainer's, for gradient accumulation.

        Returns:
            [`~transformers.modeling_outputs.SequenceClassifierOutput`] with `logits` of shape `(B, num_labels)`, and
            `loss` if `labels` were given; or a tuple with `return_dict=False`.

        Raises:
            ValueError: if `pixel_values` has another number of slots than the model, a mask another shape, or there are
                regions without boxes or without the structure of the graphs.
        """
        shape = input_ids.shape[0], self.config.num_slots
        cells, image_mask = self._encode_cells(pixel_values, image_mask, shape, "its regions")
        states = self.text_model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state  # (B, T, d)
        pair = gather_tokens(states, entity_positions).flatten(1)  # (B, 2d)
        aligned = torch.zeros_like(pair)
        if cells is not None:
            boxes = given_boxes(boxes, image_mask).to(cells.dtype)
            check_structure("word_structure", word_structure, input_ids.shape)
            check_structure("region_structure", region_structure, image_mask.shape)
            words = self.word_projection(states)  # (B, T, 2d)
            objects = self.object_embedding(cells.mean(dim=2), boxes)  # (B, R, 2d)
            semantic = self._semantic_alignment(words, token_mask(input_ids, attention_mask), objects)
            weights = structural_alignment(
                word_structure, region_structure, image_mask, self.config.num_aligned_objects
            )
            structural = weights.to(words.dtype) @ words
            fused = self.alignment_fusion(torch.cat([semantic, structural], dim=-1))  # (B, R, 2d)
            aligned = (fused * image_mask[..., None]).sum(dim=1)
        relation = self.fusion(torch.cat([pair, aligned], dim=-1))
        logits = self.classifier(self.dropout(relation))
        return SequenceClassifierOutput(loss=relation_loss(logits, labels, num_items_in_batch), logits=logits)

    def _semantic_alignment(self, words: torch.Tensor, words_mask: torch.Tensor, objects: torch.Tensor) -> torch.Tensor:
        """Return what each object gathers of the words, (B, R, 2d), for (B, T, 2d), a mask (B, T) and (B, R, 2d)."""
        # One head, as a dimension: ONNX knows no attention without.
        query, key, value = (
            projection(states)[:, None]
            for projection, states in (
                (self.query_projection, objects),
                (self.key_projection, words),
                (self.value_projection, words),
            )
        )
        mask = words_mask[:, None, None]
        gathered = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask).squeeze(1)
        return torch.sigmoid(gathered)


def check_structure(name: str, structure: torch.Tensor | None, shape: tuple[int, int]) -> None:
    """Raise `ValueError`, with its name, for nodes that are not described one by one."""
    if structure is None:
        raise ValueError(
            f"There are regions, but `{name}` is None: this model aligns words and regions by their graphs."
        )
    if structure.dim() != 3 or structure.shape[:2] != shape:
        raise ValueError(
            f"`{name}` must have shape {(*shape, 'numbers of a node')}, but its shape is {tuple(structure.shape)}."
        )


__all__ = ["MegaMREForRelationClassification", "MegaMREPreTrainedModel"]
