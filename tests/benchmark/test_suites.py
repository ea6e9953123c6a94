"""Suites: the figures of the papers."""

import re
from pathlib import Path

import pytest

from mmre.benchmark.suites import SUITES
from mmre.modeling import MODELS

PAPERS = Path(__file__).resolve().parents[2].parent / "shared" / "papers"


def test_every_cell_is_of_a_system_that_there_is():
    assert {cell.model_type for suite in SUITES.values() for cell in suite.cells} <= {*MODELS}


def printed_figures() -> list[tuple[str, str, tuple[float, ...]]]:
    return [(name, cell.name, cell.paper) for name, suite in SUITES.items() for cell in suite.cells if cell.paper]


def test_the_papers_figures_are_those_of_the_papers():
    if not PAPERS.is_dir():
        pytest.skip("the papers are not there")
    texts = {name: (PAPERS / f"{name}.txt").read_text("utf-8") for name in ("focalmre", "tgdi")}
    assert len(printed_figures()) == 33
    for suite, cell, figures in printed_figures():
        # Some stand in one line with other systems, but a system's three stand together.
        pattern = r"\s+".join(re.escape(f"{figure:.2f}") for figure in figures)
        assert re.search(pattern, texts[suite.split("_")[0]]), (suite, cell)
    for suite in ("focalmre_table4", "tgdi_table3"):
        for relation, figure in SUITES[suite].per_relation.items():
            line = next(x for x in texts[suite.split("_")[0]].splitlines() if x.startswith(relation))
            assert re.search(rf"\s{figure:.2f}", line), line


def test_the_papers_figures_fit_together():
    strange = []
    for suite, cell, (precision, recall, f1) in printed_figures():
        if abs(2 * precision * recall / (precision + recall) - f1) > 0.015:
            strange.append((suite, cell))
    # The paper prints 85.35, and a difference of 2.66 that goes with it; its precision and recall make 85.49.
    assert strange == [("focalmre_table3", "w/o Focal Attention")]
