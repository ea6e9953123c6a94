"""The one did-you-mean."""

import pytest

from mmre.processing.suggestions import unknown

FIELDS = ("text", "image", "head", "tail")


@pytest.mark.parametrize(
    ("name", "known", "message"),
    [
        ("txt", FIELDS, "unknown field 'txt'; did you mean 'text'?"),
        ("Image", FIELDS, "unknown field 'Image'; did you mean 'image'?"),
        ("couple", ["/per/per/couple", "Couple"], "unknown field 'couple'; did you mean 'Couple'?"),
        ("zzz", FIELDS, "unknown field 'zzz'; expected 'text', 'image', 'head' or 'tail'"),
        ("zzz", ["text"], "unknown field 'zzz'; expected 'text'"),
        ("zzz", [], "unknown field 'zzz'; none is accepted"),
        (5, FIELDS, "unknown field 5; expected 'text', 'image', 'head' or 'tail'"),
        ("zz", "abcdefghijklm", f"unknown field 'zz'; expected {', '.join(map(repr, 'abcdefghij'))} or one of 3 more"),
    ],
)
def test_the_nearest_name_or_all_that_are_accepted(name, known, message):
    assert unknown("field", name, known) == message
    assert unknown("field", name, iter(known)) == message
