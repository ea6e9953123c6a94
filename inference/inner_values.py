"""Values inside a model on one post: its gates, weights and scores, and where the entities look in the picture."""

import math
from typing import Any, NamedTuple

import numpy as np
import torch

from .picture_grid import on_picture
from .post_parts import PartScores, PostParts

ATTENTION = "attention"  # the name of scores that are a model's own attention


class InnerValues(NamedTuple):
    """Values inside a model on one post.

    Args:
        arrays: the further fields of the model's output, by name, without the batch: see its class. Those that are not
            there (a gate without a picture) are left out.
        summary: the model's `fusion_summary`; empty if it fuses nothing that it can tell.
        attention: where the entities look; `None` if the model, or this post, has no such attention.
    """

    arrays: dict[str, np.ndarray]
    summary: dict[str, Any]
    attention: PartScores | None


def read_inner_values(parts: PostParts) -> InnerValues:
    """Run a model once on the whole post, and read what it tells of itself.

    Its attention lies on the picture by each patch's place; pictures that it weighs count by their weights. Of some
    models there are these weights alone.
    """
    model = parts.model
    if not hasattr(model, "fusion_summary"):
        return InnerValues({}, {}, None)
    inputs = {name: value.to(model.device) for name, value in parts.inputs.items()}
    with torch.no_grad():
        outputs = model(**inputs, output_fusion=True)
        (summary,) = model.fusion_summary(outputs, inputs)
        found = model.picture_attention(outputs, inputs) if model.has_picture_attention else None
    arrays = {name: value[0].float().cpu().numpy() for name, value in outputs.items() if name not in ("loss", "logits")}
    if found is None or not parts.slots:
        return InnerValues(arrays, summary, None)
    numbers = [slot.number for slot in parts.slots]
    attention, weights = (None if each is None else each[0].double().cpu().numpy()[numbers] for each in found)
    if attention is None:  # of pictures alone, not of their patches
        return InnerValues(arrays, summary, PartScores(slots=weights))
    patches = attention.reshape(-1, *attention_grid(parts, attention.shape[1]))
    shares = np.full(len(numbers), 1 / len(numbers)) if weights is None else weights
    cells = sum(
        share * on_picture(each, slot.view.shown, parts.grid) for share, each, slot in zip(shares, patches, parts.slots)
    )
    return InnerValues(arrays, summary, PartScores(cells=cells, slots=weights, patches=patches))


def attention_grid(parts: PostParts, count: int) -> tuple[int, int]:
    """Return rows and columns of the places that a model looks at: its patches, or the cells of a square map."""
    return parts.grid if math.prod(parts.grid) == count else (math.isqrt(count),) * 2


__all__ = ["ATTENTION", "InnerValues", "read_inner_values"]
