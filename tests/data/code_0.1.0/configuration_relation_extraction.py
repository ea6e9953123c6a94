"""What the configurations of all models here have in common: two towers and a set of relations."""

from huggingface_hub.dataclasses import strict
from transformers import CONFIG_MAPPING, AutoConfig, PreTrainedConfig
from transformers.pipelines import PIPELINE_REGISTRY

# Attributes of the configurations of encoders that do not give the same row of patches on every level.
NOT_VIT_LIKE = {
    "depths": "is a pyramid, whose levels differ in width and number of patches",
    "window_block_indices": "gives maps, not rows of patches",
    "global_attn_indexes": "gives maps, not rows of patches",
    "mask_ratio": "hides patches at random",
    "num_detection_tokens": "puts detection tokens after the patches",
    "num_patches": "needs the shape of each image beside its patches",
}

PIPELINE = "multimodal-relation-extraction"


@strict
class RelationExtractionConfig(PreTrainedConfig):
    """Base of the configurations of models with a text encoder and a vision encoder.

    Args:
        text_config (`dict` or `PreTrainedConfig`, *optional*): the text encoder; BERT-base-uncased by default.
        vision_config (`dict` or `PreTrainedConfig`, *optional*): a ViT-like vision encoder; CLIP ViT-B/32 by default.
        initializer_range (`float`): standard deviation of the new layers' initial weights.

    Raises:
        StrictDataclassError: (of `huggingface_hub`) if a value has the wrong type, or an encoder cannot be a tower.
    """

    sub_configs = {"text_config": AutoConfig, "vision_config": AutoConfig}

    text_config: dict | PreTrainedConfig | None = None
    vision_config: dict | PreTrainedConfig | None = None
    initializer_range: float | int = 0.02

    def __post_init__(self, **kwargs):
        self.text_config = _tower_config(self.text_config, "bert")
        self.vision_config = _tower_config(self.vision_config, "clip_vision_model")
        # A pipeline that is registered needs none of a repository's code; transformers would ask for trust in it.
        if PIPELINE in PIPELINE_REGISTRY.supported_tasks:
            kwargs.pop("custom_pipelines", None)
        super().__post_init__(**kwargs)

    def validate_towers(self):
        if self.text_config.is_encoder_decoder:
            raise ValueError(
                f"`text_config` must be an encoder alone, but {self.text_config.model_type!r} is an encoder-decoder."
            )
        for name, reason in NOT_VIT_LIKE.items():
            if hasattr(self.vision_config, name):
                raise ValueError(
                    f"`vision_config` must be a ViT-like encoder, but {self.vision_config.model_type!r} {reason} "
                    f"(`{name}`)."
                )
        # ConvNeXt and other pyramids have a `patch_size`, but neither one width nor a sequence of patches.
        for name in ("patch_size", "hidden_size"):
            if not hasattr(self.vision_config, name):
                raise ValueError(
                    f"`vision_config` must be a ViT-like encoder with a `{name}`, but "
                    f"{self.vision_config.model_type!r} has none."
                )


def _tower_config(values: dict | PreTrainedConfig | None, default_model_type: str) -> PreTrainedConfig:
    """A tower's configuration as an object."""
    if values is None:
        values = {"model_type": default_model_type}
    if isinstance(values, dict):
        values = dict(values)
        return CONFIG_MAPPING[values.pop("model_type", default_model_type)](**values)
    return values


__all__ = ["RelationExtractionConfig"]
