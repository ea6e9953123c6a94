"""A small MNRE, arguments for random models, and a spaCy model that is loaded once."""

from pathlib import Path

import pytest
from picture_helpers import cached_load_spacy, write_mnre

from mmre.annotation import run as run_module
from mmre.annotation.arguments import AnnotationArguments


@pytest.fixture
def mnre(tmp_path) -> Path:
    return write_mnre(tmp_path / "mnre")


@pytest.fixture(autouse=True)
def spacy_model_is_loaded_once(monkeypatch):
    monkeypatch.setattr(run_module, "load_spacy", cached_load_spacy)


@pytest.fixture
def arguments(picture_arguments, tmp_path):
    def make(name: str = "out.jsonl", **changes) -> AnnotationArguments:
        return AnnotationArguments(out=str(tmp_path / name), **picture_arguments | changes)

    return make
