"""The beginning that many prompts share: read once, and its keys and values serve them all."""

import copy
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

# How many beginnings are kept: that of most posts, and the last one of a post with demonstrations of its own.
KEPT = 2


class Prefixes:
    """Keeps the keys and values of beginnings of prompts, the last ones asked for.

    Only where a model keeps the keys and values of all tokens: a sliding window counts the padding after a beginning,
    and a recurrent state reads it.

    Args:
        read: reads tokens and returns the cache of them, of one row.
    """

    def __init__(self, read: Callable[[Sequence[int]], Any]):
        self.read, self.is_possible, self.kept = read, True, {}

    def __call__(self, ids: Sequence[int]) -> DynamicCache | None:
        """Return the cache of a beginning, of one row; `None` for a model that keeps more, or less, than that."""
        if not self.is_possible:
            return None
        cache = self.kept.pop(tuple(ids), None) or self.read(ids)
        self.is_possible = keeps_all_tokens(cache)
        if not self.is_possible:
            return None
        self.kept[tuple(ids)] = cache
        while len(self.kept) > KEPT:
            del self.kept[next(iter(self.kept))]
        return cache


class EncodedPrompts(NamedTuple):
    """Prompts as inputs of a model.

    Args:
        inputs: as `generate` takes them: `input_ids` and `attention_mask`, (B, T), and what there is of pictures. The
            padding is on the left, or between the beginning that is read already and the rest.
        prefix: the cache of that beginning, of one row; `None` if there is none.
    """

    inputs: dict[str, torch.Tensor]
    prefix: DynamicCache | None = None

    def lengths(self) -> list[int]:
        """Return the numbers of tokens of the prompts."""
        return self.inputs["attention_mask"].sum(-1).tolist()

    def after(self, start: Sequence[int], prefixes: Prefixes) -> "EncodedPrompts":
        """Return the same prompts, with their beginning read; unchanged where one begins otherwise.

        Args:
            start: the tokens of the beginning.
            prefixes: of the model.
        """
        ids, mask = self.inputs["input_ids"], self.inputs["attention_mask"]
        length, padding = len(start), mask.shape[1] - mask.sum(-1, keepdim=True)  # (B, 1)
        columns = torch.arange(ids.shape[1], device=ids.device)
        # Where each column comes from, (B, T): the beginning, then the padding, then the rest.
        source = columns.expand(ids.shape) - torch.where(columns < length + padding, length, 0)
        source = torch.where(columns < length, columns + padding, source)
        begins = ids.gather(1, source[:, :length].clamp(max=ids.shape[1] - 1))
        if int(mask.sum(-1).min()) <= length or begins.tolist() != [list(start)] * len(ids):
            return self
        prefix = prefixes(start)
        if prefix is None:
            return self
        inputs = {
            name: value.gather(1, source) if value.shape == ids.shape else value for name, value in self.inputs.items()
        }
        return EncodedPrompts(inputs, prefix)

    def cache(self) -> dict[str, DynamicCache]:
        """Return the argument of `generate` that has the beginning, for each row a copy; none if there is none."""
        if self.prefix is None:
            return {}
        rows = copy.deepcopy(self.prefix)
        rows.batch_repeat_interleave(len(self.inputs["input_ids"]))
        return {"past_key_values": rows}


def keeps_all_tokens(cache: Any) -> bool:
    """Return whether a cache has the keys and values of all tokens, and nothing else."""
    return type(cache) is DynamicCache and all(type(layer) is DynamicLayer for layer in cache.layers)


__all__ = ["EncodedPrompts", "Prefixes", "keeps_all_tokens"]
