"""Where a GPU is waited for in a forward pass: only where the shapes depend on the data."""

import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from model_helpers import CASES, tiny_batch, tiny_model
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from mmre.modeling import image_tower
from mmre.modeling.coupled_encoders import CoupledRelationExtractionPreTrainedModel

# Operations of which the CPU must see what comes out before it goes on.
WAITS = ("_local_scalar_dense", "nonzero", "unique_dim", "_unique2", "unique_consecutive", "masked_select", "equal")
# Methods that read a CPU's tensor without an operation.
READS = ("tolist", "numpy", "cpu")
# Each place that may wait, and why.
PICTURES_THAT_EXIST = "image_tower.existing_images"
DIFFERENT_PICTURES = "image_tower.different_images"
END_OF_TEXT = "modeling_tgdi.forward"
PADDING = "transformers.masking_utils"  # without padding, no mask is needed


def place() -> str:
    """Return the place, in a file of ours or of transformers, that asked for an operation."""
    frame = sys._getframe(2)
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.parent.name == "modeling" and path.parents[1].name != "tests":
            return f"{path.stem}.{frame.f_code.co_name}"
        if "transformers" in path.parts and path.stem != "generic":
            return f"transformers.{path.stem}"
        frame = frame.f_back
    return "elsewhere"


class Operations(TorchDispatchMode):
    """Notes operations that are waited for."""

    def __init__(self, places: Counter):
        super().__init__()
        self.places = places

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        name, overload = str(function).split(".")[1:3]
        by_mask = name.startswith("index") and any(
            isinstance(each, torch.Tensor) and each.dtype == torch.bool
            for each in (arguments[1] if isinstance(arguments[1], (list, tuple)) else ())
        )
        if name in WAITS or by_mask or (name, overload) == ("repeat_interleave", "Tensor"):
            self.places[place()] += 1
        return function(*arguments, **(keywords or {}))


class Methods(TorchFunctionMode):
    """Notes methods that read a tensor."""

    def __init__(self, places: Counter):
        super().__init__()
        self.places = places

    def __torch_function__(self, function, types, arguments=(), keywords=None):
        if getattr(function, "__name__", "") in READS:
            self.places[place()] += 1
        return function(*arguments, **(keywords or {}))


@torch.no_grad()
def waits(model, batch) -> Counter:
    """Count where a forward pass waits."""
    places = Counter()
    with Methods(places), Operations(places):
        model(**batch)
    return places


@pytest.mark.parametrize("case", CASES)
def test_a_forward_pass_waits_only_where_shapes_depend_on_the_data(case):
    model = tiny_model(case)
    found = waits(model, tiny_batch(case, model.config))
    expected = Counter()
    if CASES[case][2]:
        is_coupled = isinstance(model, CoupledRelationExtractionPreTrainedModel)
        expected[PICTURES_THAT_EXIST] = 2 if is_coupled else 1  # crops of two sizes
        expected[DIFFERENT_PICTURES] = 0 if is_coupled else 1
    expected[END_OF_TEXT] = int(model.config.model_type == "tgdi")
    passes = found.pop(PADDING, 0)
    assert found == +expected
    assert passes <= (3 if model.config.model_type == "tgdi" else 1)  # of the text


@pytest.mark.parametrize(
    "look",
    [
        lambda mask: mask.any().item(),
        lambda mask: bool(mask.any()),
        lambda mask: mask.tolist(),
        lambda mask: mask[mask],
        lambda mask: mask.nonzero(),
        lambda mask: torch.where(mask),
        lambda mask: mask.unique(),
        lambda mask: torch.equal(mask, mask),
        lambda mask: mask.cpu(),
    ],
)
def test_a_new_look_at_the_data_is_found(look, monkeypatch):
    model = tiny_model("focalmre")
    batch = tiny_batch("focalmre", model.config)
    scatter = image_tower.scatter_images

    def scatter_and_look(features, image_mask):
        look(image_mask)
        return scatter(features, image_mask)

    before = waits(model, batch)
    monkeypatch.setattr("mmre.modeling.modeling_focalmre.scatter_images", scatter_and_look)
    assert waits(model, batch).total() > before.total()
