"""Configuration of IFAformer."""

from huggingface_hub.dataclasses import strict

from .configuration_coupled_encoders import CoupledRelationExtractionConfig
from .configuration_relation_extraction import Paper


@strict
class IFAformerConfig(CoupledRelationExtractionConfig):
    """Configuration of [`IFAformerForRelationClassification`]. The defaults are the published code's.

    Args:
        text_config (`dict` or `PreTrainedConfig`, *optional*): the text encoder; BERT-base-uncased by default. It must
            be built as BERT is: BERT, RoBERTa, ELECTRA.
        vision_config (`dict` or `PreTrainedConfig`, *optional*): the vision encoder; CLIP ViT-B/32 by default. It must
            be built as CLIP's or ViT's is: CLIP, ViT, DeiT, DINOv2.
        num_grounded_regions (`int`): slots for regions found by visual grounding.
        num_detected_regions (`int`): slots for regions found by object detection.
        grounded_grid_size (`int`): patches of the crop of a grounded region from side to side; it is scaled to so many:
            4 are 128 pixels for ViT-B/32.
        detected_grid_size (`int`): patches of the crop of a detected region from side to side: 2 are 64 pixels for
            ViT-B/32.
        initializer_range (`float`): standard deviation of the new layers' initial weights.

    Raises:
        StrictDataclassError: (of `huggingface_hub`) if a value has the wrong type or is out of range, or an encoder
            cannot be used.
    """

    model_type = "ifaformer"

    system = "IFAformer"
    paper = Paper(
        title="On Analyzing the Role of Image for Visual-Enhanced Relation Extraction",
        authors=("Lei Li", "Xiang Chen", "Shuofei Qiao", "Feiyu Xiong", "Huajun Chen", "Ningyu Zhang"),
        venue="AAAI (student abstract)",
        year=2023,
        address="https://doi.org/10.1609/aaai.v37i13.26987",
        equations="the dual Transformer with prefix attention in every layer, with visual objects",
    )
    summary = (
        "A text encoder and a vision encoder run side by side, and each layer reads the other's keys and values before "
        "its own; the pictures are crops of regions at two sizes, and the text is read at the two entities' opening "
        "markers."
    )
    inputs = ("text", "regions")
    processor_class = "MultimodalProcessor"

    @property
    def num_coupled_layers(self) -> int:
        """Return how many layers of each encoder are coupled, the last ones: all of the shallower encoder's."""
        return min(self.text_config.num_hidden_layers, self.vision_config.num_hidden_layers)


__all__ = ["IFAformerConfig"]
