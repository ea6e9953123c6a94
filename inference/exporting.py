"""Programs of `torch.export` and ONNX that encode each different picture once, and what they are given."""

from collections.abc import Iterable, Mapping
from functools import partial
from inspect import Parameter, Signature

import numpy as np
import torch
from torch import nn
from torch.export import Dim, ExportedProgram
from transformers import PreTrainedModel, ProcessorMixin

from mmre.modeling.coupled_encoders import CoupledRelationExtractionPreTrainedModel
from mmre.modeling.image_tower import different_images, pictures_given_once

# Inputs with a row of tokens for each post.
OF_TOKENS = ("input_ids", "attention_mask", "text_mask", "word_structure")


class _GivenPicturesOnce(nn.Module):
    """A model that is given each different picture once, with the number of each slot's picture; returns its logits."""

    def __init__(self, model: PreTrainedModel, names: Iterable[str]):
        super().__init__()
        self.model = model
        # The program's inputs have the names that `forward` is said to have.
        self.forward = partial(self._logits)
        self.forward.__signature__ = Signature([Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in names])

    def _logits(self, **inputs: torch.Tensor) -> torch.Tensor:
        if "picture_index" not in inputs:
            return self.model(**inputs).logits
        pictures, index = inputs["pixel_values"], inputs.pop("picture_index")
        inputs["pixel_values"] = pictures[index]
        # Coupled encoders have no vision encoder that pictures pass alone: their layers read each post's text too.
        if isinstance(self.model, CoupledRelationExtractionPreTrainedModel):
            return self.model(**inputs).logits
        with pictures_given_once(pictures, index):
            return self.model(**inputs).logits


def export_program(model: PreTrainedModel, processor: ProcessorMixin) -> ExportedProgram:
    """Export a model for any number of posts, tokens and different pictures.

    Args:
        model: a model in evaluation mode, on the CPU.
        processor: its processor.

    Returns:
        The program: of what [`program_inputs`] returns it computes the logits (B, relations). `torch.export.save` and
        `torch.onnx.export` write it.
    """
    batch, pictures = Dim("batch"), Dim("pictures")
    length = Dim("length", max=getattr(model.config.get_text_config(), "max_position_embeddings", processor.max_length))
    inputs = program_inputs(made_inputs(processor, 2))
    shapes = {name: {0: batch, 1: length} if name in OF_TOKENS else {0: batch} for name in inputs}
    if "picture_index" in inputs:
        shapes["pixel_values"] = {0: pictures}
    module = _GivenPicturesOnce(model.eval(), inputs)
    with torch.no_grad():
        return torch.export.export(module, (), inputs, dynamic_shapes=shapes, strict=False)


def program_inputs(inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Turn the inputs of a model into those of its program, each different picture once.

    Args:
        inputs: what the processor returns, for one or more posts.

    Returns:
        The inputs, with `pixel_values` (D, 3, H, W), the D different pictures that exist, one of zeros if there are
        none, and `picture_index` (B, slots), which of them is each slot's.
    """
    inputs = dict(inputs)
    if "pixel_values" not in inputs:
        return inputs
    mask = inputs["image_mask"].bool()
    index = torch.zeros(mask.shape, dtype=torch.int64, device=mask.device)
    pictures = inputs["pixel_values"][mask]
    if len(pictures):
        first, index[mask] = different_images(pictures)
        pictures = pictures[first]
    else:
        pictures = torch.zeros_like(inputs["pixel_values"][0, :1])
    return inputs | {"pixel_values": pictures, "picture_index": index}


def made_inputs(processor: ProcessorMixin, number: int) -> dict[str, torch.Tensor]:
    """Make the inputs of posts of noise, of several lengths, whose last has no regions.

    Args:
        processor: of the model that reads them.
        number: of posts.
    """
    pixels = np.random.default_rng(0).integers(0, 256, (number, 40, 60, 3), dtype=np.uint8)
    regions = [[[0.1, 0.2, 0.6, 0.9]]] * (number - 1) + [[]]
    inputs = processor(
        text=["Ada met Bo" + " again" * post for post in range(number)],
        images=list(pixels),
        head=[(0, 3)] * number,
        tail=[(8, 10)] * number,
        grounded_regions=regions,
        detected_regions=regions,
        caption=["two people"] * number,
        # Found by hand, so that a system that reads them needs no spaCy here: all words depend on the second.
        dependencies=[
            [[0, 3, 1], [4, 7, 1], [8, 10, 1], *([11 + 6 * i, 16 + 6 * i, 1] for i in range(post))]
            for post in range(number)
        ],
    )
    return dict(inputs)


__all__ = ["export_program", "program_inputs"]
