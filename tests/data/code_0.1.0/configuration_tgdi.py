"""Configuration of TGDI."""

from typing import Literal

from huggingface_hub.dataclasses import strict

from .configuration_relation_extraction import RelationExtractionConfig


@strict
class TGDIConfig(RelationExtractionConfig):
    """Configuration of [`TGDIForRelationClassification`]. The defaults are the paper's system.

    Args:
        text_config (`dict` or `PreTrainedConfig`, *optional*): the text encoder; BERT-base-uncased by default. Its
            layers must be able to take a prefix: BERT, RoBERTa, ELECTRA, ModernBERT and others of their kind.
        vision_config (`dict` or `PreTrainedConfig`, *optional*): a ViT-like vision encoder; CLIP ViT-B/32 by default.
        num_object_images (`int`): m, the most object crops beside the whole image.
        visual_prompt_length (`int`): tokens to which each level's patches are pooled; one is global average pooling.
        visual_projection_size (`int`): width of the hidden layer of the MLP in equation (1).
        scale_matching_scores (`bool`): whether the scores of equation (8) are divided by √d.
        toi_encoder (`str`): the text encoder of Text-Oriented Interaction: `"shared"`, the one text encoder again; or
            `"separate"`, a copy with weights of its own.
        fusion_weight (`float`): λ of equation (14), in [0, 1].
        use_caption (`bool`): whether the caption is read (Table 2, "w/o caption").
        use_matching_gate (`bool`): whether the Text Modulated Matching Gate is applied; else m = 1 ("w/o TMMG").
        use_cross_modal_interaction (`bool`): whether the text encoder's layers see the visual prefix ("w/o CMI").
        use_text_oriented_interaction (`bool`): if false, R = f1 ("w/o TOI").
        use_result_fusion (`bool`): if false, R = f3 ("w/o R").
        dropout (`float`): dropout before the classifier.
        initializer_range (`float`): standard deviation of the new layers' initial weights.

    Raises:
        StrictDataclassError: (of `huggingface_hub`) if a value has the wrong type or is out of range, neither f1 nor f3
            would be left, or an encoder cannot serve as a tower.
    """

    model_type = "tgdi"

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


__all__ = ["TGDIConfig"]
