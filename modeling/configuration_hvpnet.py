"""Configuration of HVPNeT."""

from typing import Literal

from huggingface_hub.dataclasses import strict

from .configuration_relation_extraction import MultimodalRelationExtractionConfig, Paper

NUM_LEVELS = 4


@strict
class HVPNeTConfig(MultimodalRelationExtractionConfig):
    """Configuration of [`HVPNeTForRelationClassification`]. The defaults are the paper's.

    Args:
        text_config (`dict` or `PreTrainedConfig`, *optional*): the text encoder; BERT-base-uncased by default. Its
            layers must be able to take a prefix: BERT, RoBERTa, ELECTRA, ModernBERT and others of their kind.
        vision_config (`dict` or `PreTrainedConfig`, *optional*): the vision encoder; by default ResNet-50, or CLIP
            ViT-B/32 with `vision_features="patches"`.
        vision_features (`str`): what the pyramid is made of: `"maps"`, the feature maps of the four stages of an
            encoder that `AutoBackbone` knows; or `"patches"`, four levels of a ViT-like encoder, evenly spaced.
        num_object_images (`int`): the most object crops beside the whole image.
        visual_projection_size (`int`): width of the hidden layer of the visual projection.
        initializer_range (`float`): standard deviation of the new layers' initial weights.

    Raises:
        StrictDataclassError: (of `huggingface_hub`) if a value has the wrong type or is out of range, or an encoder
            cannot be used.
    """

    model_type = "hvpnet"

    system = "HVPNeT"
    paper = Paper(
        title=(
            "Good Visual Guidance Makes A Better Extractor: Hierarchical Visual Prefix for Multimodal Entity and "
            "Relation Extraction"
        ),
        authors=(
            *("Xiang Chen", "Ningyu Zhang", "Lei Li", "Yunzhi Yao", "Shumin Deng", "Chuanqi Tan", "Fei Huang"),
            *("Luo Si", "Huajun Chen"),
        ),
        venue="Findings of NAACL",
        year=2022,
        address="https://doi.org/10.18653/v1/2022.findings-naacl.121",
        equations="section 3",
    )
    summary = (
        "Four levels of the vision encoder, of the whole picture and of crops of its regions, become a prefix of each "
        "layer of the text encoder, weighed by a gate; it is read at the two entities' opening markers."
    )
    inputs = ("text", "image", "regions")
    processor_class = "TGDIProcessor"

    vision_features: Literal["maps", "patches"] = "maps"
    num_object_images: int = 3
    visual_projection_size: int = 800

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        stages = getattr(self.vision_config, "stage_names", None)
        if self.vision_features == "maps" and stages is not None and len(stages) > NUM_LEVELS:
            self.vision_config.out_features = stages[-NUM_LEVELS:]

    def validate_architecture(self):
        if self.num_object_images < 0:
            raise ValueError(f"`num_object_images` must not be negative, got {self.num_object_images}.")
        if self.visual_projection_size < 1:
            raise ValueError(f"`visual_projection_size` must be positive, got {self.visual_projection_size}.")
        maps = getattr(self.vision_config, "out_features", None)  # the base refuses an encoder without
        if self.vision_features == "maps" and maps is not None and len(maps) != NUM_LEVELS:
            raise ValueError(
                f"`vision_config` must have {NUM_LEVELS} stages, but {self.vision_config.model_type!r} gives the maps "
                f"of {maps}."
            )

    def reads(self) -> tuple[str, ...]:
        """Return what a model of this configuration reads: its system's `inputs`, without those switched off."""
        return tuple(name for name in self.inputs if name != "regions" or self.num_object_images > 0)


__all__ = ["NUM_LEVELS", "HVPNeTConfig"]
