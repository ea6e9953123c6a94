"""One report of all problems, with the first places of each file and field."""

import pytest

from mmre.posts.checks import Problems


def test_the_report_counts_all_and_shows_the_first_of_each_file_and_field():
    problems = Problems()
    for line in range(8):
        problems.add("a.csv", f"a.csv:{line}", "head", "nothing", "a span")
    problems.note("a.csv", "a.csv:9", "column", "unknown column 'x'; did you mean 'y'?")
    others = Problems()
    others.add("b.csv", "b.csv:1", "head", "3", "a span")
    problems.extend(others)
    assert len(problems) == 10
    lines = problems.report().split("\n  ")
    assert lines[0] == "10 problem(s) in the data:"
    assert lines[1:7] == [
        *(f"a.csv:{line}: head: nothing; expected a span" for line in range(5)),
        "a.csv: head: and 3 more",
    ]
    assert lines[7:] == [
        "a.csv:9: unknown column 'x'; did you mean 'y'?",
        "b.csv:1: head: 3; expected a span",
    ]


def test_problems_raise_and_none_do_not():
    problems = Problems()
    problems.raise_if_any("a hint")
    problems.add("a.csv", "a.csv:1", "id", "nothing", "text")
    with pytest.raises(ValueError, match="a.csv:1: id: nothing; expected text\na hint$"):
        problems.raise_if_any("a hint")
