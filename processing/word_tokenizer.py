"""A word-level tokenizer: the words of a list, such as those of word vectors, and one token for all others."""

from collections.abc import Iterable
from functools import cache

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

PAD, UNKNOWN = "[PAD]", "[UNK]"
SPECIAL_TOKENS = (PAD, UNKNOWN)

LETTER = r"[\p{L}\p{M}\p{N}_]"
CLITIC = r"['’](?:[sS]|[mM]|[dD]|[rR][eE]|[vV][eE]|[lL][lL])(?!" + LETTER + ")"
NOT = r"[nN]['’][tT](?!" + LETTER + ")"
# What a word is, first to last: an address, initials (U.S.), the halves of "don't" and "he's", a word with what joins
# its parts (O'Neal, co-star, @name, #tag), a run of one sign.
WORD = "|".join(
    (
        r"https?://\S+?(?=[.,:;!?)]*(?:\s|$))",
        r"(?:\p{L}\.){2,}",
        rf"{LETTER}+?(?={NOT})",
        NOT,
        CLITIC,
        rf"[@#]?{LETTER}+(?:(?!{CLITIC})[.,:'’&/+-]{LETTER}+)*",
        r"([^\s\p{L}\p{M}\p{N}_])\1*",
    )
)


def split_words(text: str) -> list[str]:
    """Cut a text into words, see [`make_word_tokenizer`]."""
    return [word for word, _ in _splitter().pre_tokenize_str(text)]


@cache  # the expression takes longer to compile than a post to cut
def _splitter() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Split(Regex(WORD), behavior="removed", invert=True)


def make_word_tokenizer(words: Iterable[str]) -> PreTrainedTokenizerFast:
    """Make a tokenizer of whole words.

    A text is cut at white space, and punctuation at the edges of a word is cut off: `"weds Mery, the U.S. star's"` is
    `weds Mery , the U.S. star 's`. Signs within a word stay, so do `@` and `#` before one. MNRE's texts are cut
    into words already: 0.5 % of those are cut further, as `Mr.`, `:)` and `.@name` are.

    Args:
        words: the words, the first of which gets the id 2, after `[PAD]` and `[UNK]`. Where fewer than one in a hundred
            has a capital letter, as in GloVe 6B, texts are read in small letters.

    Returns:
        The tokenizer. All words that are not in the list are `[UNK]`.

    Raises:
        ValueError: if a word stands twice, or there is none.
    """
    vocabulary = {token: index for index, token in enumerate(SPECIAL_TOKENS)}
    words = list(words)
    for word in words:
        if word in vocabulary:
            raise ValueError(f"the word {word!r} stands twice; expected each once")
        vocabulary[word] = len(vocabulary)
    if not words:
        raise ValueError("there is no word; expected at least one")
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    # Not "none": one odd word in a file of small letters would make an unknown word of every name.
    if 100 * sum(word != word.lower() for word in words) < len(words):
        tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = _splitter()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=PAD, unk_token=UNKNOWN)


__all__ = ["SPECIAL_TOKENS", "make_word_tokenizer", "split_words"]
