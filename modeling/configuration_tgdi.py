"""Configuration of TGDI."""

from typing import Literal

from huggingface_hub.dataclasses import strict

from .configuration_relation_extraction import MultimodalRelationExtractionConfig, Paper


@strict
class TGDIConfig(MultimodalRelationExtractionConfig):
    """Configuration of [`TGDIForRelationClassification`]. The defaults are the paper's system.

    Args:
        text_config (`dict` or `PreTrainedConfig`, *optional*): the text encoder; BERT-base-uncased by default. Its
            layers must be able to take a prefix: BERT, RoBERTa, ELECTRA, ModernBERT and others of their kind.
        vision_config (`dict` or `PreTrainedConfig`, *optional*): a ViT-like vision encoder; CLIP ViT-B/32 by default.
        num_object_images (`int`): m, the most object crops beside the whole image.
        visual_prompt_length (`int`): tokens to which each level's patches are pooled; one is global average pooling.
        visual_projection_size (`int`): width of the hidden layer of the MLP in equation (1).
        scale_matching_scores (`bool`): if true, the scores of equation (8) are divided by √d.
        toi_encoder (`str`): the text encoder of Text-Oriented Interaction: `"shared"`, the one text encoder again; or
            `"separate"`, a copy with weights of its own.
        fusion_weight (`float`): λ of equation (14), in [0, 1].
        use_caption (`bool`): if false, the caption is not read (Table 2, "w/o caption").
        use_matching_gate (`bool`): if false, m = 1, without Text Modulated Matching Gate ("w/o TMMG").
        use_cross_modal_interaction (`bool`): if false, the text encoder's layers see no visual prefix ("w/o CMI").
        use_text_oriented_interaction (`bool`): if false, R = f1 ("w/o TOI").
        use_result_fusion (`bool`): if false, R = f3 ("w/o R").
        dropout (`float`): dropout before the classifier.
        initializer_range (`float`): standard deviation of the new layers' initial weights.

    Raises:
        StrictDataclassError: (of `huggingface_hub`) if a value has the wrong type or is out of range, neither f1 nor f3
            would be left, or an encoder cannot be used.
    """

    model_type = "tgdi"

    system = "TGDI"
    paper = Paper(
        title="Text-Guided Dual Interaction for Multimodal Relation Extraction in Social Media",
        authors=("Yachuan Zhang", "Yi Guo"),
        venue="ECML PKDD",
        year=2025,
        address="https://doi.org/10.1007/978-3-032-06109-6_26",
        equations="(1) to (16)",
    )
    summary = (
        "The text encoder reads the text and the picture's caption behind a prefix made from the whole picture and "
        "crops of its regions; a gate measures how well picture and text match; what passes it guides a second reading "
        "of the text, and both readings are read at the two entities' tokens."
    )
    inputs = ("text", "caption", "image", "regions")
    processor_class = "TGDIProcessor"

    num_object_images: int = 3
    visual_prompt_length: int = 1
    visual_projection_size: int = 800
    scale_matching_scores: bool = False
    toi_encoder: Literal["shared", "separate"] = "shared"
    fusion_weight: float | int = 0.5
    use_caption: bool = True
    use_matching_gate: bool = True
    use_cross_modal_interaction: bool = True
    use_text_oriented_interaction: bool = True
    use_result_fusion: bool = True
    dropout: float | int = 0.01

    def validate_architecture(self):
        if self.num_object_images < 0:
            raise ValueError(f"`num_object_images` must not be negative, got {self.num_object_images}.")
        for name in ("visual_prompt_length", "visual_projection_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be positive, got {getattr(self, name)}.")
        if not 0 <= self.fusion_weight <= 1:
            raise ValueError(f"`fusion_weight` must be in [0, 1], got {self.fusion_weight}.")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"`dropout` must be in [0, 1), got {self.dropout}.")
        if not (self.use_text_oriented_interaction or self.use_result_fusion):
            raise ValueError(
                "`use_text_oriented_interaction=False` leaves f1 alone and `use_result_fusion=False` leaves f3 alone: "
                "one of them must be true."
            )

    def reads(self) -> tuple[str, ...]:
        """Return what a model of this configuration reads: its system's `inputs`, without those switched off."""
        reads_images = self.use_cross_modal_interaction or self.has_matching_gate
        switches = {
            "caption": self.use_caption,
            "image": reads_images,
            "regions": reads_images and self.num_object_images > 0,
        }
        return tuple(name for name in self.inputs if switches.get(name, True))

    @property
    def has_matching_gate(self) -> bool:
        """Tell whether the model has a matching gate, whose output Text-Oriented Interaction alone reads."""
        return self.use_matching_gate and self.use_text_oriented_interaction


__all__ = ["TGDIConfig"]
