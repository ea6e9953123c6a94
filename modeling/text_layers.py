"""A BERT-like text encoder, layer by layer, for systems that let pictures in between its layers."""

from inspect import signature

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.masking_utils import create_bidirectional_mask

# What BERT and ELECTRA are made of. With anything else, such as a norm after the last layer or positions that the
# layers are told, the layers alone are not the encoder.
BERT_PARTS = {"embeddings", "embeddings_project", "encoder", "pooler"}


def check_layered(encoder: PreTrainedModel) -> None:
    """Refuse a text encoder that is not embeddings and then a list of layers.

    Raises:
        ValueError: if it is built in another way than BERT.
    """
    parts, body = dict(encoder.named_children()), dict(getattr(encoder, "encoder", nn.Module()).named_children())
    if (
        not encoder._supports_attention_backend  # without, a layer returns its states and more
        or not {"embeddings", "encoder"} <= set(parts) <= BERT_PARTS
        or set(body) != {"layer"}
        or list(signature(body["layer"][0].forward).parameters)[1] != "attention_mask"
    ):
        raise ValueError(
            f"The text encoder {type(encoder).__name__} cannot be run layer by layer: it must be built as BERT is. "
            "BERT, RoBERTa, XLM-RoBERTa and ELECTRA are."
        )


def embed_text(
    encoder: PreTrainedModel, input_ids: torch.Tensor, attention_mask: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return what the first layer of a text encoder reads.

    Args:
        encoder: one that [`check_layered`] lets pass.
        input_ids: (B, T).
        attention_mask: (B, T), one for text, zero for padding; or none, for text alone.

    Returns:
        The embeddings (B, T, d), and the mask as the layers want it; none if all may be attended.
    """
    states = encoder.embeddings(input_ids=input_ids)
    if hasattr(encoder, "embeddings_project"):  # of ELECTRA, whose embeddings are smaller
        states = encoder.embeddings_project(states)
    mask = create_bidirectional_mask(config=encoder.config, inputs_embeds=states, attention_mask=attention_mask)
    return states, mask
