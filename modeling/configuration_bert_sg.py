"""Configuration of BERT+SG and BERT+SG+Att."""

from huggingface_hub.dataclasses import strict

from .configuration_relation_extraction import Paper, RegionRelationExtractionConfig


@strict
class BertSGConfig(RegionRelationExtractionConfig):
    """Configuration of [`BertSGForRelationClassification`].

    The defaults are those of the recipe published with MEGA, whose authors are the same.

    Args:
        text_config (`dict` or `PreTrainedConfig`, *optional*): the text encoder; BERT-base-uncased by default.
        vision_config (`dict` or `PreTrainedConfig`, *optional*): a ViT-like vision encoder; CLIP ViT-B/32 by default.
        num_grounded_regions (`int`): slots for regions found by visual grounding.
        num_detected_regions (`int`): slots for regions found by object detection.
        use_attention (`bool`): if true, the pair weighs the objects, which is BERT+SG+Att; if false, each of them
            counts the same, which is BERT+SG.
        object_size (`int`): size of the objects' states.
        dropout (`float`): dropout before the classifier.
        initializer_range (`float`): standard deviation of the new layers' initial weights.

    Raises:
        StrictDataclassError: (of `huggingface_hub`) if a value has the wrong type or is out of range, or an encoder
            cannot be used.
    """

    model_type = "bert_sg"

    system = "BERT+SG and BERT+SG+Att"
    paper = Paper(
        title=(
            "MNRE: A Challenge Multimodal Dataset for Neural Relation Extraction with Visual Evidence in Social Media "
            "Posts"
        ),
        authors=("Changmeng Zheng", "Zhiwei Wu", "Junhao Feng", "Ze Fu", "Yi Cai"),
        venue="ICME",
        year=2021,
        address="https://doi.org/10.1109/ICME51207.2021.9428274",
        equations="the baselines with visual objects; how objects are pooled is our choice",
    )
    summary = (
        "Beside the text encoder's states at the two entities' opening markers stands a vector of the picture's "
        "objects, of their features and boxes: their mean, or a sum that the pair of entities weighs."
    )
    inputs = ("text", "regions", "boxes")
    processor_class = "MultimodalProcessor"

    use_attention: bool = False
    object_size: int = 768
    dropout: float | int = 0.5

    def validate_architecture(self):
        if self.object_size < 1:
            raise ValueError(f"`object_size` must be positive, got {self.object_size}.")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"`dropout` must be in [0, 1), got {self.dropout}.")


__all__ = ["BertSGConfig"]
