"""Attention of a text encoder's layers over a prefix: [prefix; own tokens]. HVPNeT, and TGDI equations (6) and (13).

The prefix enters through attention functions registered with transformers, so that no encoder is rewritten: keyword
arguments of an encoder's `forward` reach its attention function. No cache is involved: positions of the text start at
zero whatever the prefix's length, and gradient checkpointing changes nothing (the default kind, not the reentrant one,
through which no prefix can learn).

Dimensions: B posts, T text tokens, L prefix tokens, d the text encoder's hidden size.
"""

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import eager_mask, sdpa_mask

from .configuration_relation_extraction import MultimodalRelationExtractionConfig
from .modeling_relation_extraction import MultimodalRelationExtractionPreTrainedModel


class Prefix:
    """Keys and values that the layers of a text encoder attend to before their own tokens.

    Args:
        keys_values: for each layer (B, L, 2d), keys and values side by side.
        mask: (B, L), true where the prefix may be attended.
    """

    def __init__(self, keys_values: list[torch.Tensor], mask: torch.Tensor):
        self.keys_values = keys_values
        self.mask = mask
        self.layers_read: set[int] = set()
        # Of each layer (B, T, L), if it is a list.
        self.weights: list[torch.Tensor] | None = None

    def extend(
        self,
        module: nn.Module,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None,
        length: int,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Put the prefix before a layer's keys and values (B, heads, T, d / heads), and before its mask."""
        self.layers_read.add(module.layer_idx)
        keys, values = self.keys_values[module.layer_idx].chunk(2, dim=-1)
        return prepend(keys, values, self.mask, key, value, attention_mask, length)


def prepend(
    prefix_keys: torch.Tensor,
    prefix_values: torch.Tensor,
    prefix_mask: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    length: int,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Put a prefix before a layer's own keys and values.

    Args:
        prefix_keys: (B, L, d), cut into heads as the layer's own are.
        prefix_values: (B, L, d).
        prefix_mask: (B, L), true where the prefix may be attended.
        key: (B, heads, T, d / heads).
        value: (B, heads, T, d / heads).
        attention_mask: the layer's own mask, boolean or added to the scores; none if all may be attended.
        length: number of queries.

    Returns:
        Keys and values of [prefix; own], and the mask for them.
    """
    batch, heads = key.shape[:2]
    prefix_key, prefix_value = (
        each.to(key.dtype).unflatten(-1, (heads, -1)).transpose(1, 2) for each in (prefix_keys, prefix_values)
    )  # (B, heads, L, d / heads)
    mask = prefix_mask[:, None, None, :].expand(-1, -1, length, -1)
    if attention_mask is None:
        attention_mask = mask.new_ones(batch, 1, length, key.shape[2])
    if attention_mask.dtype != torch.bool:
        lowest = torch.finfo(attention_mask.dtype).min
        mask = torch.zeros_like(mask, dtype=attention_mask.dtype).masked_fill(~mask, lowest)
    mask = torch.cat([mask, attention_mask.expand(batch, -1, -1, -1)], dim=-1)
    return torch.cat([prefix_key, key], dim=2), torch.cat([prefix_value, value], dim=2), mask


def weights_of_prefix(
    prefix: Prefix, query: torch.Tensor, key: torch.Tensor, attention_mask: torch.Tensor, scaling: float | None
) -> None:
    """Keep how much each token attends to each part of the prefix, a mean over heads, if the prefix is asked to."""
    if prefix.weights is not None:
        scores = _scores(query, key, attention_mask, scaling)
        prefix.weights.append(scores.softmax(dim=-1).mean(dim=1)[..., : prefix.mask.shape[1]])


def _scores(
    query: torch.Tensor, key: torch.Tensor, attention_mask: torch.Tensor | None, scaling: float | None
) -> torch.Tensor:
    scores = query @ key.transpose(2, 3) * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    if attention_mask is None:
        return scores
    if attention_mask.dtype == torch.bool:
        return scores.masked_fill(~attention_mask, torch.finfo(scores.dtype).min)
    return scores + attention_mask


def prefix_sdpa_attention(module, query, key, value, attention_mask, prefix: Prefix | None = None, **kwargs):
    """Attend as transformers' sdpa attention does; over `prefix` too, if there is one."""
    if prefix is not None:
        key, value, attention_mask = prefix.extend(module, key, value, attention_mask, query.shape[2])
        weights_of_prefix(prefix, query, key, attention_mask, kwargs.get("scaling"))
    return sdpa_attention_forward(module, query, key, value, attention_mask, is_causal=False, **kwargs)


def prefix_eager_attention(
    module, query, key, value, attention_mask, prefix: Prefix | None = None, scaling=None, dropout=0.0, **kwargs
):
    """Attend step by step; over `prefix` too, if there is one. Return the attention weights too."""
    if prefix is not None:
        key, value, attention_mask = prefix.extend(module, key, value, attention_mask, query.shape[2])
        weights_of_prefix(prefix, query, key, attention_mask, scaling)
    scores = _scores(query, key, attention_mask, scaling)
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
    """Return the name of the attention over a prefix for "sdpa" or "eager"; `name`, if it is one already.

    Raises:
        ValueError: if there is no such attention.
    """
    if name in PREFIX_ATTENTIONS.values():
        return name
    if name not in PREFIX_ATTENTIONS:
        raise ValueError(
            f"This model attends over a prefix with 'sdpa' or 'eager', not with {name!r}: "
            "attn_implementation='sdpa', or {'text_config': 'sdpa', 'vision_config': ...} for each encoder."
        )
    return PREFIX_ATTENTIONS[name]


def check_layers(encoder: PreTrainedModel) -> None:
    """Refuse an encoder whose layers cannot be given a prefix each.

    Raises:
        ValueError: if the encoder's attention is not transformers' interface, does not know which layer it is in, is
            causal, or has fewer key heads than query heads.
    """
    attentions = [module for module in encoder.modules() if isinstance(getattr(module, "layer_idx", None), int)]
    if (
        not encoder._supports_attention_backend
        or {module.layer_idx for module in attentions} != set(range(encoder.config.num_hidden_layers))
        or any(getattr(module, "is_causal", False) for module in attentions)
        or any(getattr(module, "num_key_value_groups", 1) > 1 for module in attentions)
    ):
        raise ValueError(
            f"The text encoder {type(encoder).__name__} cannot take a prefix: its attention layers must go "
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
        The encoder's last hidden states (B, T, d).

    Raises:
        RuntimeError: if a layer did not read the prefix, because the encoder's attention was changed.
    """
    hidden_states = encoder(**inputs, prefix=prefix).last_hidden_state
    unread = set(range(len(prefix.keys_values))) - prefix.layers_read
    if unread:
        raise RuntimeError(
            f"Layers {sorted(unread)} of the text encoder did not read the prefix: its attention implementation "
            f"is {encoder.config._attn_implementation!r}. Set it on the whole model, "
            "model.set_attn_implementation('sdpa') or 'eager', not on the encoder."
        )
    return hidden_states


class PrefixRelationExtractionPreTrainedModel(MultimodalRelationExtractionPreTrainedModel):
    """Base of the models whose encoders attend to a prefix: those whose configurations `prefixed` names."""

    prefixed = ("text_config",)

    def __init__(self, config: MultimodalRelationExtractionConfig):
        for name in self.prefixed:
            encoder_config = getattr(config, name)
            asked = encoder_config._attn_implementation or config._attn_implementation or "sdpa"
            encoder_config._attn_implementation = prefix_attention(asked)
        super().__init__(config)

    def set_attn_implementation(self, attn_implementation: str | dict, *args, **kwargs) -> None:
        """Set the attention of both encoders, "sdpa" or "eager"; those with a prefix keep reading it."""
        if not isinstance(attn_implementation, dict):
            attn_implementation = dict.fromkeys(("", *self.config.sub_configs), attn_implementation)
        own = {
            name: prefix_attention(attn_implementation[name]) for name in self.prefixed if name in attn_implementation
        }
        super().set_attn_implementation({**attn_implementation, **own}, *args, **kwargs)

    def _set_gradient_checkpointing(self, enable: bool = True, gradient_checkpointing_func=checkpoint, **kwargs):
        if enable and getattr(gradient_checkpointing_func, "keywords", {}).get("use_reentrant"):
            raise ValueError("No prefix can learn through reentrant checkpointing: set `use_reentrant=False`.")
        super()._set_gradient_checkpointing(enable, gradient_checkpointing_func, **kwargs)
