"""Folders of random models, pictures, arguments, and a spaCy model that is loaded once."""

import pytest
from picture_helpers import cached_load_spacy
from prediction_helpers import focalmre, folder, mtb, prediction_arguments, tgdi  # noqa: F401, fixtures

from mmre.inference import run as run_module


@pytest.fixture(autouse=True)
def spacy_model_is_loaded_once(monkeypatch):
    monkeypatch.setattr(run_module, "load_spacy", cached_load_spacy)


@pytest.fixture
def arguments(prediction_arguments):  # noqa: F811
    return prediction_arguments
