"""`mmre publish`: what it hands on, and how it fails."""

from types import SimpleNamespace

import pytest

from mmre.cli.main import main
from mmre.model_cards import publishing


@pytest.fixture
def published(monkeypatch):
    """The arguments of each publication."""
    calls = []

    def publish(*arguments, **options):
        calls.append((arguments, options))
        return SimpleNamespace(commit_url="https://hub/commit/1")

    monkeypatch.setattr(publishing, "publish", publish)
    return calls


def test_the_folder_and_the_options_are_handed_on(published, capsys):
    assert main(["publish", "outputs/x", "me/x"]) == 0
    assert capsys.readouterr().out == "Published: https://hub/commit/1\n"
    assert main(["publish", "outputs/x", "me/x", "--private", "--revision", "trial", "--license", "mit"]) == 0
    assert published == [
        (("outputs/x", "me/x"), {"private": None, "revision": None, "license": None}),
        (("outputs/x", "me/x"), {"private": True, "revision": "trial", "license": "mit"}),
    ]


@pytest.mark.parametrize(
    "error", [FileNotFoundError("There is no model in x"), publishing.NotLoadableError("x gives other logits")]
)
def test_what_cannot_be_published_is_one_line(monkeypatch, capsys, error):
    def publish(*_, **__):
        raise error

    monkeypatch.setattr(publishing, "publish", publish)
    assert main(["publish", "x", "me/x"]) == 1
    assert capsys.readouterr().err == f"mmre publish: error: {error}\n"
