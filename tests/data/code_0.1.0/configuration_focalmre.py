"""Configuration of FocalMRE."""

from typing import Literal

from huggingface_hub.dataclasses import strict

from .configuration_relation_extraction import RelationExtractionConfig


@strict
class FocalMREConfig(RelationExtractionConfig):
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

    num_grounded_regions: int = 4
    num_detected_regions: int = 3
    share_region_weights: bool = False
    use_focal_attention: bool = True
    use_gate: bool = True
    region_weighting: Literal["softmax", "raw"] = "softmax"
    vision_feature_select_strategy: Literal["default", "full"] = "default"
    classifier_hidden_sizes: tuple[int, ...] | list[int] = ()
    focal_dropout: float | int = 0.1

    def validate_architecture(self):
        for name in ("num_grounded_regions", "num_detected_regions"):
            if getattr(self, name) < 0:
                raise ValueError(f"`{name}` must not be negative, got {getattr(self, name)}.")
        if any(size < 1 for size in self.classifier_hidden_sizes):
            raise ValueError(f"`classifier_hidden_sizes` must be positive, got {self.classifier_hidden_sizes}.")
        if not 0 <= self.focal_dropout < 1:
            raise ValueError(f"`focal_dropout` must be in [0, 1), got {self.focal_dropout}.")


__all__ = ["FocalMREConfig"]
