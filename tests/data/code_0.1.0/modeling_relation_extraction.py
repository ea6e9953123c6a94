"""What all models here have in common: two towers, the images that exist, the loss."""

import copy

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, PreTrainedModel
from transformers.utils import is_torchdynamo_exporting

from .configuration_relation_extraction import RelationExtractionConfig


class RelationExtractionPreTrainedModel(PreTrainedModel):
    """Base of the models with a `text_model` and a `vision_model`."""

    config: RelationExtractionConfig
    input_modalities = ("image", "text")
    supports_gradient_checkpointing = True
    # The towers attend with whatever attention they support.
    _supports_sdpa = True
    _supports_attention_backend = True
    # The Trainer passes `num_items_in_batch`, so that the loss is a true mean under gradient accumulation.
    accepts_loss_kwargs = True

    @classmethod
    def _can_set_attn_implementation(cls) -> bool:
        # The towers can. transformers guesses from the source of this class's file.
        return True

    @classmethod
    def from_encoders(cls, text: str, vision: str, *, vocab_size: int, **config) -> "RelationExtractionPreTrainedModel":
        """Build a model from two pretrained encoders; everything between them is new.

        Args:
            text (`str`): name on the Hub or path of the text encoder.
            vision (`str`): name or path of the vision encoder; of a model with two towers (CLIP, SigLIP) its vision
                tower is taken.
            vocab_size (`int`): `len(processor.tokenizer)`, the vocabulary with the entity markers; the token
                embeddings grow to it.
            config: further values of the model's configuration, for example `id2label` and `label2id`.

        Returns:
            The model, in float32 and in evaluation mode.

        Raises:
            TypeError: if `config` has a name that the configuration does not know.
        """
        config_class = cls.config_class
        unknown = sorted(set(config) - set(config_class.__dataclass_fields__) - {"num_labels"})
        if unknown:
            raise TypeError(f"`{config_class.__name__}` has no argument {', '.join(map(repr, unknown))}.")
        text_config = AutoConfig.from_pretrained(text)
        vision_config = AutoConfig.from_pretrained(vision)
        vision_config = getattr(vision_config, "vision_config", vision_config)
        # Copied, for loading writes to a configuration.
        text_encoder = AutoModel.from_pretrained(text, config=copy.deepcopy(text_config), dtype=torch.float32)
        vision_encoder = AutoModel.from_pretrained(vision, config=copy.deepcopy(vision_config), dtype=torch.float32)
        model = cls(config_class(text_config=text_config, vision_config=vision_config, **config))
        model._load_encoders(text_encoder, vision_encoder)
        if vocab_size > model.config.text_config.vocab_size:
            model.resize_token_embeddings(vocab_size)
        return model.eval()

    def _build_towers(self) -> None:
        # The whole model has one dtype, whatever the towers' configurations say.
        dtype = torch.get_default_dtype()
        self.text_model = AutoModel.from_config(self.config.text_config, dtype=dtype)
        self.vision_model = AutoModel.from_config(self.config.vision_config, dtype=dtype)

    def _load_encoders(self, text_encoder: PreTrainedModel, vision_encoder: PreTrainedModel) -> None:
        """Copy the weights of pretrained encoders: put in place, they would bring configurations of their own."""
        self.text_model.load_state_dict(text_encoder.state_dict())
        self.vision_model.load_state_dict(vision_encoder.state_dict())

    def train(self, mode: bool = True) -> "RelationExtractionPreTrainedModel":
        """Set the training mode; an encoder without a trainable parameter stays in evaluation mode, without dropout."""
        super().train(mode)
        for encoder in self.encoders():
            if not any(parameter.requires_grad for parameter in encoder.parameters()):
                encoder.eval()
        return self

    def encoders(self, modality: str | None = None) -> list[nn.Module]:
        """The pretrained encoders: those of `modality`, `"text"` or `"vision"`, or all."""
        names = {"text_model": "text", "toi_model": "text", "vision_model": "vision"}
        return [
            module for name, module in self.named_children() if modality in (None, names.get(name)) and name in names
        ]

    def get_input_embeddings(self) -> nn.Module:
        return self.text_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module):
        self.text_model.set_input_embeddings(value)

    def existing_images(
        self, pixel_values: torch.Tensor | None, mask: torch.Tensor | None, shape: tuple[int, int], slots: str
    ) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """The images that exist.

        An exported program has no shape that depends on its data, so while a model is exported these are the images of
        all slots, absent ones as zero images, and what comes of those is left out by the mask alone.

        Args:
            pixel_values: (B, slots, 3, H, W), or none.
            mask: (B, slots), true where an image exists; all of them by default.
            shape: number of posts and number of slots that the model expects.
            slots: what the slots are, for the error.

        Returns:
            The existing images (N, 3, H, W) and the mask (B, slots); none and none if there is no image at all. While
            exporting, N = B slots, also without any image.

        Raises:
            ValueError: if `pixel_values` has another number of slots than the model, or is not there though the mask
                says that there are images.
        """
        if pixel_values is None:
            if mask is not None and not is_torchdynamo_exporting() and mask.any():
                raise ValueError("The mask of the images says that there are some, but `pixel_values` is None.")
            return None, None
        if pixel_values.shape[:2] != shape:
            raise ValueError(
                f"`pixel_values` must have shape (batch, slots, 3, height, width) with {shape[0]} posts and "
                f"{shape[1]} slots ({slots}), but its shape is {tuple(pixel_values.shape)}. Give the processor the "
                "model's numbers."
            )
        if mask is not None and mask.shape != shape:
            raise ValueError(f"The mask of the images must have shape {shape}, but its shape is {tuple(mask.shape)}.")
        exists = pixel_values.new_ones(shape, dtype=torch.bool) if mask is None else mask.bool()
        if is_torchdynamo_exporting():
            # Zero, for what stands in absent slots may be anything, and NaN would pass a mask that multiplies.
            images = torch.where(exists[:, :, None, None, None], pixel_values, 0.0)
            return images.flatten(0, 1).to(self.vision_model.dtype), exists
        if not exists.any():
            return None, None
        return pixel_values[exists].to(self.vision_model.dtype), exists


def select_patches(features: torch.Tensor, images: torch.Tensor, patch_size: int | list[int]) -> torch.Tensor:
    """(N, special tokens + P, d_v) -> (N, P, d_v): without the class token and registers before the patches.

    Raises:
        ValueError: if the vision encoder did not give a row of patches for each image.
    """
    height, width = (patch_size, patch_size) if isinstance(patch_size, int) else patch_size
    num_patches = (images.shape[-2] // height) * (images.shape[-1] // width)
    if features.dim() != 3 or features.shape[0] != images.shape[0] or features.shape[1] < num_patches:
        raise ValueError(
            f"The vision encoder must be ViT-like: for {images.shape[0]} images it should give features of shape "
            f"({images.shape[0]}, {num_patches} patches or more, width), but it gave {tuple(features.shape)}."
        )
    return features[:, -num_patches:]


def scatter_images(features: torch.Tensor, exists: torch.Tensor) -> torch.Tensor:
    """(N, ...) of the `existing_images`, in the order of the mask (B, slots) -> (B, slots, ...), zero elsewhere."""
    if not is_torchdynamo_exporting():
        # By each slot's place among the images: torch.compile cannot differentiate `images[exists] = features`.
        features = features[(exists.flatten().cumsum(0) - 1).clamp(min=0)]
    images = features.unflatten(0, exists.shape)
    return torch.where(exists.view(*exists.shape, *(1,) * (images.dim() - 2)), images, 0.0)


def gather_tokens(hidden_states: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """(B, T, d), (B, 2) -> the hidden states at these positions (B, 2, d)."""
    return hidden_states.gather(1, positions[:, :, None].expand(-1, -1, hidden_states.shape[-1]))


def relation_loss(
    logits: torch.Tensor, labels: torch.Tensor | None, num_items_in_batch: torch.Tensor | int | None
) -> torch.Tensor | None:
    """Cross-entropy, a mean over these posts or over `num_items_in_batch`; none without labels."""
    if labels is None:
        return None
    if num_items_in_batch is None:
        return nn.functional.cross_entropy(logits.float(), labels)
    return nn.functional.cross_entropy(logits.float(), labels, reduction="sum") / num_items_in_batch


__all__ = ["RelationExtractionPreTrainedModel"]
