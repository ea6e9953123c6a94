"""Configuration of MTB."""

from huggingface_hub.dataclasses import strict

from .configuration_relation_extraction import Paper, TextRelationExtractionConfig


@strict
class MTBConfig(TextRelationExtractionConfig):
    """Configuration of [`MTBForRelationClassification`]. The defaults are OpenNRE's, whose MTB others compare with.

    Args:
        text_config (`dict` or `PreTrainedConfig`, *optional*): the text encoder; BERT-base-uncased by default.
        use_caption (`bool`): if true, the caption is read after the text.
        dropout (`float`): dropout before the classifier.
        initializer_range (`float`): standard deviation of the new layers' initial weights.

    Raises:
        StrictDataclassError: (of `huggingface_hub`) if a value has the wrong type or is out of range, or the text
            encoder cannot be used.
    """

    model_type = "mtb"

    system = "MTB"
    paper = Paper(
        title="Matching the Blanks: Distributional Similarity for Relation Learning",
        authors=("Livio Baldini Soares", "Nicholas FitzGerald", "Jeffrey Ling", "Tom Kwiatkowski"),
        venue="ACL",
        year=2019,
        address="https://doi.org/10.18653/v1/P19-1279",
        equations="section 3, entity markers and entity start",
    )
    summary = (
        "It reads the text alone: the text encoder's states at the two entities' opening markers go through a linear "
        "layer to the classifier."
    )
    inputs = ("text", "caption")
    processor_class = "TextProcessor"

    use_caption: bool = False
    dropout: float | int = 0.5

    def validate_architecture(self):
        if not 0 <= self.dropout < 1:
            raise ValueError(f"`dropout` must be in [0, 1), got {self.dropout}.")

    def reads(self) -> tuple[str, ...]:
        """Return what a model of this configuration reads: its system's `inputs`, without those switched off."""
        return self.inputs if self.use_caption else ("text",)


__all__ = ["MTBConfig"]
