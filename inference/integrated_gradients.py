"""Integrated gradients (Sundararajan et al. 2017) of a relation's log-probability, by captum."""

from collections import defaultdict

import numpy as np
import torch

from mmre.processing.processing_multimodal import WHOLE_IMAGE

from .picture_grid import on_picture
from .post_parts import PartScores, PostParts

STEPS = 64
POINTS_AT_ONCE = 16


def load_captum() -> type:
    """Return captum's class for integrated gradients.

    Raises:
        ImportError: captum is not installed.
    """
    try:
        from captum.attr import IntegratedGradients
    except ImportError as error:
        raise ImportError("integrated gradients need captum: pip install 'mmre[explain]'") from error
    return IntegratedGradients


def integrated_gradients(parts: PostParts, relation: int, steps: int = STEPS) -> PartScores:
    """Attribute the log-probability of a relation to the patches of the pictures and to the tokens of the text.

    The baseline is each picture in its mean colour, and the padding token in place of each token of text and caption;
    markers and special tokens stay. So the attributions sum to the log-probability less that of the baseline.

    Args:
        parts: the post before the model.
        relation: id of the relation.
        steps: points on the path.

    Returns:
        The scores: of a cell what the patches on its place have in all pictures that show it, of a slot the sum over
        its patches, of a word that over its tokens. `missing` is what the scores of all pixels and tokens lack of the
        difference that they sum to on a path of endless steps.

    Raises:
        ImportError: captum is not installed.
    """
    gradients_of = load_captum()
    model, tokenizer = parts.model, parts.processor.tokenizer
    inputs = {name: value.to(model.device) for name, value in parts.inputs.items()}
    ids, embedding = inputs.pop("input_ids"), model.get_input_embeddings()
    pixels = inputs.pop("pixel_values", None)
    special = torch.isin(ids, ids.new_tensor([id for id in tokenizer.all_special_ids if id != tokenizer.unk_token_id]))
    with torch.no_grad():
        given = embedding(ids)
        baseline = embedding(torch.where(special, ids, tokenizer.pad_token_id))

    def log_probability(embedded: torch.Tensor, pixel_values: torch.Tensor | None = None) -> torch.Tensor:
        count = len(embedded)
        batch = {name: value.expand(count, *value.shape[1:]) for name, value in inputs.items()}
        if pixel_values is not None:
            batch["pixel_values"] = pixel_values
        hook = embedding.register_forward_hook(
            lambda module, arguments, output: embedded[:, places_of(ids[0].tolist(), arguments[0][0].tolist())]
        )
        try:
            logits = model(input_ids=ids.expand(count, -1), **batch).logits
        finally:
            hook.remove()
        return (logits.float() / getattr(model.config, "score_temperature", 1.0)).log_softmax(dim=-1)[:, relation]

    values = (given,) if pixels is None else (given, pixels)
    # Not zero, which is grey: of patches without any contrast, layer normalization makes endless gradients.
    flat = None if pixels is None else pixels.mean(dim=(3, 4), keepdim=True).expand_as(pixels)
    baselines = (baseline,) if pixels is None else (baseline, flat)
    attributions, delta = gradients_of(log_probability).attribute(
        values, baselines, n_steps=steps, internal_batch_size=POINTS_AT_ONCE, return_convergence_delta=True
    )
    tokens = attributions[0][0].sum(dim=-1).double().detach().cpu().numpy()
    words = np.array([tokens[numbers].sum() for numbers in parts.word_tokens])
    caption = float(tokens[len(parts.marked.ids) :].sum()) if parts.further["caption"] else None
    scores = PartScores(words=words, caption=caption, missing=float(delta[0]))
    if not parts.slots:
        return scores
    pixels = attributions[1][0].double().sum(dim=1).detach().cpu().numpy()  # (slots, H, W)
    patches = np.array([on_picture(pixels[slot.number], WHOLE_IMAGE, parts.grid) for slot in parts.slots])
    cells = sum(on_picture(each, slot.view.shown, parts.grid) for each, slot in zip(patches, parts.slots))
    return scores._replace(cells=cells, slots=patches.sum(axis=(1, 2)), patches=patches)


def places_of(read: list[int], given: list[int]) -> list[int]:
    """Return where each token that the embedding was given stands in the text.

    Models embed the text in parts or without its markers, but none changes the order of equal tokens.

    Args:
        read: ids of the text.
        given: ids that the embedding was given, all of them of the text.
    """
    places = defaultdict(list)
    for place, token in reversed([*enumerate(read)]):
        places[token].append(place)
    return [places[token].pop() for token in given]


__all__ = ["integrated_gradients", "places_of"]
