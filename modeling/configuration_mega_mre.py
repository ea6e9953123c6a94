"""Configuration of MEGA."""

from huggingface_hub.dataclasses import strict

from .configuration_relation_extraction import Paper, RegionRelationExtractionConfig


@strict
class MegaMREConfig(RegionRelationExtractionConfig):
    """Configuration of [`MegaMREForRelationClassification`]. The defaults are the published code's.

    Args:
        text_config (`dict` or `PreTrainedConfig`, *optional*): the text encoder; BERT-base-uncased by default.
        vision_config (`dict` or `PreTrainedConfig`, *optional*): a ViT-like vision encoder; CLIP ViT-B/32 by default.
        num_grounded_regions (`int`): slots for regions found by visual grounding.
        num_detected_regions (`int`): slots for regions found by object detection.
        num_aligned_objects (`int`): how many objects a word is aligned with by structure, those nearest to it.
        dropout (`float`): dropout before the classifier.
        initializer_range (`float`): standard deviation of the new layers' initial weights.

    Raises:
        StrictDataclassError: (of `huggingface_hub`) if a value has the wrong type or is out of range, or an encoder
            cannot be used.
    """

    model_type = "mega_mre"

    system = "MEGA"
    paper = Paper(
        title="Multimodal Relation Extraction with Efficient Graph Alignment",
        authors=("Changmeng Zheng", "Junhao Feng", "Ze Fu", "Yi Cai", "Qing Li", "Tao Wang"),
        venue="ACM Multimedia",
        year=2021,
        address="https://doi.org/10.1145/3474085.3476968",
        equations="structural and semantic alignment, and their fusion",
    )
    summary = (
        "The picture's objects gather words by attention, and by how alike they are placed in the graph of the objects "
        "and in the text's dependency tree; the sum over the objects stands beside the entities' states."
    )
    inputs = ("text", "regions", "boxes", "structure")
    processor_class = "MegaProcessor"

    num_aligned_objects: int = 5
    dropout: float | int = 0.5

    def validate_architecture(self):
        if self.num_aligned_objects < 1:
            raise ValueError(f"`num_aligned_objects` must be positive, got {self.num_aligned_objects}.")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"`dropout` must be in [0, 1), got {self.dropout}.")


__all__ = ["MegaMREConfig"]
