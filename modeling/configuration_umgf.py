"""Configuration of UMGF."""

from typing import Literal

from huggingface_hub.dataclasses import strict

from .configuration_relation_extraction import Paper, RegionRelationExtractionConfig
from .cross_attention import check_heads


@strict
class UMGFConfig(RegionRelationExtractionConfig):
    """Configuration of [`UMGFForRelationClassification`]. The defaults are the published code's.

    Args:
        text_config (`dict` or `PreTrainedConfig`, *optional*): the text encoder; BERT-base-uncased by default.
        vision_config (`dict` or `PreTrainedConfig`, *optional*): the vision encoder; by default ResNet-50, or CLIP
            ViT-B/32 with `vision_features="patches"`. The code's is ResNet-152.
        vision_features (`str`): what is averaged to a region's vector: `"maps"`, the cells of the last feature map of
            an encoder that `AutoBackbone` knows; or `"patches"` of a ViT-like encoder.
        num_grounded_regions (`int`): slots for regions found by visual grounding.
        num_detected_regions (`int`): slots for regions found by object detection.
        num_fusion_layers (`int`): layers of the multimodal graph.
        fusion_size (`int`): size of the graph's states.
        fusion_num_heads (`int`): heads of attention within words and within regions.
        fusion_intermediate_size (`int`): width between the two linear layers that end a layer.
        fusion_dropout (`float`): dropout within the layers that fuse words and pictures.
        initializer_range (`float`): standard deviation of the new layers' initial weights.

    Raises:
        StrictDataclassError: (of `huggingface_hub`) if a value has the wrong type or is out of range, or an encoder
            cannot be used.
    """

    model_type = "umgf"

    system = "UMGF"
    paper = Paper(
        title="Multi-modal Graph Fusion for Named Entity Recognition with Targeted Visual Guidance",
        authors=("Dong Zhang", "Suzhong Wei", "Shoushan Li", "Hanqian Wu", "Qiaoming Zhu", "Guodong Zhou"),
        venue="AAAI",
        year=2021,
        address="https://doi.org/10.1609/aaai.v35i16.17687",
        equations="the multi-modal graph and its fusion layers; the relation is read at the two entities",
    )
    summary = (
        "Words and regions are the nodes of a graph; in each of its layers they attend to their own kind, and take of "
        "the other kind what a gate for each pair lets through; it is read at the two entities' opening markers."
    )
    inputs = ("text", "regions")
    processor_class = "MultimodalProcessor"

    vision_features: Literal["maps", "patches"] = "maps"
    num_fusion_layers: int = 6
    fusion_size: int = 512
    fusion_num_heads: int = 8
    fusion_intermediate_size: int = 256
    fusion_dropout: float | int = 0.4

    def validate_architecture(self):
        check_heads("fusion_num_heads", self.fusion_num_heads, "fusion_size", self.fusion_size)
        for name in ("num_fusion_layers", "fusion_intermediate_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be positive, got {getattr(self, name)}.")
        if not 0 <= self.fusion_dropout < 1:
            raise ValueError(f"`fusion_dropout` must be in [0, 1), got {self.fusion_dropout}.")


__all__ = ["UMGFConfig"]
