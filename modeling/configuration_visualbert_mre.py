"""Configuration of VisualBERT for relation extraction."""

from huggingface_hub.dataclasses import strict
from transformers import VisualBertConfig

from .configuration_relation_extraction import Paper, RegionRelationExtractionConfig


@strict
class VisualBertMREConfig(RegionRelationExtractionConfig):
    """Configuration of [`VisualBertMREForRelationClassification`].

    Args:
        text_config (`dict` or `PreTrainedConfig`, *optional*): VisualBERT, which reads text and pictures; or a BERT, of
            whose values one is made. VisualBERT's size of BERT-base by default.
        vision_config (`dict` or `PreTrainedConfig`, *optional*): a ViT-like vision encoder; CLIP ViT-B/32 by default.
        num_grounded_regions (`int`): slots for regions found by visual grounding.
        num_detected_regions (`int`): slots for regions found by object detection.
        dropout (`float`): dropout before the classifier.
        initializer_range (`float`): standard deviation of the new layers' initial weights.

    Raises:
        StrictDataclassError: (of `huggingface_hub`) if a value has the wrong type or is out of range, or an encoder
            cannot be used.
    """

    model_type = "visualbert_mre"

    system = "VisualBERT"
    paper = Paper(
        title="VisualBERT: A Simple and Performant Baseline for Vision and Language",
        authors=("Liunian Harold Li", "Mark Yatskar", "Da Yin", "Cho-Jui Hsieh", "Kai-Wei Chang"),
        venue="arXiv",
        year=2019,
        address="https://arxiv.org/abs/1908.03557",
        equations="section 3.1; the relation is read at the two entities",
    )
    summary = (
        "One Transformer reads the text and, behind it, a vector of the whole picture and of each region; it is read "
        "at the two entities' opening markers."
    )
    inputs = ("text", "image", "regions")
    processor_class = "MultimodalProcessor"

    dropout: float | int = 0.1

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        text = self.text_config
        if text.model_type == "bert":
            values = {name: getattr(text, name) for name in VisualBertConfig.__annotations__ if hasattr(text, name)}
            # The base refuses a vision encoder without a `hidden_size`.
            visual_size = getattr(self.vision_config, "hidden_size", VisualBertConfig.visual_embedding_dim)
            self.text_config = VisualBertConfig(**values, visual_embedding_dim=visual_size)

    def validate_architecture(self):
        # Of an encoder-decoder the base says that it is one.
        if self.text_config.model_type != "visual_bert" and not self.text_config.is_encoder_decoder:
            raise ValueError(
                f"`text_config` must be a VisualBERT or a BERT, but it is {self.text_config.model_type!r}."
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"`dropout` must be in [0, 1), got {self.dropout}.")


__all__ = ["VisualBertMREConfig"]
