"""IFAformer: a text and a vision encoder whose layers read each other's keys and values.

Dimensions: B posts, T tokens, R regions, S = 1 + patches of all crops, n coupled layers, d the text encoder's hidden
size, d_v the vision encoder's.
"""

import torch
from torch import nn
from transformers.utils import can_return_tuple

from .configuration_ifaformer import IFAformerConfig
from .coupled_encoders import Bridge, CoupledRelationExtractionPreTrainedModel, Exchange
from .modeling_relation_extraction import gather_tokens, relation_loss, token_mask
from .region_weights import RegionWeightsOutput, WeighsRegions, at_entities
from .text_layers import embed_text


class IFAformerPreTrainedModel(CoupledRelationExtractionPreTrainedModel):
    """Base of the models of IFAformer."""

    config: IFAformerConfig
    base_model_prefix = "ifaformer"


class IFAformerForRelationClassification(WeighsRegions, IFAformerPreTrainedModel):
    """IFAformer with its relation classifier: predicts the relation between two entities of a post.

    With l from 1 to n, K, V and Q the keys, values and queries that a layer makes of its own states:

    - vision layer l: softmax(Q_v^l [K_t^(l-1); K_v^l]^T / sqrt(size of a head)) [V_t^(l-1); V_v^l];
    - text layer l: softmax(Q_t^l [K_v^l; K_t^l]^T / sqrt(size of a head)) [V_v^l; V_t^l];
    - the first layers read, as keys and as values, the other encoder's states before its own first layer.

    The crops of grounded regions have 4 x 4 patches and those of detected ones 2 x 2, all in one row after one class
    token, with learned positions of their own.

    Differences from the published code:

    - The classifier is trained; there it keeps its first, random weights.
    - The text reads the vision encoder's values; there it reads its keys in their place.
    - The states that the first layers read are cut into heads as keys are; there a plain view mixes positions with
      heads.
    - The text's scores are the same for a prefix as for its own tokens; there one is added to those of all pictures.
    - Padding of the text and absent crops are masked; there the pictures read padding, and absent crops are black
      pictures that count.
    - Nothing reads what the last vision layer makes of its states, so it attends to its own alone. The published code
      opens the whole picture too, and does not read it.
    - Crops are scaled from the processor's size to the two sizes here; there a centre crop cuts sides off.
    - Encoders of different depth are coupled in their last layers; keys and values of another size pass a linear
      layer. The paper's encoders are alike, and need neither.

    Args:
        config (`IFAformerConfig`): the model's configuration.

    Raises:
        ValueError: if an encoder's layers cannot be coupled.
    """

    def __init__(self, config: IFAformerConfig):
        super().__init__(config)
        self._build_encoders()
        text_size, vision_size = config.text_config.hidden_size, config.vision_config.hidden_size
        number = config.num_coupled_layers
        self.to_vision = nn.ModuleList(Bridge(text_size, vision_size) for _ in range(number - 1))
        self.to_text = nn.ModuleList(Bridge(vision_size, text_size) for _ in range(number))
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
        number = 0 if vision is None else self.config.num_coupled_layers
        seen = [] if output_fusion and vision is not None else None  # by each token, in each coupled layer
        for layer in text_layers[: len(text_layers) - number]:
            text = layer(text, text_layer_mask)
        if vision is not None:
            for layer in vision_layers[: len(vision_layers) - number]:
                vision = layer(vision, vision_layer_mask)
            text_mask = token_mask(input_ids, attention_mask)
            of_text, of_vision = (text, text), (vision, vision)  # keys and values
            for index, (text_layer, vision_layer) in enumerate(zip(text_layers[-number:], vision_layers[-number:])):
                is_last = index == number - 1
                exchange = Exchange() if is_last else Exchange(self.to_vision[index](*of_text), text_mask)
                vision = vision_layer(vision, vision_layer_mask, prefix=exchange)  # (B, S, d_v)
                if index:
                    of_vision = exchange.own
                exchange = Exchange(self.to_text[index](*of_vision), vision_mask)
                exchange.weights = seen
                text = text_layer(text, text_layer_mask, prefix=exchange)  # (B, T, d)
                of_text = exchange.own
        logits = self.classifier(gather_tokens(text, entity_positions).flatten(1))
        weights = self.crop_embedding.by_slot(at_entities(seen, entity_positions)) if seen else None
        return RegionWeightsOutput(
            loss=relation_loss(logits, labels, num_items_in_batch), logits=logits, region_weights=weights
        )


__all__ = ["IFAformerForRelationClassification", "IFAformerPreTrainedModel"]
