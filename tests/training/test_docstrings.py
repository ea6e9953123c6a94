"""The help of a command is read from docstrings."""

from mmre.training.docstrings import documented_arguments


class Documented:
    """Do a thing.

    Args:
        first (`int`, *optional*): a number: of
            things.
        second (`str`): `"a"`, a letter;
            or nothing.
        third: no type.

    Raises:
        ValueError: never.
    """


class Silent(Documented):
    """Do the same."""


def test_the_arguments_of_a_docstring_are_read_in_one_line_each():
    assert documented_arguments(Documented) == {
        "first": "a number: of things.",
        "second": '`"a"`, a letter; or nothing.',
        "third": "no type.",
    }


def test_a_class_without_arguments_has_those_of_its_base():
    assert documented_arguments(Silent) == documented_arguments(Documented)
    assert documented_arguments(object) == {}
