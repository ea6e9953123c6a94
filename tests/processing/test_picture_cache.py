"""Pictures that are kept: the same values as without, whatever happens to the folder."""

import copy
import errno
import multiprocessing
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPImageProcessorPil

from mmre.processing import MultimodalProcessor, processing_multimodal
from mmre.processing.picture_cache import PictureCache, cache_key, picture_content

POST = {"text": "rafael nadal weds mery", "head": (0, 12), "tail": (18, 22)}
BOXES = [[0.1, 0.2, 0.55, 0.9], [0.5, 0.0, 1.0, 0.3]]
FRAMED = [{}, {"resize": "center_crop"}, {"draw_at": "source"}, {"input_mode": "cropped"}, {"input_mode": "original"}]


@pytest.fixture
def file(tmp_path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


def encode(processor, image) -> dict[str, torch.Tensor]:
    regions = {"grounded_regions": BOXES, "detected_regions": BOXES[:1]}
    columns = {name: [value] * 2 for name, value in (POST | regions).items()}
    return dict(processor(images=[image, None], **columns | {name: [value, []] for name, value in regions.items()}))


def same(first: dict, second: dict) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("arguments", FRAMED, ids=str)
def test_a_picture_is_decoded_once_and_its_values_stay_the_same(make_processor, file, arguments, tmp_path, monkeypatch):
    expected = encode(make_processor(**arguments), file)
    assert len(expected["pixel_values"][0].unique()) > 100
    first, second, third = (make_processor(**arguments) for _ in range(3))
    first.picture_cache = PictureCache(tmp_path / "cache")
    second.picture_cache = PictureCache(tmp_path / "cache", memory=0)
    third.picture_cache = PictureCache()
    assert same(encode(first, file), expected) and same(encode(third, file.read_bytes()), expected)

    def refuse(*args):
        raise AssertionError("it is decoded again")

    monkeypatch.setattr(processing_multimodal, "load_image", refuse)
    for processor in (first, second, third):
        assert same(encode(processor, {"bytes": None, "path": str(file)}), expected)
        assert same(encode(processor, {"bytes": file.read_bytes(), "path": "elsewhere.png"}), expected)


def test_systems_that_cut_regions_out_keep_those(make_processor, file, tmp_path):
    parts = make_processor()
    processor, kept = (MultimodalProcessor(parts.image_processor, parts.tokenizer) for _ in range(2))
    kept.picture_cache = PictureCache(tmp_path / "cache")
    expected = encode(processor, file)
    assert same(encode(kept, file), expected) and same(encode(kept, file), expected)
    assert len([*(tmp_path / "cache").glob("*/*")]) == 3  # the picture and two regions, of which one is shown twice


def test_another_content_and_another_setting_are_another_picture(make_processor, file, tmp_path):
    cache = PictureCache(tmp_path / "cache")
    content = file.read_bytes()
    Image.effect_mandelbrot((90, 60), (-2, -1, 1, 1), 50).convert("RGB").save(file)
    for image in (content, file):
        for arguments in ({}, {"resize": "center_crop"}, {"size": 16}, {"draw_at": "source"}):
            processor = make_processor(**arguments)
            expected = encode(processor, image)
            processor.picture_cache = cache
            assert same(encode(processor, image), expected), arguments


def test_a_picture_without_a_file_and_one_that_is_none_are_read_as_before(make_processor, file, tmp_path):
    processor, kept = make_processor(), make_processor()
    kept.picture_cache = PictureCache(tmp_path / "cache")
    assert same(encode(kept, Image.open(file)), encode(processor, Image.open(file)))
    assert not [*(tmp_path / "cache").glob("*/*")]
    for image in (b"<html>404</html>", tmp_path / "missing.png"):
        with pytest.raises((ValueError, FileNotFoundError)) as expected:
            encode(processor, image)
        with pytest.raises(expected.type) as found:
            encode(kept, image)
        assert str(found.value).split(" at 0x")[0] == str(expected.value).split(" at 0x")[0]


def change(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-7] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [lambda path: path.write_bytes(b""), lambda path: path.write_bytes(path.read_bytes()[:-5]), change],
    ids=["empty", "cut", "changed"],
)
def test_a_damaged_file_counts_as_absent_and_is_written_anew(make_processor, file, tmp_path, damage):
    processor = make_processor(input_mode="original")
    expected = encode(processor, file)
    processor.picture_cache = PictureCache(tmp_path / "cache")
    encode(processor, file)
    (kept,) = (tmp_path / "cache").glob("*/*")
    good = kept.read_bytes()
    damage(kept)
    assert kept.read_bytes() != good
    processor.picture_cache = PictureCache(tmp_path / "cache")
    assert same(encode(processor, file), expected) and kept.read_bytes() == good


def test_a_run_that_is_stopped_while_it_writes_leaves_no_half_of_a_picture(tmp_path, monkeypatch):
    cache, key, image = PictureCache(tmp_path, memory=0), cache_key(b"content"), Image.new("RGB", (4, 4), "red")

    def stop(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "replace", stop)
        cache.get(key, lambda: (image, (8, 8)))
    asked = []
    assert PictureCache(tmp_path).get(key, lambda: asked.append(1) or (image, (8, 8))) == (image, (8, 8)) and asked


def test_a_disk_that_is_full_does_not_end_a_run(tmp_path, monkeypatch, caplog):
    def full(*args, **named):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", full)
    image = Image.new("RGB", (4, 4))
    assert PictureCache(tmp_path).get(cache_key(b"x"), lambda: (image, (4, 4))) == (image, (4, 4))


def _share(folder: Path, queue) -> None:
    cache = PictureCache(folder, memory=0)
    good = True
    for round_ in range(30):
        for number in range(8):
            image = Image.new("RGB", (16, 16), (number, round_ % 2, 0))
            found, _ = cache.get(cache_key(bytes([number])), lambda image=image: (image, (1, 1)))
            good &= found.size == (16, 16) and found.getpixel((15, 15))[0] == number
    queue.put(good)


def test_several_processes_share_a_folder(tmp_path):
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    processes = [context.Process(target=_share, args=(tmp_path, queue)) for _ in range(3)]
    for process in processes:
        process.start()
    assert [queue.get(timeout=60) for _ in processes] == [True] * 3
    for process in processes:
        process.join()
    assert len([*tmp_path.glob("*/*")]) == 8


def test_memory_is_bounded(tmp_path):
    image = Image.new("RGB", (10, 10))  # 400 bytes
    cache, made = PictureCache(memory=1000), []
    for _ in range(2):
        for number in range(4):
            cache.get(cache_key(bytes([number])), lambda number=number: made.append(number) or (image, (1, 1)))
    assert made == [0, 1, 2, 3, 2, 3]  # two have room


def test_a_cache_is_neither_saved_nor_copied_with_its_processor(make_processor, tmp_path):
    processor = make_processor()
    processor.picture_cache = PictureCache(tmp_path / "cache")
    assert copy.deepcopy(processor.picture_cache) is processor.picture_cache
    processor.save_pretrained(tmp_path / "saved")
    assert b"cache" not in (tmp_path / "saved" / "processor_config.json").read_bytes()


def test_the_content_is_that_of_a_file(file):
    content = file.read_bytes()
    assert picture_content(str(file)) == picture_content({"bytes": None, "path": file}) == content
    assert picture_content(content) == picture_content({"bytes": content, "path": None}) == content
    assert picture_content(Image.open(file)) is None and picture_content("missing.png") is None


class Swapping(CLIPImageProcessorPil):
    """As some image processors do, it puts blue first."""

    def preprocess(self, images, *args, **kwargs):
        outputs = super().preprocess(images, *args, **kwargs)
        outputs["pixel_values"] = outputs["pixel_values"].flip(1)
        return outputs


@pytest.mark.parametrize("kind", [CLIPImageProcessorPil, Swapping])
def test_the_values_of_many_pictures_are_the_image_processors(make_processor, kind):
    processor = make_processor()
    processor.image_processor = kind(size={"height": 32, "width": 32}, do_center_crop=False)
    rng = np.random.default_rng(1)
    images = [Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)) for _ in range(9)]
    options = {"do_resize": False, "do_center_crop": False, "return_tensors": "pt"}
    expected = processor.image_processor(images, **options)["pixel_values"]
    values = np.zeros(expected.shape, np.float32)
    processor._normalize_images(list(zip(images, values)))
    assert np.array_equal(values, expected)
    assert (processor._values_of_channels() is None) == (kind is Swapping)
