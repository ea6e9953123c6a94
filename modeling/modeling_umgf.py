"""UMGF: a graph of words and regions, fused layer by layer.

Dimensions: B posts, T tokens, R regions, P cells of a region, d the text encoder's hidden size, d_v the vision
encoder's, h the graph's.
"""

import torch
from torch import nn
from transformers.utils import can_return_tuple

from .configuration_umgf import UMGFConfig
from .cross_attention import CrossAttention
from .image_tower import cell_size
from .modeling_relation_extraction import (
    MultimodalRelationExtractionPreTrainedModel,
    gather_tokens,
    relation_loss,
    token_mask,
)
from .region_weights import RegionWeightsOutput, WeighsRegions, at_entities


class PairGate(nn.Module):
    """Gate between nodes of two kinds, one for each pair and feature."""

    def __init__(self, size: int):
        super().__init__()
        # One linear layer over both states, side by side: its two halves.
        self.own = nn.Linear(size, size)
        self.other = nn.Linear(size, size, bias=False)

    def forward(
        self, states: torch.Tensor, others: torch.Tensor, others_mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Take of the others (B, Y, h), with their mask (B, Y), for each state (B, X, h).

        Returns:
            The gated sum of the others (B, X, h), and the gates (B, X, Y, h).
        """
        gates = torch.sigmoid(self.own(states)[:, :, None] + self.other(others)[:, None])
        # An einsum takes three times as long.
        return (gates * (others * others_mask[..., None])[:, None]).sum(dim=2), gates


class GraphFusionLayer(nn.Module):
    """A layer of the graph: nodes attend to their own kind, then take of the other kind, then two linear layers.

    Args:
        config (`UMGFConfig`): the model's configuration.
        is_last (`bool`): whether nothing reads the regions any more; they end where the words take of them.
    """

    def __init__(self, config: UMGFConfig, is_last: bool):
        super().__init__()
        size = config.fusion_size
        kinds = ("words", "regions")
        self.fused = kinds[:1] if is_last else kinds
        self.attention = nn.ModuleDict(
            {kind: CrossAttention(size, size, config.fusion_num_heads, dropout=config.fusion_dropout) for kind in kinds}
        )
        self.gate = nn.ModuleDict({kind: PairGate(size) for kind in self.fused})
        self.mlp = nn.ModuleDict(
            {
                kind: nn.Sequential(
                    nn.Linear(size, config.fusion_intermediate_size),
                    nn.ReLU(),
                    nn.Dropout(config.fusion_dropout),
                    nn.Linear(config.fusion_intermediate_size, size),
                )
                for kind in self.fused
            }
        )
        self.norms = nn.ModuleDict(
            {kind: nn.ModuleList(nn.LayerNorm(size) for _ in range(3 if kind in self.fused else 1)) for kind in kinds}
        )
        self.dropout = nn.Dropout(config.fusion_dropout)

    def forward(
        self, words: torch.Tensor, words_mask: torch.Tensor, regions: torch.Tensor, regions_mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Run the layer on words (B, T, h) and regions (B, R, h), with their masks (B, T) and (B, R).

        Returns:
            Words and regions, and the gates through which the words take of the regions (B, T, R, h).
        """
        nodes, masks = {"words": words, "regions": regions}, {"words": words_mask, "regions": regions_mask}
        for kind, states in nodes.items():
            nodes[kind] = self._add(kind, 0, states, self.attention[kind](states, states, masks[kind]))
        others = {"words": "regions", "regions": "words"}
        gated = {
            kind: self.gate[kind](nodes[kind], nodes[o], masks[o]) for kind, o in others.items() if kind in self.gate
        }
        for kind in self.fused:
            nodes[kind] = self._add(kind, 1, nodes[kind], gated[kind][0])
            nodes[kind] = self._add(kind, 2, nodes[kind], self.mlp[kind](nodes[kind]))
        return nodes["words"], nodes["regions"], gated["words"][1]

    def _add(self, kind: str, step: int, states: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
        return self.norms[kind][step](states + self.dropout(change))


class UMGFPreTrainedModel(MultimodalRelationExtractionPreTrainedModel):
    """Base of the models of UMGF."""

    config: UMGFConfig
    base_model_prefix = "umgf"


class UMGFForRelationClassification(WeighsRegions, UMGFPreTrainedModel):
    """UMGF with a relation classifier: predicts the relation between two entities of a post.

    Published is UMGF for named entities. Of that, the CRF drops out, and a linear layer reads the text encoder's states
    and the graph's at the two entities' opening markers: our choice, as that of those who report UMGF on MNRE is not
    published. Further differences from the published code:

    - Regions are those that a post has, up to seven; the code has four, found by the words person, miscellaneous,
      location and organization, one each, and stops where one is missing. Here, regions that are absent are masked.
    - A region is scaled to the model's size whole; there a centre crop cuts its sides off, as the processor's
      `resize="center_crop"` does.
    - Attention within regions has projections of its values and of its output, as that within words has.
    - Padding gives nothing to the regions.

    Args:
        config (`UMGFConfig`): the model's configuration.
    """

    def __init__(self, config: UMGFConfig):
        super().__init__(config)
        self._build_encoders()
        size, text_size = config.fusion_size, config.text_config.hidden_size
        self.word_projection = nn.Linear(text_size, size)
        self.region_mlp = nn.Sequential(
            nn.Linear(cell_size(self.vision_model), size),
            nn.ReLU(),
            nn.Dropout(config.fusion_dropout),
            nn.Linear(size, size),
        )
        number = config.num_fusion_layers
        self.fusion_layers = nn.ModuleList(GraphFusionLayer(config, is_last=i == number - 1) for i in range(number))
        self.classifier = nn.Linear(2 * (text_size + size), config.num_labels)
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
    ) -> RegionWeightsOutput:
        """Predict the relation of each post.

        Args:
            input_ids (`torch.LongTensor` of shape `(B, T)`): the text with its entity markers.
            entity_positions (`torch.LongTensor` of shape `(B, 2)`): where the head's and the tail's opening markers
                stand.
            attention_mask (`torch.Tensor` of shape `(B, T)`, *optional*): one for text, zero for padding.
            pixel_values (`torch.FloatTensor` of shape `(B, R, 3, H, W)`, *optional*): the regions. What stands in
                absent slots is never read. Without it no post has a region.
            image_mask (`torch.BoolTensor` of shape `(B, R)`, *optional*): true where a region exists; all of them by
                default.
            labels (`torch.LongTensor` of shape `(B,)`, *optional*): ids of the true relations.
            output_fusion (`bool`): also return the weights of the pictures.
            num_items_in_batch (`int` or `torch.Tensor`, *optional*): number of posts over which the loss is a mean, if
                not these B alone; the Trainer's, for gradient accumulation.

        Returns:
            [`RegionWeightsOutput`], or a tuple with `return_dict=False`.

        Raises:
            ValueError: if `pixel_values` has another number of slots than the model, or a mask another shape.
        """
        shape = input_ids.shape[0], self.config.num_slots
        cells, image_mask = self._encode_cells(pixel_values, image_mask, shape, "regions")
        text = self.text_model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state  # (B, T, d)
        words, words_mask = self.word_projection(text), token_mask(input_ids, attention_mask)
        if cells is None:
            regions = words.new_zeros(shape[0], 1, self.config.fusion_size)
            image_mask = torch.zeros_like(regions[..., 0], dtype=torch.bool)
        else:
            regions = self.region_mlp(cells.mean(dim=2))  # (B, R, h)
        seen = []  # by each word, in each layer
        for layer in self.fusion_layers:
            words, regions, gates = layer(words, words_mask, regions, image_mask)
            if output_fusion and cells is not None:
                seen.append(gates.mean(dim=-1) * image_mask[:, None])  # (B, T, R)
        entities = gather_tokens(torch.cat([text, words], dim=-1), entity_positions)  # (B, 2, d + h)
        logits = self.classifier(entities.flatten(1))
        weights = at_entities(seen, entity_positions) if seen else None
        return RegionWeightsOutput(
            loss=relation_loss(logits, labels, num_items_in_batch), logits=logits, region_weights=weights
        )


__all__ = ["UMGFForRelationClassification", "UMGFPreTrainedModel"]
