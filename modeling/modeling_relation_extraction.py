"""Bases of the models: pretrained encoders, states of the two entities, the loss."""

import copy

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel

from .configuration_relation_extraction import (
    MultimodalRelationExtractionConfig,
    RelationExtractionConfig,
    TextRelationExtractionConfig,
)
from .image_tower import (
    build_vision_encoder,
    existing_images,
    image_cells,
    load_vision_encoder,
    scatter_images,
    vision_encoder_config,
)

# The label of a post that does not count in the loss, as `cross_entropy` has it.
IGNORED = -100


class RelationExtractionPreTrainedModel(PreTrainedModel):
    """Base of all models.

    The class attributes `text_encoders` and `vision_encoders` name the modules that are pretrained encoders; a model
    need not have all of them. `new_in_encoders` names modules within them that are not pretrained: where an encoder is
    frozen or has adapters, they are trained in full all the same.
    """

    config: RelationExtractionConfig
    input_modalities = ("text",)
    text_encoders = ()
    vision_encoders = ()
    new_in_encoders = ()
    # The Trainer passes `num_items_in_batch`, so that the loss is a true mean under gradient accumulation.
    accepts_loss_kwargs = True

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *args, output_loading_info: bool = False, **kwargs):
        """Load a model, as transformers does, and refuse a checkpoint that does not fill the model.

        transformers draws weights that a checkpoint lacks at random: each time the model would say something else.

        Args:
            pretrained_model_name_or_path: a folder, or a name on the Hub.
            output_loading_info (`bool`): return the model with a dictionary that names missing weights, and refuse
                none of them.
            args, kwargs: see [`~transformers.PreTrainedModel.from_pretrained`]; `ignore_mismatched_sizes=True` refuses
                no missing weights either.

        Raises:
            ValueError: weights are missing, or have another shape; the message names them.
        """
        ignores = kwargs.pop("ignore_mismatched_sizes", False)
        model, info = super().from_pretrained(
            pretrained_model_name_or_path,
            *args,
            output_loading_info=True,
            ignore_mismatched_sizes=ignores or not output_loading_info,  # refused below, by name
            **kwargs,
        )
        if output_loading_info:
            return model, info
        others = sorted(info["mismatched_keys"])
        if others and not ignores:
            name, found, expected = others[0]
            more = f", and {len(others) - 1} more" if len(others) > 1 else ""
            raise ValueError(
                f"The checkpoint {pretrained_model_name_or_path} does not fit {cls.__name__}: the shape of {name} is "
                f"{tuple(found)}, and {tuple(expected)} in the model{more}. `ignore_mismatched_sizes=True` draws such "
                "weights at random."
            )
        missing = sorted(info["missing_keys"])
        if missing and not ignores:
            names = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
            raise ValueError(
                f"The checkpoint {pretrained_model_name_or_path} does not fill {cls.__name__}: it lacks {names}, which "
                "would be drawn at random. Is the file complete? `output_loading_info=True` loads it all the same."
            )
        return model

    @classmethod
    def _check_names(cls, config: dict) -> None:
        unknown = sorted(set(config) - set(cls.config_class.__dataclass_fields__) - {"num_labels"})
        if unknown:
            raise TypeError(f"`{cls.config_class.__name__}` has no argument {', '.join(map(repr, unknown))}.")

    @property
    def has_picture_attention(self) -> bool:
        """Tell whether the model, as configured, has an attention to pictures, for `picture_attention`."""
        return False

    def encoders(self, modality: str | None = None) -> list[nn.Module]:
        """Return the pretrained encoders: those of `modality`, `"text"` or `"vision"`, or all."""
        names = {
            "text": self.text_encoders,
            "vision": self.vision_encoders,
            None: self.text_encoders + self.vision_encoders,
        }[modality]
        return [module for name, module in self.named_children() if name in names]

    def train(self, mode: bool = True) -> "RelationExtractionPreTrainedModel":
        """Set the training mode; an encoder without a trainable parameter of its own stays in evaluation mode.

        Such an encoder has no dropout, and the statistics of its batch normalisation stay as they are.
        """
        super().train(mode)
        new = {id(weight) for name in self.new_in_encoders for weight in self.get_submodule(name).parameters()}
        for encoder in self.encoders():
            if not any(weight.requires_grad for weight in encoder.parameters() if id(weight) not in new):
                encoder.eval()
        return self


class TextRelationExtractionPreTrainedModel(RelationExtractionPreTrainedModel):
    """Base of the models with a pretrained text encoder, `text_model`."""

    config: TextRelationExtractionConfig
    text_encoders = ("text_model",)
    supports_gradient_checkpointing = True
    # The encoders attend with whatever attention they support.
    _supports_sdpa = True
    _supports_attention_backend = True

    @classmethod
    def _can_set_attn_implementation(cls) -> bool:
        # The encoders can. transformers guesses from the source of this class's file.
        return True

    @classmethod
    def from_encoders(cls, text: str, *, vocab_size: int, **config) -> "TextRelationExtractionPreTrainedModel":
        """Build a model around a pretrained text encoder; all else is new.

        Args:
            text (`str`): name on the Hub or path of the text encoder.
            vocab_size (`int`): `len(processor.tokenizer)`, the vocabulary with the entity markers; the token
                embeddings grow to it.
            config: further values of the model's configuration, for example `id2label` and `label2id`.

        Returns:
            The model, in float32 and in evaluation mode.

        Raises:
            TypeError: if `config` has a name that the configuration does not know.
        """
        cls._check_names(config)
        text_config, text_encoder = _load_text_encoder(text)
        model = cls(cls.config_class(text_config=text_config, **config))
        model._load_encoders(text=text_encoder)
        return model._with_vocabulary(vocab_size).eval()

    def _build_encoders(self) -> None:
        # The whole model has one dtype, whatever the encoders' configurations say.
        self.text_model = AutoModel.from_config(self.config.text_config, dtype=torch.get_default_dtype())

    def _load_encoders(self, **pretrained: PreTrainedModel) -> None:
        """Copy the weights of the pretrained encoder of each modality.

        Put in place, they would bring configurations of their own.
        """
        for modality, encoder in pretrained.items():
            weights = encoder.state_dict()
            for module in self.encoders(modality):
                module.load_state_dict({name: weights[name] for name in module.state_dict()})

    def _with_vocabulary(self, vocab_size: int) -> "TextRelationExtractionPreTrainedModel":
        if vocab_size > self.config.text_config.vocab_size:
            self.resize_token_embeddings(vocab_size)
        return self

    def get_input_embeddings(self) -> nn.Module:
        return self.text_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module):
        self.text_model.set_input_embeddings(value)


class MultimodalRelationExtractionPreTrainedModel(TextRelationExtractionPreTrainedModel):
    """Base of the models with a pretrained text encoder and a pretrained vision encoder, `vision_model`."""

    config: MultimodalRelationExtractionConfig
    input_modalities = ("image", "text")
    vision_encoders = ("vision_model",)

    @classmethod
    def from_encoders(
        cls, text: str, vision: str, *, vocab_size: int, **config
    ) -> "MultimodalRelationExtractionPreTrainedModel":
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
        cls._check_names(config)
        text_config, text_encoder = _load_text_encoder(text)
        vision_config = vision_encoder_config(vision)
        model = cls(cls.config_class(text_config=text_config, vision_config=vision_config, **config))
        vision_encoder = load_vision_encoder(vision, model.config.vision_config, model.config.vision_features)
        model._load_encoders(text=text_encoder, vision=vision_encoder)
        return model._with_vocabulary(vocab_size).eval()

    def _build_encoders(self) -> None:
        super()._build_encoders()
        features = self.config.vision_features
        self.vision_model = build_vision_encoder(self.config.vision_config, features, torch.get_default_dtype())

    def _encode_cells(
        self, pixel_values: torch.Tensor | None, image_mask: torch.Tensor | None, shape: tuple[int, int], slots: str
    ) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """Encode the pictures that exist, in one call.

        Args:
            pixel_values: (B, slots, 3, H, W), or none.
            image_mask: (B, slots), true where a picture exists; all of them by default.
            shape: number of posts and number of slots that the model expects.
            slots: what the slots are, for the error.

        Returns:
            The patches of each slot, or the cells of its last feature map, (B, slots, P, d_v), zero where there is no
            picture; and the mask (B, slots). None and none if there is no picture at all.
        """
        images, image_mask = existing_images(pixel_values, image_mask, shape, slots, self.vision_model.dtype)
        if images is None:
            return None, None
        return scatter_images(image_cells(self.vision_model, images), image_mask), image_mask

    def set_attn_implementation(self, attn_implementation: str | dict, *args, **kwargs) -> None:
        """Set the attention of the encoders; one without attention, such as ResNet, is passed over."""
        if not isinstance(attn_implementation, dict):
            attn_implementation = dict.fromkeys(("", *self.config.sub_configs), attn_implementation)
        if self.config.vision_features == "maps" and not self.vision_model._supports_sdpa:
            attn_implementation = {k: v for k, v in attn_implementation.items() if k != "vision_config"}
        super().set_attn_implementation(attn_implementation, *args, **kwargs)


def _load_text_encoder(name: str) -> tuple[PreTrainedConfig, PreTrainedModel]:
    """Load a pretrained text encoder, its configuration apart: loading writes to a configuration."""
    config = AutoConfig.from_pretrained(name)
    return config, AutoModel.from_pretrained(name, config=copy.deepcopy(config), dtype=torch.float32)


def gather_tokens(hidden_states: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Return the hidden states at these positions: (B, T, d), (B, 2) -> (B, 2, d)."""
    return hidden_states.gather(1, positions[:, :, None].expand(-1, -1, hidden_states.shape[-1]))


def token_mask(input_ids: torch.Tensor, attention_mask: torch.Tensor | None) -> torch.Tensor:
    """Return the mask (B, T), true on tokens: without one, there is no padding."""
    return torch.ones_like(input_ids, dtype=torch.bool) if attention_mask is None else attention_mask.bool()


def relation_loss(
    logits: torch.Tensor, labels: torch.Tensor | None, num_items_in_batch: torch.Tensor | int | None
) -> torch.Tensor | None:
    """Return the cross-entropy, a mean over these posts or over `num_items_in_batch`; none without labels.

    Raises:
        ValueError: a label is no id of a relation, nor the -100 of a post that does not count. On a GPU torch finds it.
    """
    if labels is None:
        return None
    # On a GPU the look at the labels would have to wait for all that was asked of it before.
    if labels.device.type == "cpu" and not torch.compiler.is_compiling():
        wrong = labels[((labels < 0) & (labels != IGNORED)) | (labels >= logits.shape[-1])]
        if len(wrong):
            raise ValueError(
                f"`labels` holds {wrong[0].item()}; expected the id of a relation, 0 to {logits.shape[-1] - 1}: the "
                "model's relations are in `config.id2label`."
            )
    if num_items_in_batch is None:
        return nn.functional.cross_entropy(logits.float(), labels)
    return nn.functional.cross_entropy(logits.float(), labels, reduction="sum") / num_items_in_batch


__all__ = [
    "MultimodalRelationExtractionPreTrainedModel",
    "RelationExtractionPreTrainedModel",
    "TextRelationExtractionPreTrainedModel",
]
