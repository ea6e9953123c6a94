"""Words to text."""

from hypothesis import given
from hypothesis import strategies as st

from mmre.processing.words import join_words


@given(st.data())
def test_a_span_of_the_text_is_the_words_of_the_span(data):
    words = data.draw(st.lists(st.text("ab'#é\u3000\n\U0001f602", min_size=1, max_size=5), min_size=1, max_size=9))
    spans = []
    for _ in range(2):
        start = data.draw(st.integers(0, len(words) - 1))
        spans.append((start, data.draw(st.integers(start + 1, len(words)))))
    text, joined = join_words(words, spans)
    assert text.split(" ") == words  # nothing is lost as long as no word holds a space
    for (first, last), (start, end) in zip(spans, joined):
        assert text[start:end] == " ".join(words[first:last])
        assert text[:start] == "".join(f"{word} " for word in words[:first])
