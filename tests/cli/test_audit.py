"""The command `mmre audit`: it opens what training opens, prints the report, and its status says if there is a leak."""

import argparse
import json

import datasets
import pytest

from mmre.cli import audit as command
from mmre.cli.main import main
from mmre.evaluation import leak_audit, leak_features
from mmre.posts.digits import make_digit_posts
from mmre.posts.synthetic import make_synthetic_posts


@pytest.fixture(scope="module")
def leaking() -> datasets.DatasetDict:
    """Make posts that have two identical boxes if they have a relation."""
    box = [0.2, 0.2, 0.4, 0.4]

    def leak(row):
        return {"grounded_regions": [box, box if row["relation"] else [0.2, 0.2, 0.4, 0.5]]}

    posts = make_synthetic_posts(num_train=300, num_validation=2, num_test=300)
    image = {"image": datasets.Image(decode=False)}
    for split, rows in posts.items():
        features = rows.features
        rows = rows.cast(datasets.Features({**features, **image})).map(leak, load_from_cache_file=False)
        posts[split] = rows.cast(features)
    return posts


@pytest.mark.slow
def test_real_regions_of_mnre_alone_are_audited(shared_mnre, tmp_path, capsys):
    assert main(["audit", str(shared_mnre), "--sources", "regions", "--json", str(tmp_path / "audit.json")]) == 1
    result = json.loads((tmp_path / "audit.json").read_text("utf-8"))
    assert list(result)[:3] == ["data", "regions", "captions"]
    assert (result["data"], result["regions"], result["captions"]) == (str(shared_mnre), "released", None)
    names = [row["feature"] for row in result["features"] if row["leaks"]]
    assert names == ["number of grounded regions", "identical grounded boxes"]
    printed = capsys.readouterr().out
    assert "1,614 of 1,614 posts" in printed and "2 of 14 features leak: number of grounded regions, id" in printed


@pytest.mark.slow
def test_synthetic_posts_leak_nothing(tmp_path, capsys):
    assert main(["audit", "synthetic", "--json", str(tmp_path / "audit.json")]) == 0
    result = json.loads((tmp_path / "audit.json").read_text())
    assert list(result)[:2] == ["data", "posts"]
    assert not any(row["leaks"] for row in result["features"]) and result["left_out"] == []
    assert "0 of 33 features leak." in capsys.readouterr().out


def test_posts_with_digits_leak_nothing(monkeypatch, capsys):
    posts = make_digit_posts(num_train=500, num_validation=2, num_test=300)
    monkeypatch.setattr("mmre.posts.sources.make_digit_posts", lambda **_: posts)
    assert main(["audit", "digits"]) == 0
    assert "0 of 33 features leak." in capsys.readouterr().out


def test_a_saved_data_set_is_audited(leaking, tmp_path, capsys):
    leaking.save_to_disk(tmp_path / "posts")
    assert main(["audit", str(tmp_path / "posts"), "--json", str(tmp_path / "audit.json")]) == 1
    printed = capsys.readouterr().out
    assert "identical grounded boxes: rule for whether there is a relation: None up to 0.5, related above" in printed
    assert json.loads((tmp_path / "audit.json").read_text())["data"] == str(tmp_path / "posts")
    # The same posts with other regions: those of no one.
    words = ["audit", str(tmp_path / "posts"), "--regions", "none", "--json", str(tmp_path / "none.json")]
    assert main(words) == 0
    assert json.loads((tmp_path / "none.json").read_text())["regions"] == "none"


def test_a_folder_of_parquet_files_is_audited_as_training_reads_it(leaking, tmp_path, capsys):
    (tmp_path / "data").mkdir()
    for split, rows in leaking.items():
        rows.to_parquet(tmp_path / "data" / f"{split}-00000-of-00001.parquet")
    assert main(["audit", str(tmp_path)]) == 1
    printed = capsys.readouterr().out
    assert "identical grounded boxes: rule" in printed and "of 33 features leak: " in printed


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["synthetic", "--regions", "released"], 2, "unknown regions 'released'; expected 'drawn' or 'none'"),
        (["synthetic", "--image_dir", "."], 2, "--image_dir: only for a folder of MNRE's files"),
        (["synthetic", "--threshold", "2"], 2, r"--threshold 2; expected a number in (0, 1]"),
        (["synthetic", "--json", "no/such/a.json"], 2, "there is no folder no/such"),
        (["no/such/folder"], 1, "no/such/folder"),
    ],
)
def test_what_cannot_be_audited_is_one_line(words, status, message, capsys):
    assert main(["audit", *words]) == status
    error = capsys.readouterr().err
    assert error.startswith("mmre audit: error: ") and message in error


def test_a_folder_without_posts_is_refused(tmp_path, capsys):
    assert main(["audit", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert error.startswith(
        f"mmre audit: error: {tmp_path}: no text file of MNRE, no data set of `save_to_disk` and no "
    )


def test_the_options_are_those_of_the_audit():
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    args = parser.parse_args(["synthetic"])
    assert args.sources == leak_features.SOURCES and args.threshold == leak_audit.THRESHOLD
