"""Processor of the systems that read a text word by word."""

from collections.abc import Iterable

from .processing_relation_extraction import RelationExtractionProcessor
from .word_tokenizer import make_word_tokenizer


class WordProcessor(RelationExtractionProcessor):
    """Marks the entities in the text and tells where the whole entities stand. Picture and caption are not read.

    Args:
        tokenizer: a fast tokenizer; the entity markers are added to it where they are missing.
        entity_markers (`tuple[str]`): the tokens that open and close the head entity, then the tail entity.
        max_length (`int`): most tokens of a post, markers included; a longer text loses first the tokens far from its
            entities.
        inputs (`tuple[str]`, *optional*): what is read of a post, "text" and "entity_spans"; by default both.
        markers_in_text_order (`bool`): whether the entity that comes first in the text is marked as the head, whichever
            is the head: a post and its reverse, head and tail swapped, are then the same inputs, and the model is not
            told which entity is the head. Of two that start together, the longer one comes first.

    Raises:
        ValueError: if an argument has a value that is not listed here.
    """

    possible_inputs = ("text", "entity_spans")

    @classmethod
    def from_words(cls, words: Iterable[str], **arguments) -> "WordProcessor":
        """Build the processor for a list of words, see [`~mmre.processing.word_tokenizer.make_word_tokenizer`].

        Args:
            words: the words; the first has the id 2.
            arguments: arguments of the processor.

        Returns:
            The processor. Give the model `vocab_size=len(processor.tokenizer)`.
        """
        return cls(tokenizer=make_word_tokenizer(words), **arguments)


__all__ = ["WordProcessor"]
