"""MKGformer: a text and a vision encoder that meet in their last layers, in attention and in feed-forward.

Dimensions: B posts, T tokens, R regions, S = 1 + patches of all crops, d the text encoder's hidden size, d_v the vision
encoder's.
"""

import torch
from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.utils import can_return_tuple

from .configuration_mkgformer import MKGformerConfig
from .coupled_encoders import Bridge, CoupledRelationExtractionPreTrainedModel, Exchange, fit
from .modeling_relation_extraction import gather_tokens, relation_loss, token_mask
from .region_weights import RegionWeightsOutput, WeighsRegions, at_entities
from .text_layers import embed_text


class CorrelationAwareFusion(GradientCheckpointingLayer):
    """A text layer whose feed-forward adds what each token takes of the pictures.

    With c the context that the layer's own attention gives, before its output projection, a what it becomes after that,
    and v the class token and the patches: F = softmax(c v^T) v, without a scale, and FFN(a) = act(a W_1 + b_1 + F W_3)
    W_2 + b_2. The correlation has no weights of its own.
    """

    def __init__(self, config: MKGformerConfig):
        super().__init__()
        size = config.text_config.hidden_size
        self.vision = fit(config.vision_config.hidden_size, size)
        # A bias would be a second one beside b_1, and reach posts without a picture.
        self.dense = nn.Linear(size, config.text_config.intermediate_size, bias=False)

    def forward(
        self,
        layer: nn.Module,
        states: torch.Tensor,
        layer_mask: torch.Tensor | None,
        exchange: Exchange,
        vision: torch.Tensor,
        vision_mask: torch.Tensor,
        seen: list[torch.Tensor] | None = None,
    ) -> torch.Tensor:
        """Run a layer of the text encoder.

        Args:
            layer: the layer.
            states: (B, T, d).
            layer_mask: the mask that the layer wants.
            exchange: takes the layer's keys and values.
            vision: (B, S, d_v).
            vision_mask: (B, S), true where a post has a picture.
            seen: takes how much each token takes of each patch (B, T, S), if it is a list.

        Returns:
            The states after the layer (B, T, d).
        """
        context, _ = layer.attention.self(states, layer_mask, prefix=exchange)
        attended = layer.attention.output(context, states)
        vision = self.vision(vision)
        scores = context @ vision.transpose(1, 2)  # (B, T, S)
        lowest = torch.finfo(scores.dtype).min
        weights = scores.masked_fill(~vision_mask[:, None], lowest).softmax(dim=-1).to(vision.dtype)
        weights = weights * vision_mask.any(dim=1)[:, None, None]  # of nothing, nothing
        if seen is not None:
            seen.append(weights)
        taken = weights @ vision
        hidden = layer.intermediate.dense(attended) + self.dense(taken)
        return layer.output(layer.intermediate.intermediate_act_fn(hidden), attended)


class MKGformerPreTrainedModel(CoupledRelationExtractionPreTrainedModel):
    """Base of the models of MKGformer."""

    config: MKGformerConfig
    base_model_prefix = "mkgformer"


class MKGformerForRelationClassification(WeighsRegions, MKGformerPreTrainedModel):
    """MKGformer with its relation classifier: predicts the relation between two entities of a post.

    Both encoders run alone but for their last layers. With l one of these, K, V and Q the keys, values and queries that
    a layer makes of its own states:

    - prefix-guided interaction, vision layer l: softmax(Q_v^l [K_t^(l-1); K_v^l]^T / sqrt(size of a head))
      [V_t^(l-1); V_v^l];
    - correlation-aware fusion, text layer l: see [`CorrelationAwareFusion`], over the patches after vision layer l.

    The crops of grounded regions have 4 x 4 patches and those of detected ones 2 x 2, all in one row after one class
    token, with learned positions of their own.

    Differences from the published code:

    - The classifier is trained; there it keeps its first, random weights.
    - Padding of the text and absent crops are masked; there the pictures read padding, and absent crops are black
      pictures that count.
    - The layers before the last ones have no weights of fusion, which nothing reads; nor has fusion a second bias.
    - Crops are scaled from the processor's size to the two sizes here; there a centre crop cuts sides off. The
      published code opens the whole picture too, and does not read it.
    - Encoders of different depth meet in their last layers; keys, values and patches of another size pass a linear
      layer. The paper's encoders are alike, and need neither.

    Args:
        config (`MKGformerConfig`): the model's configuration.

    Raises:
        ValueError: if an encoder's layers cannot be coupled.
    """

    def __init__(self, config: MKGformerConfig):
        super().__init__(config)
        self._build_encoders()
        text_size, vision_size = config.text_config.hidden_size, config.vision_config.hidden_size
        number = config.num_fused_layers
        # Of the text layer before each fused one; a text encoder of one layer has none.
        with_prefix = min(number, config.text_config.num_hidden_layers - 1)
        self.to_vision = nn.ModuleList(Bridge(text_size, vision_size) for _ in range(with_prefix))
        self.fusions = nn.ModuleList(CorrelationAwareFusion(config) for _ in range(number))
        self.classifier = nn.Linear(2 * text_size, config.num_labels)
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
            pixel_values (`torch.FloatTensor` of shape `(B, R, 3, H, W)`, *optional*): crops of the grounded regions,
                then of the detected ones. What stands in absent slots is never read. Without it no post has a picture.
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
        vision, vision_mask, vision_layer_mask = self._embed_crops(pixel_values, image_mask, input_ids.shape[0])
        text, text_layer_mask = embed_text(self.text_model, input_ids, attention_mask)  # (B, T, d)
        text_layers, vision_layers = self.text_layers, self.vision_layers
        number = 0 if vision is None else self.config.num_fused_layers
        seen = [] if output_fusion and vision is not None else None  # by each token, in each fused layer
        exchange = Exchange()
        for layer in text_layers[: len(text_layers) - number]:
            exchange = Exchange()
            text = layer(text, text_layer_mask, prefix=exchange)
        if vision is not None:
            text_mask = token_mask(input_ids, attention_mask)
            for layer in vision_layers[: len(vision_layers) - number]:
                vision = layer(vision, vision_layer_mask)
            for index, fusion in enumerate(self.fusions):
                text_layer, vision_layer = text_layers[index - number], vision_layers[index - number]
                read = None if exchange.own is None else self.to_vision[index](*exchange.own)
                vision = vision_layer(vision, vision_layer_mask, prefix=Exchange(read, text_mask))  # (B, S, d_v)
                exchange = Exchange()
                text = fusion(text_layer, text, text_layer_mask, exchange, vision, vision_mask, seen)  # (B, T, d)
        logits = self.classifier(gather_tokens(text, entity_positions).flatten(1))
        weights = self.crop_embedding.by_slot(at_entities(seen, entity_positions)) if seen else None
        return RegionWeightsOutput(
            loss=relation_loss(logits, labels, num_items_in_batch), logits=logits, region_weights=weights
        )


__all__ = ["MKGformerForRelationClassification", "MKGformerPreTrainedModel"]
