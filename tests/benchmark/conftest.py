"""A benchmark in the place of the real one, and what it runs on."""

import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmark_helpers import ABLATION, RELATIONS, TINY

from mmre.benchmark import post_counts
from mmre.benchmark import runs as benchmark_runs
from mmre.benchmark.suite import Suite
from mmre.benchmark.suites import SUITES
from mmre.cli.main import main


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """Run a suite called `tiny`, or one by name, in `out`, with a program in place of the training."""

    def run(program: str, *arguments: str, suite: Suite | str = ABLATION, data: str = "synthetic") -> int:
        name = suite if isinstance(suite, str) else "tiny"
        if name == "tiny":
            monkeypatch.setitem(SUITES, name, suite)
        path = tmp_path / "program.py"
        path.write_text(program.format(folder=str(tmp_path)), "utf-8")
        monkeypatch.setattr(benchmark_runs, "TRAINING", (sys.executable, str(path)))
        options = ["--data", data, "--config", str(TINY), "--out", str(tmp_path / "out")]
        return main(["benchmark", name, *options, *arguments])

    return run


@pytest.fixture
def known(tmp_path):
    """Figures of the fake training: per seed 1, 2, 3 an F1, and predictions for 40 posts."""
    generator = np.random.default_rng(7)
    gold = generator.choice(RELATIONS, 40).tolist()
    predicted = [[g if generator.random() < 0.7 else str(generator.choice(RELATIONS)) for g in gold] for _ in range(3)]
    content = {"f1": [0.5, 0.6, 0.8], "gold": gold, "predicted": predicted, "support": Counter(gold)}
    content["support"] = {name: content["support"][name] for name in RELATIONS}
    (tmp_path / "known.json").write_text(json.dumps(content), "utf-8")
    return content


@pytest.fixture
def mnre(tmp_path) -> Path:
    """A folder with files of MNRE: 40, 2 and 3 posts with two pictures, one of which is not there."""
    post_counts._read.cache_clear()
    folder = tmp_path / "mnre"
    folder.mkdir()
    row = {
        "token": ["a", "b"],
        "h": {"name": "a", "pos": [0, 1]},
        "t": {"name": "b", "pos": [1, 2]},
        "relation": "None",
    }
    found = [{"mmre_annotation": 1}]
    for split, own, number in (("train", "train", 40), ("val", "validation", 2), ("test", "test", 3)):
        lines = [str(row | {"img_id": f"{i % 2}.jpg"}) for i in range(number)]
        (folder / f"mnre_{split}.txt").write_text("\n".join(lines), "utf-8")
        for source in ("blip2", "llava"):
            lines = [str({"img_id": f"{i}.jpg", "text": f"a picture, says {source}"}) for i in range(2)]
            (folder / f"{source}_{split}.txt").write_text("\n".join(lines), "utf-8")
        for kind in ("vg", "detect"):
            torch.save({}, folder / f"{split}_{kind}_box_dict.pth")
        found += [{"id": f"{own}-{i}", "grounded_regions": [], "detected_regions": []} for i in range(number)]
    (folder / "0.jpg").write_bytes(b"a picture")
    (folder / "regions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in found), "utf-8")
    return folder
