"""Configuration of ViLBERT."""

from huggingface_hub.dataclasses import strict

from .configuration_relation_extraction import Paper, RegionRelationExtractionConfig
from .cross_attention import check_heads


@strict
class ViLBERTConfig(RegionRelationExtractionConfig):
    """Configuration of [`ViLBERTForRelationClassification`]. The defaults are the paper's.

    Args:
        text_config (`dict` or `PreTrainedConfig`, *optional*): the text encoder; BERT-base-uncased by default. It must
            be built as BERT is: BERT, RoBERTa, ELECTRA.
        vision_config (`dict` or `PreTrainedConfig`, *optional*): a ViT-like vision encoder; CLIP ViT-B/32 by default.
        num_grounded_regions (`int`): slots for regions found by visual grounding.
        num_detected_regions (`int`): slots for regions found by object detection.
        visual_size (`int`): size of the states of the visual stream.
        visual_intermediate_size (`int`): width between the two linear layers of each layer of the visual stream.
        visual_num_heads (`int`): heads of the visual stream.
        connection_size (`int`): size of the keys and queries of co-attention, all heads together.
        connection_num_heads (`int`): heads of co-attention.
        visual_dropout (`float`): dropout within the visual stream and co-attention.
        dropout (`float`): dropout before the classifier.
        initializer_range (`float`): standard deviation of the new layers' initial weights.

    Raises:
        StrictDataclassError: (of `huggingface_hub`) if a value has the wrong type or is out of range, or an encoder
            cannot be used.
    """

    model_type = "vilbert"

    system = "ViLBERT"
    paper = Paper(
        title="ViLBERT: Pretraining Task-Agnostic Visiolinguistic Representations for Vision-and-Language Tasks",
        authors=("Jiasen Lu", "Dhruv Batra", "Devi Parikh", "Stefan Lee"),
        venue="NeurIPS",
        year=2019,
        address="https://arxiv.org/abs/1908.02265",
        equations="section 2.2; the relation is read at the two entities",
    )
    summary = (
        "Two streams, one of the text and one of the picture's regions with their boxes, attend to each other in "
        "co-attention layers; the text's is read at the two entities' opening markers."
    )
    inputs = ("text", "image", "regions", "boxes")
    processor_class = "MultimodalProcessor"

    visual_size: int = 1024
    visual_intermediate_size: int = 1024
    visual_num_heads: int = 8
    connection_size: int = 1024
    connection_num_heads: int = 8
    visual_dropout: float | int = 0.1
    dropout: float | int = 0.1

    def validate_architecture(self):
        check_heads("visual_num_heads", self.visual_num_heads, "visual_size", self.visual_size)
        check_heads("connection_num_heads", self.connection_num_heads, "connection_size", self.connection_size)
        if self.visual_intermediate_size < 1:
            raise ValueError(f"`visual_intermediate_size` must be positive, got {self.visual_intermediate_size}.")
        for name in ("visual_dropout", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be in [0, 1), got {getattr(self, name)}.")

    @property
    def num_connections(self) -> int:
        """Return the number of co-attention layers: half of the text encoder's layers, as the paper's 6 of 12."""
        return (self.text_config.num_hidden_layers + 1) // 2


__all__ = ["ViLBERTConfig"]
