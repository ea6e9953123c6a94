"""Processor of the systems that read text alone."""

from .processing_relation_extraction import RelationExtractionProcessor


class TextProcessor(RelationExtractionProcessor):
    """Marks the entities in the text and puts the caption after it. A post's picture is not opened.

    Args:
        tokenizer: a fast tokenizer; the entity markers are added to it where they are missing.
        entity_markers (`tuple[str]`): the tokens that open and close the head entity, then the tail entity.
        max_length (`int`): most tokens of a post, special tokens and markers included. The caption gets what the text
            leaves; a longer text loses first the tokens far from its entities.
        inputs (`tuple[str]`, *optional*): what is read of a post, of "text" and "caption"; by default both.
        markers_in_text_order (`bool`): whether the entity that comes first in the text is marked as the head, whichever
            is the head: a post and its reverse, head and tail swapped, are then the same inputs, and the model is not
            told which entity is the head. Of two that start together, the longer one comes first.

    Raises:
        ValueError: if an argument has a value that is not listed here, or the tokenizer separates a text and a caption
            in a way that changes the text.
    """


__all__ = ["TextProcessor"]
