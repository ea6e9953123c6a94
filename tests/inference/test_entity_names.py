"""Names of entities: what is one node, and what is not."""

import pytest

from mmre.inference.entity_names import graph_name, node_name


@pytest.mark.parametrize(
    "text, name",
    [
        ("Paris", "paris"),
        ("#Paris", "paris"),
        ("@ cnnsport", "cnnsport"),
        ("Marks &amp;\nSpencer", "marks & spencer"),
        ("STRASSE", "strasse"),
        ("Straße", "strasse"),
        ("Zoe\u0308", "zo\u00eb"),
        ("\uff2d\uff2e\uff32\uff25", "mnre"),
        ("New\u00a0 York\u200b", "new york"),
        ("C#", "c#"),
        ("a@b", "a@b"),
        ("#", "#"),
        ("\u200b", "\u200b"),
        ("\u6771\u4eac", "\u6771\u4eac"),
    ],
)
def test_a_name_is_one_whatever_its_case_space_and_marks(text, name):
    assert node_name(text) == name
    assert node_name(name) == name


def test_the_name_that_is_shown_keeps_its_letters():
    assert graph_name("Marks &amp;\n Spencer") == "Marks & Spencer"
    assert graph_name("@Zoë") == "@Zoë"
