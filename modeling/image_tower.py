"""The vision encoder and the images that it is given: only those that exist are encoded.

Dimensions: B posts, N images that exist in the batch, P patches, d_v the vision encoder's hidden size.
"""

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import nn
from torch.utils._pytree import tree_map
from transformers import AutoBackbone, AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_BACKBONE_MAPPING
from transformers.utils import ModelOutput, is_torchdynamo_exporting

# While a program is exported that is given each picture once: these, and the number of each slot's picture.
_given_once: ContextVar[tuple[torch.Tensor, torch.Tensor] | None] = ContextVar("given_once", default=None)


@contextmanager
def pictures_given_once(pictures: torch.Tensor, picture_index: torch.Tensor) -> Iterator[None]:
    """Have an exported program encode these pictures alone, in place of those of all slots.

    Args:
        pictures: (D, 3, H, W), the different ones of the batch; at least one.
        picture_index: (B, slots), the number of each slot's picture; of an absent one any.
    """
    token = _given_once.set((pictures, picture_index))
    try:
        yield
    finally:
        _given_once.reset(token)


def build_vision_encoder(config: PreTrainedConfig, features: str, dtype: torch.dtype) -> PreTrainedModel:
    """Build a vision encoder with random weights.

    Args:
        config: the encoder's configuration.
        features: `"patches"`, an encoder whose hidden states are rows of patches; or `"maps"`, one whose output has
            `feature_maps`, those of the stages in its configuration's `out_features`.
        dtype: of its weights.
    """
    if features == "patches":
        return AutoModel.from_config(config, dtype=dtype)
    if not MODEL_FOR_BACKBONE_MAPPING[type(config)]._supports_sdpa:
        config._attn_implementation = "eager"  # Whatever attention the model is asked for: this encoder has none.
    return AutoBackbone.from_config(config, dtype=dtype)


def vision_encoder_config(name: str) -> PreTrainedConfig:
    """Load the configuration of a pretrained vision encoder.

    Args:
        name: name on the Hub or path; of a model with two towers (CLIP, SigLIP) its vision tower is taken.
    """
    config = AutoConfig.from_pretrained(name)
    return getattr(config, "vision_config", config)


def load_vision_encoder(name: str, config: PreTrainedConfig, features: str) -> PreTrainedModel:
    """Load a pretrained vision encoder.

    Args:
        name: name on the Hub or path; of a model with two towers (CLIP, SigLIP) its vision tower is taken.
        config: its configuration, with the `out_features` that the model reads. It stays as it is: loading writes to a
            copy.
        features: `"patches"` or `"maps"`, as in `build_vision_encoder`.
    """
    # `AutoBackbone.from_pretrained` asks the Hub first, and knows no folder.
    vision_class = AutoModel if features == "patches" else MODEL_FOR_BACKBONE_MAPPING[type(config)]
    return vision_class.from_pretrained(name, config=copy.deepcopy(config), dtype=torch.float32)


def existing_images(
    pixel_values: torch.Tensor | None,
    image_mask: torch.Tensor | None,
    shape: tuple[int, int],
    slots: str,
    dtype: torch.dtype,
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Return the images that exist.

    An exported program has no shape that depends on its data, so while a model is exported these are the images of all
    slots, absent ones as zero images, and what comes of those is left out by the mask alone; or the images of
    [`pictures_given_once`], which what comes of them is put into the slots of.

    Args:
        pixel_values: (B, slots, 3, H, W), or none.
        image_mask: (B, slots), true where an image exists; all of them by default.
        shape: number of posts and number of slots that the model expects.
        slots: what the slots are, for the error.
        dtype: of the vision encoder.

    Returns:
        The existing images (N, 3, H, W) and the mask (B, slots); none and none if there is no image at all. While
        exporting, N = B slots, also without any image, or the number of images that are given once.

    Raises:
        ValueError: if `pixel_values` has another number of slots than the model, or is not there though the mask says
            that there are images.
    """
    image_mask = checked_image_mask(pixel_values, image_mask, shape, slots)
    if image_mask is None:
        return None, None
    if is_torchdynamo_exporting() and _given_once.get() is not None:
        return _given_once.get()[0].to(dtype), image_mask
    if is_torchdynamo_exporting():
        # Zero, for what stands in absent slots may be anything, and NaN would pass a mask that multiplies.
        images = torch.where(image_mask[:, :, None, None, None], pixel_values, 0.0)
        return images.flatten(0, 1).to(dtype), image_mask
    # One look at the mask, for which a GPU is waited for: it says at once whether there are pictures, and which.
    existing = image_mask.flatten().nonzero().squeeze(1)
    if len(existing) == 0:
        return None, None
    return pixel_values.flatten(0, 1)[existing].to(dtype), image_mask


def checked_image_mask(
    pixel_values: torch.Tensor | None, image_mask: torch.Tensor | None, shape: tuple[int, int], slots: str
) -> torch.Tensor | None:
    """Return the mask of the images (B, slots), none without `pixel_values`; arguments are those of `existing_images`.

    Raises:
        ValueError: as of `existing_images`.
    """
    if pixel_values is None:
        if image_mask is not None and not is_torchdynamo_exporting() and image_mask.any():
            raise ValueError("`image_mask` says that there are images, but `pixel_values` is None.")
        return None
    if pixel_values.shape[:2] != shape:
        raise ValueError(
            f"`pixel_values` must have shape (batch, slots, 3, height, width) with {shape[0]} posts and {shape[1]} "
            f"slots ({slots}), but its shape is {tuple(pixel_values.shape)}. Give the processor the model's numbers."
        )
    if image_mask is not None and image_mask.shape != shape:
        raise ValueError(f"`image_mask` must have shape {shape}, but its shape is {tuple(image_mask.shape)}.")
    return given_image_mask(pixel_values, image_mask, shape)


def given_image_mask(
    pixel_values: torch.Tensor | None, image_mask: torch.Tensor | None, shape: tuple[int, int]
) -> torch.Tensor:
    """Return the mask of the images (B, slots): without one all of `pixel_values` exist, without these no image."""
    if image_mask is not None:
        return image_mask.bool()
    if pixel_values is None:
        return torch.zeros(shape, dtype=torch.bool)
    return pixel_values.new_ones(shape, dtype=torch.bool)


def given_boxes(boxes: torch.Tensor | None, image_mask: torch.Tensor) -> torch.Tensor:
    """Return the boxes of the pictures (B, slots, 4), zero for absent ones, where anything may stand.

    Raises:
        ValueError: if there are none, or they have another shape.
    """
    if boxes is None:
        raise ValueError("There are pictures, but `boxes` is None: this model reads what part of the picture each is.")
    if boxes.shape != (*image_mask.shape, 4):
        raise ValueError(f"`boxes` must have shape {(*image_mask.shape, 4)}, but its shape is {tuple(boxes.shape)}.")
    return torch.where(image_mask[..., None], boxes, 0.0)


def patch_grid(images: torch.Tensor, patch_size: int | list[int]) -> tuple[int, int]:
    """Return how many patches images (N, 3, H, W) have from top to bottom, and from left to right."""
    height, width = (patch_size, patch_size) if isinstance(patch_size, int) else patch_size
    return images.shape[-2] // height, images.shape[-1] // width


def select_patches(features: torch.Tensor, images: torch.Tensor, patch_size: int | list[int]) -> torch.Tensor:
    """Drop the class token and registers before the patches: (N, special tokens + P, d_v) -> (N, P, d_v).

    Raises:
        ValueError: if the vision encoder did not give a row of patches for each image.
    """
    num_patches = math.prod(patch_grid(images, patch_size))
    if features.dim() != 3 or features.shape[0] != images.shape[0] or features.shape[1] < num_patches:
        raise ValueError(
            f"The vision encoder must be ViT-like: for {images.shape[0]} images it should give features of shape "
            f"({images.shape[0]}, {num_patches} patches or more, width), but it gave {tuple(features.shape)}."
        )
    return features[:, -num_patches:]


def scatter_images(features: torch.Tensor, image_mask: torch.Tensor) -> torch.Tensor:
    """Put what came of the `existing_images` (N, ...) into their slots: (B, slots, ...), zero elsewhere."""
    if not is_torchdynamo_exporting():
        # By each slot's place among the images: torch.compile cannot differentiate `images[image_mask] = features`.
        features = features[(image_mask.flatten().cumsum(0) - 1).clamp(min=0)]
    elif _given_once.get() is not None:
        features = features[_given_once.get()[1].flatten()]
    images = features.unflatten(0, image_mask.shape)
    return torch.where(image_mask.view(*image_mask.shape, *(1,) * (images.dim() - 2)), images, 0.0)


def encode_images(vision_model: PreTrainedModel, images: torch.Tensor, **arguments) -> ModelOutput:
    """Encode images, each different one once: posts share pictures, and a picture without regions fills several slots.

    Equal are images of the same bits. All are encoded while the encoder treats an image by chance or by its neighbours
    (in training with dropout, or with statistics of the batch), and where gradients are asked of the images themselves.

    Args:
        vision_model: the vision encoder.
        images: (N, 3, H, W).
        arguments: further ones of its `forward`.

    Returns:
        What the vision encoder returns for all N images.
    """
    if images.shape[0] < 2 or images.requires_grad or is_torchdynamo_exporting() or _mixes_images(vision_model):
        return vision_model(pixel_values=images, **arguments)
    first, index = different_images(images)
    if len(first) == len(images):
        return vision_model(pixel_values=images, **arguments)
    outputs = vision_model(pixel_values=images[first], **arguments)
    return tree_map(lambda value: value[index] if isinstance(value, torch.Tensor) else value, outputs)


def different_images(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Find the different ones among images, those of other bits.

    Args:
        images: (N, 3, H, W), at least one.

    Returns:
        The number of the first image of each kind (D,), and the kind of each image (N,): `images[first][index]` are the
        images.
    """
    bits = images.flatten(1).view({2: torch.int16, 4: torch.int32, 8: torch.int64}[images.element_size()])
    different, index = torch.unique(bits, dim=0, return_inverse=True)  # bits, for NaN is not equal to itself
    first = index.new_full((len(different),), len(images))
    return first.scatter_reduce(0, index, torch.arange(len(images), device=index.device), "amin"), index


def _mixes_images(vision_model: PreTrainedModel) -> bool:
    """Return whether what comes of an image depends on chance, or on the other images."""
    if not vision_model.training:
        return False
    if any(
        isinstance(value, float) and value > 0
        for name, value in vision_model.config.to_dict().items()
        if "drop" in name
    ):
        return True
    return any(
        (isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0)
        or (isinstance(module, nn.modules.batchnorm._NormBase) and module.training)
        for module in vision_model.modules()
    )


def image_cells(vision_model: PreTrainedModel, images: torch.Tensor) -> torch.Tensor:
    """Encode images (N, 3, H, W) to rows of patches, or of cells of the last feature map: (N, P, d_v)."""
    outputs = encode_images(vision_model, images)
    if hasattr(vision_model, "channels"):  # of `AutoBackbone`
        return outputs.feature_maps[-1].flatten(2).transpose(1, 2)
    return select_patches(outputs.last_hidden_state, images, vision_model.config.patch_size)


def cell_size(vision_model: PreTrainedModel) -> int:
    """Return d_v, the size of a patch's state, or of a cell of the last feature map."""
    return vision_model.channels[-1] if hasattr(vision_model, "channels") else vision_model.config.hidden_size
