"""Configuration of UMT."""

from typing import Literal

from huggingface_hub.dataclasses import strict

from .configuration_relation_extraction import MultimodalRelationExtractionConfig, Paper


@strict
class UMTConfig(MultimodalRelationExtractionConfig):
    """Configuration of [`UMTForRelationClassification`]. The defaults are the paper's.

    Args:
        text_config (`dict` or `PreTrainedConfig`, *optional*): the text encoder; BERT-base-uncased by default.
        vision_config (`dict` or `PreTrainedConfig`, *optional*): the vision encoder; by default ResNet-50, or CLIP
            ViT-B/32 with `vision_features="patches"`. The paper's is ResNet-152.
        vision_features (`str`): what is read of the picture: `"maps"`, the cells of the last feature map of an encoder
            that `AutoBackbone` knows (7 x 7 of ResNet at 224 pixels); or `"patches"` of a ViT-like encoder.
        fusion_dropout (`float`): dropout within the multimodal layers, whose heads are as many as the text encoder's.
        dropout (`float`): dropout of the text encoder's states.
        initializer_range (`float`): standard deviation of the new layers' initial weights.

    Raises:
        StrictDataclassError: (of `huggingface_hub`) if a value has the wrong type or is out of range, or an encoder
            cannot be used.
    """

    model_type = "umt"

    system = "UMT"
    paper = Paper(
        title=(
            "Improving Multimodal Named Entity Recognition via Entity Span Detection with Unified Multimodal "
            "Transformer"
        ),
        authors=("Jianfei Yu", "Jing Jiang", "Li Yang", "Rui Xia"),
        venue="ACL",
        year=2020,
        address="https://doi.org/10.18653/v1/2020.acl-main.306",
        equations="section 2.3, the multimodal interaction module; the relation is read at the two entities",
    )
    summary = (
        "Words attend to the cells of the whole picture, and to these as they see the words; a gate decides, word by "
        "word, how much of the picture is read at the two entities' opening markers."
    )
    inputs = ("text", "image")
    processor_class = "MultimodalProcessor"

    vision_features: Literal["maps", "patches"] = "maps"
    fusion_dropout: float | int = 0.1
    dropout: float | int = 0.1

    def validate_architecture(self):
        for name in ("fusion_dropout", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be in [0, 1), got {getattr(self, name)}.")


__all__ = ["UMTConfig"]
