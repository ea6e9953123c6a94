"""Names in Markdown."""

import pytest

from mmre.evaluation.markdown import as_cell, as_code
from mmre.evaluation.run_record import results_tables


@pytest.mark.parametrize(
    "name, cell, code",
    [
        ("/per/org/member_of", "/per/org/member_of", "`/per/org/member_of`"),
        ("a|b", r"a\|b", "`a|b`"),
        ("a`b``c", r"a\`b\`\`c", "``` a`b``c ```"),
        ("a\nb\tc\u2028d", r"a\\nb\\tc\\u2028d", r"`a\nb\tc\u2028d`"),
        ("<img src=x>", r"\<img src=x>", "`<img src=x>`"),
        ("[a](b)", r"\[a](b)", "`[a](b)`"),
        (r"\[a](b)", r"\\\[a](b)", r"`\[a](b)`"),
        (r"a\|b", r"a\\\|b", r"`a\|b`"),
        ("R&amp;D", r"R\&amp;D", "`R&amp;D`"),
        ("家族", "家族", "`家族`"),
    ],
)
def test_a_name_stays_a_name(name, cell, code):
    assert (as_cell(name), as_code(name)) == (cell, code)


def test_a_table_of_results_has_a_row_for_each_relation_whatever_its_name():
    names = ["None", "a|b", "c\nd", "<b>", "`x`"]
    row = {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2}
    scores = {"accuracy": 0.5, "precision": 0.5, "recall": 0.5, "f1": 0.5, "samples": 10}
    posts = {
        "dataset": "files",
        "regions": "none",
        "captions": None,
        "images": "used",
        "align_noise": 0,
        "aug_noise": 0,
    }
    posts |= {"train_share": 1, "samples_per_relation": None, "samples": {}, "samples_without_image": {}}
    tables = results_tables({"posts": posts, "test": {**scores, "per_relation": dict.fromkeys(names, row)}})
    rows = [line for line in tables.splitlines() if line.endswith("| 2 | 50.00 | 50.00 | 50.00 |")]
    assert [line.split(" | 2 |")[0] for line in rows] == [r"| None", r"| a\|b", r"| c\\nd", r"| \<b>", r"| \`x\`"]
