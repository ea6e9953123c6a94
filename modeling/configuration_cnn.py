"""Configuration of CNN and PCNN."""

from typing import Literal

from huggingface_hub.dataclasses import strict

from .configuration_relation_extraction import Paper, RelationExtractionConfig


@strict
class CNNConfig(RelationExtractionConfig):
    """Configuration of [`CNNForRelationClassification`]. The defaults are OpenNRE's, whose results others compare with.

    Args:
        vocab_size (`int`): words of the tokenizer, its special tokens included.
        word_size (`int`): size of a word's vector.
        position_size (`int`): size of the vectors of a word's distances from head and tail.
        max_distance (`int`): largest distance, in words; all that is farther counts as that far.
        hidden_size (`int`): filters of the convolution.
        kernel_size (`int`): words that a filter sees.
        pooling (`str`): `"max"` over the whole text (CNN), or `"piecewise"` over the three pieces that the starts of
            the two entities cut the text into (PCNN).
        dropout (`float`): dropout before the classifier.
        pad_token_id (`int`): id of the padding.
        initializer_range (`float`): standard deviation of the new layers' initial weights.

    Raises:
        StrictDataclassError: (of `huggingface_hub`) if a value has the wrong type or is out of range.
    """

    model_type = "cnn"

    system = "CNN and PCNN"
    paper = Paper(
        title="Distant Supervision for Relation Extraction via Piecewise Convolutional Neural Networks",
        authors=("Daojian Zeng", "Kang Liu", "Yubo Chen", "Jun Zhao"),
        venue="EMNLP",
        year=2015,
        address="https://doi.org/10.18653/v1/D15-1203",
        equations="section 3, without bags of sentences; `pooling: max` is Zeng et al., COLING 2014, section 3",
    )
    summary = (
        "It reads the text alone, word by word: word vectors and each word's distances from the two entities go "
        "through a convolution, whose maxima go to the classifier."
    )
    inputs = ("text", "entity_spans")
    processor_class = "WordProcessor"

    vocab_size: int = 400_006
    word_size: int = 50
    position_size: int = 5
    max_distance: int = 128
    hidden_size: int = 230
    kernel_size: int = 3
    pooling: Literal["max", "piecewise"] = "max"
    dropout: float | int = 0.5
    pad_token_id: int = 0
    initializer_range: float | int = 0.04

    def validate_architecture(self):
        for name in ("vocab_size", "word_size", "position_size", "max_distance", "hidden_size", "kernel_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, got {getattr(self, name)}.")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"`dropout` must be in [0, 1), got {self.dropout}.")


__all__ = ["CNNConfig"]
