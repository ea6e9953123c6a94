"""MTB: a text encoder's states at the two opening entity markers, and a classifier (paper section 3).

Dimensions: B posts, T tokens, d the text encoder's hidden size.
"""

import torch
from torch import nn
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.utils import can_return_tuple

from .configuration_mtb import MTBConfig
from .modeling_relation_extraction import TextRelationExtractionPreTrainedModel, gather_tokens, relation_loss


class MTBPreTrainedModel(TextRelationExtractionPreTrainedModel):
    """Base of the models of MTB: attention of the text encoder."""

    config: MTBConfig
    base_model_prefix = "mtb"
    _supports_flash_attn = True
    _supports_flex_attn = True


class MTBForRelationClassification(MTBPreTrainedModel):
    """MTB with its relation classifier: predicts the relation between two entities of a post from text alone.

    The architecture is the paper's best, entity markers and entity start. The linear layer without activation after
    the encoder is the paper's for TACRED and KBP37. Differences from the paper:

    - The encoder is as it was pretrained: without the paper's pre-training by matching the blanks, which no published
      result on MNRE has either.
    - Dropout before the classifier, as in OpenNRE.
    - The caption may be read after the text, which makes a baseline with captions.

    Args:
        config (`MTBConfig`): the model's configuration.

    Example:

    ```python
    >>> processor = TextProcessor.from_encoders(text="google-bert/bert-base-uncased")
    >>> model = MTBForRelationClassification.from_encoders(
    ...     text="google-bert/bert-base-uncased", vocab_size=len(processor.tokenizer)
    ... )
    >>> inputs = processor(text="Rafael Nadal and Mery Perello", head=(0, 12), tail=(17, 29))
    >>> model(**inputs).logits
    ```
    """

    def __init__(self, config: MTBConfig):
        super().__init__(config)
        self._build_encoders()
        size = 2 * config.text_config.hidden_size
        self.hidden_layer = nn.Linear(size, size)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(size, config.num_labels)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor,
        entity_positions: torch.LongTensor,
        attention_mask: torch.Tensor | None = None,
        text_mask: torch.Tensor | None = None,
        labels: torch.LongTensor | None = None,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> SequenceClassifierOutput:
        """Predict the relation of each post.

        Args:
            input_ids (`torch.LongTensor` of shape `(B, T)`): the text with its entity markers; after it, with
                `use_caption`, the caption: `[CLS] text [SEP] caption [SEP]`.
            entity_positions (`torch.LongTensor` of shape `(B, 2)`): where the head's and the tail's opening markers
                stand.
            attention_mask (`torch.Tensor` of shape `(B, T)`, *optional*): one for text and caption, zero for padding.
            text_mask (`torch.Tensor` of shape `(B, T)`, *optional*): true on `[CLS] text [SEP]`; without `use_caption`
                nothing else is read.
            labels (`torch.LongTensor` of shape `(B,)`, *optional*): ids of the true relations.
            num_items_in_batch (`int` or `torch.Tensor`, *optional*): number of posts over which the loss is a mean, if
                not these B alone; the Trainer's, for gradient accumulation.

        Returns:
            [`~transformers.modeling_outputs.SequenceClassifierOutput`] with `logits` of shape `(B, num_labels)`, and
            `loss` if `labels` were given; or a tuple with `return_dict=False`.
        """
        if text_mask is not None and not self.config.use_caption:
            attention_mask = text_mask
        text = self.text_model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state  # (B, T, d)
        relation = self.hidden_layer(gather_tokens(text, entity_positions).flatten(1))  # (B, 2d)
        logits = self.classifier(self.dropout(relation))
        return SequenceClassifierOutput(loss=relation_loss(logits, labels, num_items_in_batch), logits=logits)


__all__ = ["MTBForRelationClassification", "MTBPreTrainedModel"]
