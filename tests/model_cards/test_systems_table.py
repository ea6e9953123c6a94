"""The README's table of systems and the papers behind it."""

from pathlib import Path

import pytest

from mmre.model_cards.citation import bibtex
from mmre.model_cards.systems_table import BEGIN, END, systems_table, update, with_systems_table
from mmre.modeling import MODELS
from mmre.modeling.configuration_relation_extraction import INPUTS, Paper

README = Path(__file__).resolve().parents[2] / "README.md"


def test_the_readme_shows_the_systems_that_there_are():
    text = README.read_text("utf-8")
    assert with_systems_table(text) == text, "write the table anew: python -m mmre.model_cards.systems_table"


@pytest.mark.parametrize("model_type", MODELS)
def test_every_system_has_a_name_a_paper_a_summary_and_inputs(model_type):
    config = MODELS[model_type].config_class
    assert config.system and config.summary.endswith(".")
    assert config.inputs and set(config.inputs) <= set(INPUTS)
    paper = config.paper
    assert paper.title and paper.venue and paper.equations and paper.address.startswith("https://")
    assert 2010 < paper.year < 2100
    (line,) = [line for line in systems_table().splitlines() if f"| `{model_type}` |" in line]
    assert paper.title in line and str(paper.year) in line


def test_a_text_without_the_marks_is_refused_and_the_rest_of_one_with_them_stays(tmp_path):
    for text in ("", BEGIN, f"{END}\n{BEGIN}"):
        with pytest.raises(ValueError, match="expected the lines '<!-- systems: begin"):
            with_systems_table(text)
    path = tmp_path / "README.md"
    path.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", "utf-8")
    update(path)
    assert path.read_text("utf-8") == f"before\n{BEGIN}\n{systems_table()}{END}\nafter\n"


def test_bibtex_names_the_authors_keeps_capitals_and_escapes_what_tex_would_read():
    paper = Paper("Focus & Gating", ("Ann B. Cole", "Dan Éluard"), "ACM Multimedia", 2024, "https://x.org/a_b", "(3)")
    assert bibtex("focus", paper).splitlines() == [
        "@inproceedings{focus,",
        "  author    = {Ann B. Cole and Dan Éluard},",
        "  title     = {{Focus \\& Gating}},",
        "  booktitle = {ACM Multimedia},",
        "  year      = {2024},",
        "  url       = {https://x.org/a_b}",
        "}",
    ]
    assert "author" not in bibtex("focus", paper._replace(authors=()))
