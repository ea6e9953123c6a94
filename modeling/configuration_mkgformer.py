"""Configuration of MKGformer."""

from huggingface_hub.dataclasses import strict

from .configuration_coupled_encoders import CoupledRelationExtractionConfig
from .configuration_relation_extraction import Paper


@strict
class MKGformerConfig(CoupledRelationExtractionConfig):
    """Configuration of [`MKGformerForRelationClassification`]. The defaults are the published code's.

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
        num_fusion_layers (`int`): the last layers of both encoders, in which they meet; fewer in shallow encoders, see
            `num_fused_layers`.
        initializer_range (`float`): standard deviation of the new layers' initial weights.

    Raises:
        StrictDataclassError: (of `huggingface_hub`) if a value has the wrong type or is out of range, or an encoder
            cannot be used.
    """

    model_type = "mkgformer"

    system = "MKGformer"
    paper = Paper(
        title="Hybrid Transformer with Multi-level Fusion for Multimodal Knowledge Graph Completion",
        authors=(
            *("Xiang Chen", "Ningyu Zhang", "Lei Li", "Shumin Deng", "Chuanqi Tan", "Changliang Xu", "Fei Huang"),
            *("Luo Si", "Huajun Chen"),
        ),
        venue="SIGIR",
        year=2022,
        address="https://doi.org/10.1145/3477495.3531992",
        equations="the M-Encoder: prefix-guided interaction, correlation-aware fusion",
    )
    summary = (
        "In the last layers of a text encoder and a vision encoder, the pictures' attention reads the text's keys and "
        "values, and the text's feed-forward adds what each token takes of the patches that it correlates with; the "
        "text is read at the two entities' opening markers."
    )
    inputs = ("text", "regions")
    processor_class = "MultimodalProcessor"

    num_fusion_layers: int = 4

    def validate_architecture(self):
        if self.num_fusion_layers < 1:
            raise ValueError(f"`num_fusion_layers` must be positive, got {self.num_fusion_layers}.")

    @property
    def num_fused_layers(self) -> int:
        """Return in how many layers the encoders meet: `num_fusion_layers`, or as many as they have.

        The text encoder keeps one layer before them if it can, for the first of them reads its keys and values.
        """
        text_layers, vision_layers = self.text_config.num_hidden_layers, self.vision_config.num_hidden_layers
        return min(self.num_fusion_layers, vision_layers, max(1, text_layers - 1))


__all__ = ["MKGformerConfig"]
