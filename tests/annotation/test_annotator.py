"""The annotator over pictures of all kinds, and over those that models do not take."""

import json
from collections import Counter

import datasets
import pytest
from picture_helpers import dataset, image_bytes, noise, read_annotation
from PIL import Image

from mmre.annotation import annotator as annotator_module
from mmre.annotation.picture_models import Captioner, Detector, Grounder
from mmre.annotation.plan import open_unlabelled_posts
from mmre.annotation.run import annotate


def test_each_picture_is_decoded_detected_and_captioned_once(mnre, arguments, monkeypatch):
    calls = Counter()

    def count(name: str, function, images_at: int):
        def counted(*positional, **named):
            images = positional[images_at]
            calls[name] += len(images) if isinstance(images, list) else 1
            return function(*positional, **named)

        return counted

    monkeypatch.setattr(Detector, "__call__", count("detected", Detector.__call__, 1))
    monkeypatch.setattr(Captioner, "__call__", count("captioned", Captioner.__call__, 1))
    monkeypatch.setattr(Grounder, "__call__", count("grounded", Grounder.__call__, 1))
    monkeypatch.setattr(annotator_module, "load_image", count("decoded", annotator_module.load_image, 0))
    annotate(open_unlabelled_posts(mnre), arguments())
    assert calls == {"decoded": 5, "detected": 3, "captioned": 3, "grounded": 5}


def test_the_code_of_a_picture_model_is_not_run_and_nobody_is_asked(mnre, arguments, tmp_path, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda question: pytest.fail(question))
    folder = tmp_path / "own"
    folder.mkdir()
    config = {"model_type": "own", "auto_map": {"AutoConfig": "configuration_own.OwnConfig"}}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="--caption_model .*own is of code of its own, which is not run here"):
        annotate(open_unlabelled_posts(mnre), arguments(tasks=["captions"], caption_model=str(folder)))


def test_a_data_set_in_the_schema_with_pictures_of_all_kinds(arguments, tmp_path):
    turned = Image.Exif()
    turned[274] = 6
    kinds = {
        "plain": image_bytes(noise(1)),
        "again": image_bytes(noise(1)),
        "turned": image_bytes(noise(1), "JPEG", exif=turned, quality=95),
        "cmyk": image_bytes(noise(2).convert("CMYK"), "JPEG"),
        "animated": image_bytes(noise(3), "GIF", save_all=True, append_images=[noise(4)]),
        "narrow": image_bytes(noise(5, 400, 10)),
        "grey": image_bytes(noise(6).convert("LA")),
        "cut": image_bytes(noise(7))[:-200],
        "none": None,
    }
    images = [{"bytes": content, "path": None} if content else None for content in kinds.values()]
    rows = dataset([{"image": image, "id": name} for name, image in zip(kinds, images)])
    datasets.DatasetDict({"train": rows.select(range(5)), "test": rows.select(range(5, 9))}).save_to_disk(
        tmp_path / "set"
    )
    args = arguments()
    annotate(open_unlabelled_posts(tmp_path / "set"), args)
    found = {row["id"]: row for row in read_annotation(args)[1]}
    assert list(found) == list(kinds)
    assert {name for name, row in found.items() if "error" in row} == {"cut"}
    assert "0x" not in found["cut"]["error"]
    assert {name for name, row in found.items() if row["caption"] is None} == {"cut", "none"}
    assert {**found["again"], "id": "plain"} == found["plain"]
    assert found["turned"]["detected_regions"] != found["plain"]["detected_regions"]


def test_a_picture_too_large_to_be_safe_is_recorded(arguments, tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5000)
    images = [{"bytes": image_bytes(noise(1, width)), "path": None} for width in (80, 120)]
    dataset([{"image": image} for image in images]).save_to_disk(tmp_path / "set")
    args = arguments(tasks=["detection"])
    annotate(open_unlabelled_posts(tmp_path / "set"), args)
    small, large = read_annotation(args)[1]
    assert "error" not in small and "too large" in large["error"] and large["detected_regions"] == []


def test_a_picture_that_a_model_does_not_take_is_recorded_and_the_run_goes_on(arguments, tmp_path):
    """The tiny Grounding DINO scales this one to no height at all."""
    sizes = {"good": (80, 60), "line": (3000, 1), "better": (60, 80)}
    rows = [
        {"id": name, "image": {"bytes": image_bytes(Image.new("RGB", size)), "path": None}}
        for name, size in sizes.items()
    ]
    dataset(rows).save_to_disk(tmp_path / "set")
    args = arguments(tasks=["grounding"], batch_size=3)
    annotate(open_unlabelled_posts(tmp_path / "set"), args)
    found = {row["id"]: row for row in read_annotation(args)[1]}
    assert "the models do not take it: " in found["line"]["error"] and found["line"]["grounded_regions"] == []
    assert all("error" not in found[name] and found[name]["grounded_regions"] for name in ("good", "better"))


def test_one_picture_that_a_model_does_not_take_among_broken_ones_is_no_reason_to_stop(arguments, tmp_path):
    contents = {"broken": b"<html>404</html>", "line": image_bytes(Image.new("RGB", (3000, 1))), "cut": b"\x89PNG"}
    rows = [{"id": name, "image": {"bytes": content, "path": None}} for name, content in contents.items()]
    dataset(rows).save_to_disk(tmp_path / "set")
    args = arguments(tasks=["grounding"], batch_size=3)
    annotate(open_unlabelled_posts(tmp_path / "set"), args)
    errors = {row["id"]: row["error"] for row in read_annotation(args)[1]}
    assert "the models do not take it: " in errors["line"] and "cannot be read" in errors["broken"]


def test_what_fails_for_all_pictures_ends_the_run(mnre, arguments, monkeypatch):
    def fail(*_):
        raise ValueError("no such prompt")

    monkeypatch.setattr(Captioner, "__call__", fail)
    with pytest.raises(ValueError, match="none of 2 pictures could be annotated: no such prompt"):
        annotate(open_unlabelled_posts(mnre), arguments(tasks=["captions"]))
