"""Two encoders side by side: layers that read each other's keys and values, crops of two sizes in one row of patches.

Dimensions: B posts, T tokens, R regions, S = 1 + patches of all crops, N images that exist in the batch, d the text
encoder's hidden size, d_v the vision encoder's; of one encoder, D is its own hidden size and E the other one's.
"""

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from .configuration_coupled_encoders import CoupledRelationExtractionConfig
from .image_tower import checked_image_mask, existing_images, scatter_images
from .prefix_attention import PREFIX_ATTENTIONS, PrefixRelationExtractionPreTrainedModel, prepend
from .text_layers import check_layered

# What a vision encoder's class token, and its table of positions, may be called.
CLASS_TOKENS = ("class_embedding", "cls_token")
POSITIONS = ("position_embedding", "position_embeddings")
CANNOT_BE_COUPLED = (
    "The layers of {} cannot be coupled to another encoder's: their attention must go through transformers' attention "
    "interface, with the keyword arguments that they are given, and have keys as wide as their states. Those of BERT, "
    "RoBERTa and ELECTRA do, and of CLIP, ViT, DeiT and DINOv2."
)


class Exchange:
    """Keys and values that one layer attends to before its own tokens, and those that it leaves for the other encoder.

    Args:
        keys_values: keys and values (B, L, D), or none for a layer that attends to its own tokens alone.
        mask: (B, L), true where they may be attended.
    """

    def __init__(self, keys_values: tuple[torch.Tensor, torch.Tensor] | None = None, mask: torch.Tensor | None = None):
        self.keys_values = keys_values
        self.mask = mask
        self.own: tuple[torch.Tensor, torch.Tensor] | None = None
        # How much the layer's tokens attend to these (B, T, L), if it is a list.
        self.weights: list[torch.Tensor] | None = None

    def extend(
        self,
        module: nn.Module,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None,
        length: int,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Keep a layer's keys and values (B, heads, T, D / heads), and put those of the other encoder before them."""
        self.own = key.transpose(1, 2).flatten(2), value.transpose(1, 2).flatten(2)  # (B, T, D)
        if self.keys_values is None:
            return key, value, attention_mask
        return prepend(*self.keys_values, self.mask, key, value, attention_mask, length)


def fit(other_size: int, size: int) -> nn.Module:
    """Return a linear layer from one encoder's size to the other's; of one size they need none."""
    return nn.Identity() if other_size == size else nn.Linear(other_size, size, bias=False)


class Bridge(nn.Module):
    """The way of keys and values from one encoder to a layer of the other.

    Args:
        other_size (`int`): E, of the encoder that they come from.
        size (`int`): D, of the encoder that reads them.
    """

    def __init__(self, other_size: int, size: int):
        super().__init__()
        self.key = fit(other_size, size)
        self.value = fit(other_size, size)

    def forward(self, keys: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return keys and values (B, L, D), for those of the other encoder (B, L, E)."""
        return self.key(keys), self.value(values)


class CropEmbedding(nn.Module):
    """The first states of the vision encoder: its class token, then the patches of all crops of a post, in one row.

    The patches have positions of their own, in the row; the encoder's table of positions, of one whole picture, is not
    read.
    """

    def __init__(self, config: CoupledRelationExtractionConfig):
        super().__init__()
        size, grounded = config.vision_config.hidden_size, config.num_grounded_regions
        self.groups = [(slice(grounded), config.grounded_grid_size), (slice(grounded, None), config.detected_grid_size)]
        self.grounded_positions = nn.Embedding(grounded * config.grounded_grid_size**2, size)
        self.detected_positions = nn.Embedding(config.num_detected_regions * config.detected_grid_size**2, size)

    def forward(
        self, vision_model: PreTrainedModel, pixel_values: torch.Tensor, image_mask: torch.Tensor
    ) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """Embed crops (B, R, 3, H, W), with their mask (B, R).

        Returns:
            The states (B, S, d_v), and their mask (B, S), true where a post has a picture; at the class token where it
            has any. Neither if there is no picture at all.
        """
        body = _body(vision_model)
        class_token = _named(body.embeddings, CLASS_TOKENS).reshape(1, 1, -1)
        states = [class_token.expand(image_mask.shape[0], -1, -1)]
        masks = [image_mask.any(dim=1, keepdim=True)]
        has_picture = False
        for (slots, grid), positions in zip(self.groups, (self.grounded_positions, self.detected_positions)):
            if positions.num_embeddings:
                group_mask = image_mask[:, slots]
                patches = self._patches(_convolution(body), pixel_values[:, slots], group_mask, grid)
                if patches is None:
                    patches = class_token.new_zeros(image_mask.shape[0], 1, 1)
                else:
                    has_picture = True
                states.append(patches + positions.weight)
                masks.append(group_mask.repeat_interleave(grid**2, dim=1))
        if not has_picture:
            return None, None
        # CLIP norms its first states; the name is CLIP's.
        norm = getattr(body, "pre_layrnorm", nn.Identity())
        return norm(torch.cat(states, dim=1)), torch.cat(masks, dim=1)

    def by_slot(self, weights: torch.Tensor) -> torch.Tensor:
        """Sum weights (B, S) of class token and patches over the patches of each crop: (B, R)."""
        sums, start = [], 1
        for (_, grid), positions in zip(self.groups, (self.grounded_positions, self.detected_positions)):
            end = start + positions.num_embeddings
            sums.append(weights[:, start:end].unflatten(1, (-1, grid**2)).sum(dim=2) if end > start else weights[:, :0])
            start = end
        return torch.cat(sums, dim=1)

    @staticmethod
    def _patches(
        convolution: nn.Conv2d, pixel_values: torch.Tensor, image_mask: torch.Tensor, grid: int
    ) -> torch.Tensor | None:
        """Return the patches of crops that are scaled to `grid` x `grid` of them, (B, slots * grid^2, d_v); or none."""
        shape = tuple(image_mask.shape)
        # CPUs scale no picture in half precision.
        dtype = torch.promote_types(convolution.weight.dtype, torch.float32)
        images, image_mask = existing_images(pixel_values, image_mask, shape, "", dtype)
        if images is None:
            return None
        height, width = convolution.kernel_size
        size = (grid * height, grid * width)
        images = nn.functional.interpolate(images, size=size, mode="bilinear", antialias=True)
        patches = convolution(images.to(convolution.weight.dtype)).flatten(2).transpose(1, 2)  # (N, grid^2, d_v)
        return scatter_images(patches, image_mask).flatten(1, 2)


class CoupledRelationExtractionPreTrainedModel(PrefixRelationExtractionPreTrainedModel):
    """Base of the models that run the layers of their two encoders by turns."""

    config: CoupledRelationExtractionConfig
    prefixed = ("text_config", "vision_config")

    def _build_encoders(self) -> None:
        try:
            super()._build_encoders()
        except KeyError as error:  # an encoder that looks its attention up in a list of its own
            if error.args[0] not in PREFIX_ATTENTIONS.values():
                raise
            kinds = " or ".join(getattr(self.config, name).model_type for name in self.prefixed)
            raise ValueError(CANNOT_BE_COUPLED.format(kinds)) from error
        check_layered(self.text_model)
        _check_vision_layers(self.vision_model)
        for encoder, layers in ((self.text_model, self.text_layers), (self.vision_model, self.vision_layers)):
            _check_exchange(encoder, layers[0])
        self.crop_embedding = CropEmbedding(self.config)

    def post_init(self) -> None:
        """Finish as every model does; to what shares a model out (FSDP), it is one piece.

        Its layers hand keys and values to each other beside what they return, where no such tool sees them, and of the
        vision encoder's embeddings only parts are called.
        """
        super().post_init()
        self._no_split_modules = {type(self).__name__}

    @property
    def text_layers(self) -> list[nn.Module]:
        """Return the text encoder's layers."""
        return list(self.text_model.encoder.layer)

    @property
    def vision_layers(self) -> list[nn.Module]:
        """Return the vision encoder's layers."""
        return list(_layers(self.vision_model))

    def _embed_crops(
        self, pixel_values: torch.Tensor | None, image_mask: torch.Tensor | None, batch_size: int
    ) -> tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor | None]:
        """Return what the first vision layer reads.

        Returns:
            The states (B, S, d_v); their mask (B, S), true where a post has a picture; and the mask that the layers
            want (B, 1, S, S). None of them if there is no picture at all.
        """
        shape = batch_size, self.config.num_slots
        image_mask = checked_image_mask(pixel_values, image_mask, shape, "grounded, then detected regions")
        if image_mask is None:
            return None, None, None
        states, mask = self.crop_embedding(self.vision_model, pixel_values, image_mask)
        if states is None:
            return None, None, None
        # A softmax over nothing is not a number; nobody reads the states of a post without a picture.
        attended = (mask | ~mask.any(dim=1, keepdim=True))[:, None, None, :]
        return states, mask, attended.expand(-1, -1, states.shape[1], -1)


def _body(vision_model: PreTrainedModel) -> nn.Module:
    """Return the module with embeddings and layers: in earlier transformers CLIP's tower is a model around it."""
    return getattr(vision_model, "vision_model", vision_model)


def _named(module: nn.Module, names: tuple[str, ...]) -> nn.Module | torch.Tensor | None:
    """Return the first of these attributes that a module has and that is not none."""
    return next((value for name in names if (value := getattr(module, name, None)) is not None), None)


def _convolution(body: nn.Module) -> nn.Conv2d | None:
    """Return the convolution that makes patches."""
    return next((module for module in body.embeddings.modules() if isinstance(module, nn.Conv2d)), None)


def _layers(vision_model: PreTrainedModel) -> nn.ModuleList | None:
    """Return the layers of a vision encoder."""
    lists = [module for module in _body(vision_model).modules() if isinstance(module, nn.ModuleList)]
    return next((each for each in lists if len(each) and isinstance(each[0], GradientCheckpointingLayer)), None)


def _check_vision_layers(encoder: PreTrainedModel) -> None:
    """Refuse a vision encoder that is not patches, a class token and positions, and then a list of layers.

    Raises:
        ValueError: if it is built in another way than CLIP's.
    """
    body = _body(encoder)
    embeddings = getattr(body, "embeddings", None)
    if (
        embeddings is None
        or _convolution(body) is None
        or _layers(encoder) is None
        or any(_named(embeddings, names) is None for names in (CLASS_TOKENS, POSITIONS))
    ):
        raise ValueError(
            f"The vision encoder {type(encoder).__name__} cannot be run layer by layer on crops: it must have patches, "
            "a class token and a table of positions, and layers, as CLIP has. CLIP, ViT, DeiT and DINOv2 do."
        )


@torch.no_grad()
def _check_exchange(encoder: PreTrainedModel, layer: nn.Module) -> None:
    """Refuse an encoder whose layers keep their keys and values for themselves.

    Raises:
        ValueError: if a layer does not hand an [`Exchange`] on to transformers' attention interface.
    """
    exchange, training = Exchange(), layer.training
    weight = next(layer.parameters())
    layer.eval()(weight.new_zeros(1, 1, encoder.config.hidden_size), None, prefix=exchange)
    layer.train(training)
    if exchange.own is None or exchange.own[0].shape[-1] != encoder.config.hidden_size:
        raise ValueError(CANNOT_BE_COUPLED.format(type(encoder).__name__))
