"""VisualBERT: one Transformer over the text and the pictures' vectors, and a classifier (paper section 3.1).

Dimensions: B posts, T tokens, I picture slots (the whole picture, then regions), P patches, d the Transformer's hidden
size, d_v the vision encoder's.
"""

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.utils import can_return_tuple

from .configuration_visualbert_mre import VisualBertMREConfig
from .modeling_relation_extraction import MultimodalRelationExtractionPreTrainedModel, gather_tokens, relation_loss
from .region_weights import RegionWeightsOutput, WeighsRegions, at_entities


class VisualBertMREPreTrainedModel(MultimodalRelationExtractionPreTrainedModel):
    """Base of the models of VisualBERT for relation extraction."""

    config: VisualBertMREConfig
    base_model_prefix = "visualbert_mre"

    @property
    def new_in_encoders(self) -> tuple[str, ...]:
        """Name the projection of the pictures' vectors, unless the model's own stands before it."""
        return ("text_model.embeddings.visual_projection",) if isinstance(self.region_projection, nn.Identity) else ()

    def _load_encoders(self, **pretrained: PreTrainedModel) -> None:
        """Copy the pretrained weights; of a BERT, its embeddings of positions and types are those of the pictures too.

        So VisualBERT itself was initialised. The projection of the pictures' vectors, which a BERT lacks, stays new.
        """
        text = pretrained.pop("text")
        super()._load_encoders(**pretrained)
        weights = text.state_dict()
        if text.config.model_type == "bert":
            for name in ("token_type_embeddings", "position_embeddings"):
                weights[f"embeddings.visual_{name}.weight"] = weights[f"embeddings.{name}.weight"]
            new = self.text_model.embeddings.visual_projection.state_dict(prefix="embeddings.visual_projection.")
            weights = weights | new
        self.text_model.load_state_dict({name: weights[name] for name in self.text_model.state_dict()})

    def set_attn_implementation(self, attn_implementation: str | dict, *args, **kwargs) -> None:
        """Set the attention of the vision encoder; transformers' VisualBERT has one way to attend, `"eager"`."""
        if not isinstance(attn_implementation, dict):
            attn_implementation = {"vision_config": attn_implementation}
        super().set_attn_implementation(
            {name: value for name, value in attn_implementation.items() if name == "vision_config"}, *args, **kwargs
        )


class VisualBertMREForRelationClassification(WeighsRegions, VisualBertMREPreTrainedModel):
    """VisualBERT with a relation classifier: predicts the relation between two entities of a post.

    The Transformer is transformers' `VisualBertModel`. No code of it for MNRE is published. Differences from the paper:

    - A region's vector is the mean of its patches in the model's own vision encoder, where the paper has features of
      Faster R-CNN that nobody has for a picture of their own. It is projected to the size that a pretrained VisualBERT
      wants, if that is another one.
    - The whole picture is the first of the regions.
    - The classifier reads the states at the two entities' opening markers, as those of the other systems do.

    Args:
        config (`VisualBertMREConfig`): the model's configuration.

    Example:

    ```python
    >>> processor = MultimodalProcessor.from_encoders("google-bert/bert-base-uncased", "openai/clip-vit-base-patch32")
    >>> model = VisualBertMREForRelationClassification.from_encoders(
    ...     "google-bert/bert-base-uncased", "openai/clip-vit-base-patch32", vocab_size=len(processor.tokenizer)
    ... )
    >>> inputs = processor(text="Rafael Nadal and Mery Perello", images=image, head=(0, 12), tail=(17, 29))
    >>> model(**inputs).logits
    ```
    """

    def __init__(self, config: VisualBertMREConfig):
        config.text_config._attn_implementation = "eager"  # Whatever the model is asked for: it has no other.
        super().__init__(config)
        self._build_encoders()
        size, wanted = config.vision_config.hidden_size, config.text_config.visual_embedding_dim
        self.region_projection = nn.Identity() if size == wanted else nn.Linear(size, wanted)
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
        cells, image_mask = self._encode_cells(pixel_values, image_mask, shape, "the whole picture and its regions")
        attention_mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        pictures = {}
        if cells is not None:
            regions = self.region_projection(cells.mean(dim=2))  # (B, I, d_v)
            pictures = {"visual_embeds": regions, "visual_attention_mask": image_mask.to(attention_mask.dtype)}
        asks = output_fusion and cells is not None
        outputs = self.text_model(
            input_ids=input_ids, attention_mask=attention_mask, output_attentions=asks, **pictures
        )
        weights = None
        if asks:
            seen = [layer.mean(dim=1)[..., input_ids.shape[1] :] for layer in outputs.attentions]  # (B, T + I, I) each
            weights = at_entities(seen, entity_positions)
        entities = gather_tokens(outputs.last_hidden_state, entity_positions)  # (B, 2, d)
        logits = self.classifier(self.dropout(entities.flatten(1)))
        return RegionWeightsOutput(
            loss=relation_loss(logits, labels, num_items_in_batch), logits=logits, region_weights=weights
        )


__all__ = ["VisualBertMREForRelationClassification", "VisualBertMREPreTrainedModel"]
