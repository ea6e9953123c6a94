"""Base of the configurations of systems whose two encoders run side by side, layer by layer."""

from huggingface_hub.dataclasses import strict

from .configuration_relation_extraction import RegionRelationExtractionConfig


@strict
class CoupledRelationExtractionConfig(RegionRelationExtractionConfig):
    """Base of the configurations of systems that couple the layers of their two encoders. The defaults are the papers'.

    Args:
        text_config (`dict` or `PreTrainedConfig`, *optional*): the text encoder; BERT-base-uncased by default. It must
            be built as BERT is: BERT, RoBERTa, ELECTRA.
        vision_config (`dict` or `PreTrainedConfig`, *optional*): the vision encoder; CLIP ViT-B/32 by default. It must
            be built as CLIP's or ViT's is: CLIP, ViT, DeiT, DINOv2.
        num_grounded_regions (`int`): slots for regions found by visual grounding.
        num_detected_regions (`int`): slots for regions found by object detection.
        grounded_grid_size (`int`): patches of the crop of a grounded region from side to side; it is scaled to so many.
        detected_grid_size (`int`): patches of the crop of a detected region from side to side.
        initializer_range (`float`): standard deviation of the new layers' initial weights.

    Raises:
        StrictDataclassError: (of `huggingface_hub`) if a value has the wrong type or is out of range, or an encoder
            cannot be used.
    """

    num_grounded_regions: int = 3
    num_detected_regions: int = 3
    grounded_grid_size: int = 4
    detected_grid_size: int = 2

    def validate_crops(self):
        for name in ("grounded_grid_size", "detected_grid_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be positive, got {getattr(self, name)}.")


__all__ = ["CoupledRelationExtractionConfig"]
