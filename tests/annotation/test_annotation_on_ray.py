"""Annotation with workers of Ray: the same file, also when a worker dies; errors in a line."""

from pathlib import Path

import pytest
from ray_helpers import kill_a_worker

from mmre.annotation import run as run_module
from mmre.annotation.plan import open_unlabelled_posts
from mmre.annotation.run import annotate

pytest.importorskip("ray", reason="workers need Ray: pip install 'mmre[ray]'")
pytestmark = pytest.mark.slow


def test_the_file_is_the_same_with_two_workers_of_which_one_is_killed(mnre, arguments, monkeypatch):
    alone, together = (
        arguments("alone.jsonl", batch_size=1),
        arguments("ray.jsonl", batch_size=1, ray="local", workers=2),
    )
    annotate(open_unlabelled_posts(mnre), alone)
    killed = kill_a_worker(monkeypatch, run_module)
    report = annotate(open_unlabelled_posts(mnre), together)
    assert killed and "This time: 5 images in" in report
    assert Path(together.out).read_bytes() == Path(alone.out).read_bytes()
    assert not Path(f"{together.out}.part").exists()


def test_what_is_wrong_with_a_model_is_told_as_without_workers(mnre, arguments):
    args = arguments(tasks=["detection"], detection_model=arguments().grounding_model)
    with pytest.raises(ValueError, match="^--detection_model ") as alone:
        annotate(open_unlabelled_posts(mnre), args)
    args.ray = "local"
    with pytest.raises(ValueError, match="^--detection_model ") as told:
        annotate(open_unlabelled_posts(mnre), args)
    assert str(told.value) == str(alone.value)


def test_more_workers_than_there_is_room_for_are_refused(mnre, arguments):
    with pytest.raises(ValueError, match="--workers 1000: this machine has .* expected at most so many"):
        annotate(open_unlabelled_posts(mnre), arguments(tasks=["detection"], ray="local", workers=1000))


def test_a_cluster_that_is_not_there_is_named(mnre, arguments):
    with pytest.raises(OSError, match="--ray 127.0.0.1:1: "):
        annotate(open_unlabelled_posts(mnre), arguments(tasks=["detection"], ray="127.0.0.1:1"))
