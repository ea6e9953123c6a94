"""The likelihood of many labels after the same prompts: their beginnings are read once, and so are the prompts."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence

# Tokens of labels that go through a model in one row beside others, and rows of labels beside the cache of prompts.
LABEL_TOKENS_AT_ONCE = 2048
LABEL_ROWS_AT_ONCE = 64
Positions = Callable[[torch.Tensor], dict[str, torch.Tensor]]


def score_tree(
    model: Any,
    cache: Any,
    mask: torch.Tensor,
    first: torch.Tensor,
    labels: Sequence[Sequence[int]],
    positions: Positions,
) -> torch.Tensor:
    """Score labels as a tree: all stand in one row behind each prompt, and a token sees those of its label before it.

    What labels begin with alike is read once. For models whose attention takes a mask of four dimensions and whose
    cache has all tokens.

    Args:
        model: a causal language model.
        cache: of the B prompts, T tokens long; it is used up.
        mask: of the prompts, (B, T).
        first: log-probabilities of the token after each prompt, (B, V).
        labels: the tokens of L labels.
        positions: makes the argument of the model that says where tokens stand, of places in their rows, (B, N).

    Returns:
        Log-probabilities, (B, L).
    """
    rows, scores = len(mask), []
    at_once = max(1, LABEL_TOKENS_AT_ONCE // (rows * max(map(len, labels))))
    for start in range(0, len(labels), at_once):
        chunk = [tuple(label) for label in labels[start : start + at_once]]
        tree = {}  # the place of each beginning of a label
        for label in chunk:
            for end in range(1, len(label)):
                tree.setdefault(label[:end], len(tree))
        sees = torch.zeros(len(tree), len(tree), dtype=torch.bool)
        for beginning, place in tree.items():
            sees[place, [tree[beginning[:end]] for end in range(1, len(beginning) + 1)]] = True
        seen = mask.bool()[:, None].expand(-1, len(tree), -1)
        seen = torch.cat([seen, sees.to(mask.device).expand(rows, -1, -1)], dim=-1)[:, None]  # (B, 1, N, T + N)
        bias = torch.zeros(seen.shape, dtype=model.dtype, device=mask.device)
        depth = torch.tensor([len(beginning) - 1 for beginning in tree], device=mask.device)
        outputs = model(
            input_ids=torch.tensor([[beginning[-1] for beginning in tree]] * rows, device=mask.device),
            attention_mask=bias.masked_fill(~seen, torch.finfo(model.dtype).min),
            past_key_values=cache if start + at_once >= len(labels) else copy.deepcopy(cache),
            use_cache=True,
            **positions(mask.sum(-1, keepdim=True) + depth),
        )
        logits = outputs.logits.float()
        steps = [
            (which, tree[label[:end]], label[end]) for which, label in enumerate(chunk) for end in range(1, len(label))
        ]
        which, places, tokens = torch.tensor(steps, device=mask.device).T
        later = logits[:, places, tokens] - logits.logsumexp(-1)[:, places]  # (B, steps)
        found = first[:, [label[0] for label in chunk]]
        scores.append(found.index_add(1, which, later))
    return torch.cat(scores, dim=1)


def score_rows(
    model: Any,
    cache: Any,
    mask: torch.Tensor,
    first: torch.Tensor,
    labels: Sequence[Sequence[int]],
    positions: Positions,
) -> torch.Tensor:
    """Score labels, each in a row of its own behind a copy of its prompt's cache: for any model.

    Args, returns: as [`score_tree`].
    """
    rows, scores = len(mask), []
    tokens = [torch.tensor(label, device=mask.device) for label in labels]
    at_once = max(1, LABEL_ROWS_AT_ONCE // rows)
    for start in range(0, len(tokens), at_once):
        chunk = tokens[start : start + at_once]
        number = len(chunk)
        ids = pad_sequence(chunk, batch_first=True)  # (C, T); what is padded on the right is seen by none before it
        lengths = torch.tensor([len(label) for label in chunk], device=mask.device)
        repeated = copy.deepcopy(cache)
        repeated.batch_repeat_interleave(number)
        seen = mask.repeat_interleave(number, dim=0)  # (B C, T_prompt)
        inputs = ids[:, :-1].repeat(rows, 1)
        outputs = model(
            input_ids=inputs,
            attention_mask=torch.cat([seen, torch.ones_like(inputs)], dim=1),
            past_key_values=repeated,
            use_cache=True,
            **positions(seen.sum(-1, keepdim=True) + torch.arange(inputs.shape[1], device=mask.device)),
        )
        later = outputs.logits.float().log_softmax(-1).view(rows, number, inputs.shape[1], -1)
        later = later.gather(-1, ids[None, :, 1:, None].expand(rows, -1, -1, 1)).squeeze(-1)  # (B, C, T - 1)
        is_label = torch.arange(1, ids.shape[1], device=mask.device) < lengths[:, None]
        scores.append(first[:, ids[:, 0]] + (later * is_label).sum(-1))
    return torch.cat(scores, dim=1)


__all__ = ["score_rows", "score_tree"]
