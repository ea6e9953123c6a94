"""The posts of a run."""

import json

import datasets
import pytest
from run_helpers import metrics, predictions, settings_of, train
from transformers import AutoModel

from mmre.posts.synthetic import make_synthetic_posts
from mmre.processing import MultimodalProcessor
from mmre.training.run import protocol_facts
from mmre.training.splits import open_splits, with_lengths

READS_ALL = ("text", "caption", "image", "regions")


def test_data_that_cannot_be_loaded_is_an_error_without_a_traceback(config_file, tmp_path):
    nowhere = ["--dataset", "mnre", "--data_dir", str(tmp_path / "nowhere")]
    with pytest.raises((OSError, ValueError), match="nowhere"):
        train([config_file(), *nowhere])
    line = {"token": ["a", "b"], "h": {"name": "a", "pos": [0, 1]}, "t": {"name": "b", "pos": [1, 2]}}
    line |= {"img_id": "a.jpg", "relation": "None"}
    (tmp_path / "mnre_train.txt").write_text(f"{line}\n", "utf-8")
    only_train = ["--dataset", "mnre", "--data_dir", str(tmp_path), "--on_missing_image", "text_only"]
    with pytest.raises((OSError, ValueError), match="no text file for: validation, test"):
        train([config_file(), *only_train, "--regions", "none"])


def test_a_run_needs_only_the_splits_it_uses(run, config_file, tmp_path):
    line = {"token": ["a", "b"], "h": {"name": "a", "pos": [0, 1]}, "t": {"name": "b", "pos": [1, 2]}}
    line |= {"img_id": "a.jpg", "relation": "None"}
    (tmp_path / "mnre_test.txt").write_text(f"{line}\n", "utf-8")
    arguments = ["--dataset=mnre", f"--data_dir={tmp_path}", "--on_missing_image=text_only", "--regions=none"]
    settings = settings_of([config_file(), *arguments, "--do_train=false", "--do_eval=false"])
    assert list(open_splits(settings.data, settings.training)) == ["test"]


def test_posts_of_a_user_in_csv_files_are_trained_on(config_file, own_files, tmp_path):
    train([config_file(num_train_epochs=1), *own_files])
    result = metrics(tmp_path / "run")
    assert result["posts"]["dataset"] == "files"
    assert (result["posts"]["regions"], result["posts"]["captions"]) == ("as given", None)
    assert result["posts"]["samples"] == {"train": 16, "validation": 6, "test": 5}
    assert "without a look at the label, the data does not say" in (tmp_path / "run" / "results.md").read_text()
    posts = make_synthetic_posts(16, 6, 5)
    names = {posts["train"].features["relation"].names[label] for label in posts["train"]["relation"]} - {"None"}
    model = AutoModel.from_pretrained(tmp_path / "run")
    assert model.config.id2label == dict(enumerate(["None", *sorted(names)]))
    assert [row["id"] for row in predictions(tmp_path / "run")] == posts["test"]["id"]
    # The words are those that the texts were joined of: so are the inputs.
    settings = settings_of([config_file(), *own_files])
    read = open_splits(settings.data, settings.training)["train"]
    for name in ("text", "head", "tail", "grounded_regions"):
        assert read[name] == posts["train"][name]
    settings = settings_of([config_file(), *own_files, "--regions", "none"])
    read = open_splits(settings.data, settings.training)
    assert read["train"]["grounded_regions"] == [[]] * 16
    assert protocol_facts(read, settings.data, READS_ALL)["regions"] == "none"


def test_posts_of_a_user_take_what_was_found_in_their_pictures(config_file, own_files, tmp_path):
    settings = settings_of([config_file(), *own_files])
    ids = [key for rows in open_splits(settings.data, settings.training).values() for key in rows["id"]]
    found = {"grounded_regions": [[0.1, 0.2, 0.3, 0.4]], "detected_regions": [], "caption": "two people"}
    lines = [{"mmre_annotation": 1}, *({"id": key, **found} for key in ids)]
    path = tmp_path / "found.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    arguments = [config_file(), *own_files, "--regions", str(path), "--captions", str(path)]
    settings = settings_of(arguments)
    posts = open_splits(settings.data, settings.training)
    for rows in posts.values():
        assert all(boxes == [pytest.approx(found["grounded_regions"][0])] for boxes in rows["grounded_regions"])
        assert set(rows["caption"]) == {"two people"}
    description = protocol_facts(posts, settings.data, READS_ALL)
    assert (description["regions"], description["captions"]) == (str(path), [str(path)])
    path.write_text("".join(json.dumps(line) + "\n" for line in lines[:-1]), "utf-8")
    with pytest.raises((OSError, ValueError), match="1 of .* posts missing: test-"):
        train(arguments)


def test_a_bad_file_of_a_user_stops_the_run_with_its_row_and_field(config_file, own_files, tmp_path):
    lines = (tmp_path / "validation.csv").read_text("utf-8").splitlines()
    (tmp_path / "validation.csv").write_text("\n".join([lines[0], lines[1].replace(",None,", ",nobody,")]), "utf-8")
    with pytest.raises(
        (OSError, ValueError),
        match=r"(?s)1 problem.*validation.csv:2: unknown relation 'nobody'; expected 'None', ",
    ):
        train([config_file(), *own_files])
    assert not (tmp_path / "run").exists()


def test_a_split_that_a_user_does_not_have_is_an_error_that_says_what_to_do(config_file, own_files):
    settings = settings_of([config_file(), *own_files[:4]])
    with pytest.raises(FileNotFoundError, match="no posts for: validation, test.*give --validation_file, --test_file"):
        open_splits(settings.data, settings.training)
    settings = settings_of([config_file(), *own_files[:6], "--do_predict=false"])
    assert list(open_splits(settings.data, settings.training)) == ["train", "validation"]


def test_a_stored_data_set_is_trained_on_by_its_name(config_file, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    for split, rows in make_synthetic_posts(16, 6, 5).items():
        rows.to_parquet(tmp_path / "posts" / f"{split}.parquet")
    path = config_file(num_train_epochs=1)
    train([path, "--dataset", str(tmp_path / "posts"), "--regions", "none"])
    result = metrics(tmp_path / "run")
    assert (result["posts"]["regions"], result["posts"]["captions"]) == ("none", None)
    assert result["test"]["samples"] == 5
    with pytest.raises((OSError, ValueError), match="nobody/nothing"):
        train([path, "--dataset", "nobody/nothing", "--output_dir", str(tmp_path / "other")])


def test_pictures_are_shuffled_when_the_protocol_says_so(config_file):
    settings = settings_of([config_file(), "--align_noise", "1"])
    shuffled = open_splits(settings.data, settings.training)
    settings = settings_of([config_file()])
    plain = open_splits(settings.data, settings.training)
    for split in plain:
        assert shuffled[split]["id"] == plain[split]["id"]
        moved = [a["image"]["bytes"] != b["image"]["bytes"] for a, b in zip(shuffled[split], plain[split])]
        assert all(moved)


@pytest.mark.parametrize("reads_captions", [False, True])
def test_the_length_of_a_post_is_that_of_what_the_model_reads(make_processor, reads_captions):
    parts = make_processor()
    inputs = ["text", "caption"] if reads_captions else ["text"]
    processor = MultimodalProcessor(parts.image_processor, parts.tokenizer, inputs=inputs, max_length=24)
    texts, captions = ["rafael nadal weds mery", "@@@@@@@@@@ nadal weds", "nadal weds " * 20], ["a city", None, "york"]
    rows = {"text": texts, "caption": captions, "length": [0] * 3}
    (counted,) = with_lengths(datasets.DatasetDict({"train": datasets.Dataset.from_dict(rows)}), processor).values()
    for text, caption, length in zip(texts, captions, counted["length"]):
        start = text.index("nadal")
        tokens = processor(text=text, head=(start, start + 5), tail=(start + 6, start + 10), caption=caption)
        expected = tokens["input_ids"].shape[1]
        # A caption's own special tokens are counted where there is none, too: it is the order that counts.
        assert expected <= length <= expected + 2 * reads_captions
