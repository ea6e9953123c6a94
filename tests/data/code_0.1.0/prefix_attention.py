"""Attention of a text encoder's layers over a prefix: [prefix; own tokens], TGDI equations (6) and (13).

The prefix enters through attention functions registered with transformers, so that no encoder is rewritten: keyword
arguments of an encoder's `forward` reach its attention function. No cache is involved: positions of the text start at
zero whatever the prefix's length, and gradient checkpointing changes nothing (the default kind, not the reentrant one,
through which no prefix can learn).

Dimensions: B posts, T text tokens, L prefix tokens, d the text encoder's hidden size.
"""

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import eager_mask, sdpa_mask


class Prefix:
    """What the layers of a text encoder attend to before their own tokens.

    Args:
        keys_values: for each layer (B, L, 2d), keys and values side by side.
        mask: (B, L), true where the prefix may be attended.
    """

    def __init__(self, keys_values: list[torch.Tensor], mask: torch.Tensor):
        self.keys_values = keys_values
        self.mask = mask
        self.layers_read: set[int] = set()

    def extend(
        self, layer: int, key: torch.Tensor, value: torch.Tensor, attention_mask: torch.Tensor | None, length: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Put the prefix before a layer's keys and values (B, heads, T, d / heads), and before its mask."""
        self.layers_read.add(layer)
        batch, heads, _, size = key.shape
        prefix = self.keys_values[layer].to(key.dtype)
        prefix_key, prefix_value = prefix.view(batch, -1, 2, heads, size).permute(2, 0, 3, 1, 4)  # (B, heads, L, size)
        key, value = torch.cat([prefix_key, key], dim=2), torch.cat([prefix_value, value], dim=2)
        prefix_mask = self.mask[:, None, None, :].expand(-1, -1, length, -1)
        if attention_mask is None:
            attention_mask = prefix_mask.new_ones(batch, 1, length, key.shape[2] - prefix.shape[1])
        if attention_mask.dtype != torch.bool:
            lowest = torch.finfo(attention_mask.dtype).min
            prefix_mask = torch.zeros_like(prefix_mask, dtype=attention_mask.dtype).masked_fill(~prefix_mask, lowest)
        return key, value, torch.cat([prefix_mask, attention_mask.expand(batch, -1, -1, -1)], dim=-1)


def prefix_sdpa_attention(module, query, key, value, attention_mask, prefix: Prefix | None = None, **kwargs):
    """transformers' sdpa attention; over `prefix` too, if there is one."""
    if prefix is not None:
        key, value, attention_mask = prefix.extend(module.layer_idx, key, value, attention_mask, query.shape[2])
    return sdpa_attention_forward(module, query, key, value, attention_mask, is_causal=False, **kwargs)


def prefix_eager_attention(
    module, query, key, value, attention_mask, prefix: Prefix | None = None, scaling=None, dropout=0.0, **kwargs
):
    """Attention written out; over `prefix` too, if there is one. Returns the attention weights."""
    if prefix is not None:
        key, value, attention_mask = prefix.extend(module.layer_idx, key, value, attention_mask, query.shape[2])
    scores = query @ key.transpose(2, 3) * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    if attention_mask is not None:
        if attention_mask.dtype == torch.bool:
            scores = scores.masked_fill(~attention_mask, torch.finfo(scores.dtype).min)
        else:
            scores = scores + attention_mask
    weights = nn.functional.dropout(scores.softmax(dim=-1), p=dropout, training=module.training)
    return (weights @ value).transpose(1, 2).contiguous(), weights


# By what a user may ask for. The names are global in transformers: ours alone; and without "sdpa" in them, for which
# transformers would refuse an encoder in its own words before `check_layers` can.
PREFIX_ATTENTIONS = {"sdpa": "mmre_prefix", "eager": "mmre_prefix_eager"}

AttentionInterface.register(PREFIX_ATTENTIONS["sdpa"], prefix_sdpa_attention)
AttentionInterface.register(PREFIX_ATTENTIONS["eager"], prefix_eager_attention)
# Without these transformers gives the layers no mask at all, and padding is attended.
AttentionMaskInterface.register(PREFIX_ATTENTIONS["sdpa"], sdpa_mask)
AttentionMaskInterface.register(PREFIX_ATTENTIONS["eager"], eager_mask)


def prefix_attention(name: str) -> str:
    """The attention over a prefix for "sdpa" or "eager"; itself, if it is one already.

    Raises:
        ValueError: if there is none.
    """
    if name in PREFIX_ATTENTIONS.values():
        return name
    if name not in PREFIX_ATTENTIONS:
        raise ValueError(
            f"The text encoder of TGDI attends over a prefix with 'sdpa' or 'eager', not with {name!r}: "
            "attn_implementation='sdpa', or {'text_config': 'sdpa', 'vision_config': ...} for each tower."
        )
    return PREFIX_ATTENTIONS[name]


def check_layers(encoder: PreTrainedModel) -> None:
    """Refuse an encoder whose layers cannot be given a prefix each.

    Raises:
        ValueError: if its attention is not transformers' interface, does not know which layer it is in, is causal, or
            has fewer key heads than query heads.
    """
    attentions = [module for module in encoder.modules() if isinstance(getattr(module, "layer_idx", None), int)]
    if (
        not encoder._supports_attention_backend
        or {module.layer_idx for module in attentions} != set(range(encoder.config.num_hidden_layers))
        or any(getattr(module, "is_causal", False) for module in attentions)
        or any(getattr(module, "num_key_value_groups", 1) > 1 for module in attentions)
    ):
        raise ValueError(
            f"The text encoder {type(encoder).__name__} cannot take a visual prefix: its attention layers must go "
            "through transformers' attention interface with a `layer_idx` each, see the text on both sides, and have a "
            "key head for each query head. BERT, RoBERTa, ELECTRA and ModernBERT do."
        )


def encode_with_prefix(encoder: PreTrainedModel, prefix: Prefix, **inputs) -> torch.Tensor:
    """Run a text encoder whose layers attend to a prefix.

    Args:
        encoder: a text encoder whose attention is one of `PREFIX_ATTENTIONS`.
        prefix: what each layer attends to first.
        inputs: the encoder's own inputs.

    Returns:
        Its last hidden states (B, T, d).

    Raises:
        RuntimeError: if a layer did not read the prefix, because the encoder's attention was changed.
    """
    hidden_states = encoder(**inputs, prefix=prefix).last_hidden_state
    unread = set(range(len(prefix.keys_values))) - prefix.layers_read
    if unread:
        raise RuntimeError(
            f"Layers {sorted(unread)} of the text encoder did not read the visual prefix: its attention implementation "
            f"is {encoder.config._attn_implementation!r}. Set it on the whole model, "
            "model.set_attn_implementation('sdpa') or 'eager', not on the encoder."
        )
    return hidden_states
