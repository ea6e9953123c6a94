"""Configuration of FocalMRE."""

from typing import Literal

from huggingface_hub.dataclasses import strict
from transformers import CONFIG_MAPPING, AutoConfig, PreTrainedConfig


@strict
class FocalMREConfig(PreTrainedConfig):
    """Configuration of [`FocalMREForRelationClassification`]. The defaults are the paper's system.

    Args:
        text_config (`dict` or `PreTrainedConfig`, *optional*): the text encoder; BERT-base-uncased by default.
        vision_config (`dict` or `PreTrainedConfig`, *optional*): a ViT-like vision encoder; CLIP ViT-B/32 by default.
        num_grounded_regions (`int`): VG_n, the slots for regions found by visual grounding.
        num_detected_regions (`int`): OD_n, the slots for regions found by object detection.
        share_region_weights (`bool`): whether all slots share one focal attention and one gate.
        use_focal_attention (`bool`): if false, every token gets the mean of the projected patches
            (Table 3, "w/o Focal Attention").
        use_gate (`bool`): if false, text and image are added (Table 3, "w/o Gating").
        region_weighting (`str`): `"softmax"`, a weighted average over the regions that exist; or `"raw"`, the official
            code's weighted sum: weights start at one, and the slots without a region count, as zero images.
        vision_feature_select_strategy (`str`): `"default"`, the patches alone; or `"full"`, the class token (and any
            register tokens) too, as in the official code.
        classifier_hidden_sizes (`tuple[int]`): widths of the classifier's hidden layers; none by default.
        focal_dropout (`float`): dropout on the focal attention's weights and on both of its inputs.
        initializer_range (`float`): standard deviation of the new layers' initial weights.

    Raises:
        StrictDataclassError: (of `huggingface_hub`) if a value has the wrong type or is out of range, or an encoder
            cannot serve as a tower.
    """

    model_type = "focalmre"
    sub_configs = {"text_config": AutoConfig, "vision_config": AutoConfig}

    text_config: dict | PreTrainedConfig | None = None
    vision_config: dict | PreTrainedConfig | None = None
    num_grounded_regions: int = 4
    num_detected_regions: int = 3
    share_region_weights: bool = False
    use_focal_attention: bool = True
    use_gate: bool = True
    region_weighting: Literal["softmax", "raw"] = "softmax"
    vision_feature_select_strategy: Literal["default", "full"] = "default"
    classifier_hidden_sizes: tuple[int, ...] | list[int] = ()
    focal_dropout: float | int = 0.1
    initializer_range: float | int = 0.02

    def __post_init__(self, **kwargs):
        self.text_config = _tower_config(self.text_config, "bert")
        self.vision_config = _tower_config(self.vision_config, "clip_vision_model")
        super().__post_init__(**kwargs)

    def validate_architecture(self):
        for name in ("num_grounded_regions", "num_detected_regions"):
            if getattr(self, name) < 0:
                raise ValueError(f"`{name}` must not be negative, got {getattr(self, name)}.")
        if any(size < 1 for size in self.classifier_hidden_sizes):
            raise ValueError(f"`classifier_hidden_sizes` must be positive, got {self.classifier_hidden_sizes}.")
        if not 0 <= self.focal_dropout < 1:
            raise ValueError(f"`focal_dropout` must be in [0, 1), got {self.focal_dropout}.")
        if self.text_config.is_encoder_decoder:
            raise ValueError(
                f"`text_config` must be an encoder alone, but {self.text_config.model_type!r} is an encoder-decoder."
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
        values = CONFIG_MAPPING[values.pop("model_type", default_model_type)](**values)
    return values


__all__ = ["FocalMREConfig"]
