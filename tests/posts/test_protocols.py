"""The protocols change what they name, by the share they name, and nothing else."""

import json
from collections import Counter
from pathlib import Path

import datasets
import pytest
from PIL import Image
from run_helpers import settings_of, train

from mmre.posts.column_changes import drop_pictures, region_count_as_caption
from mmre.posts.noise import align_noise, aug_noise
from mmre.posts.sampling import sample_per_relation, sample_share
from mmre.posts.schema import post_features
from mmre.posts.synthetic import make_synthetic_posts
from mmre.processing import TGDIProcessor
from mmre.training.splits import open_splits

POSTS_PER_PICTURE = 3


@pytest.fixture
def posts():
    """60 posts on 20 pictures; region, caption and picture tell which picture it is."""
    rows = []
    for index in range(60):
        picture = index // POSTS_PER_PICTURE
        rows.append(
            {
                "id": f"test-{index}",
                "tokens": ["post", str(index)],
                "head": {"start": 0, "end": 1},
                "tail": {"start": 1, "end": 2},
                "image": Image.new("RGB", (4, 4), (picture, 0, 0)),
                "relation": index % 2,
                "grounded_regions": [[0.0, 0.0, (picture + 1) / 20, 1.0]],
                "detected_regions": [[0.0, 0.0, 1.0, (picture + 1) / 20]],
                "caption": f"picture {picture}",
            }
        )
    return datasets.Dataset.from_list(rows, features=post_features(["None", "couple"]))


def picture_of(row) -> int:
    picture = row["image"].getpixel((0, 0))[0]
    assert row["caption"] == f"picture {picture}"
    assert row["grounded_regions"] == [[0.0, 0.0, (picture + 1) / 20, 1.0]]
    assert row["detected_regions"] == [[0.0, 0.0, 1.0, (picture + 1) / 20]]
    return picture


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 1.0])
def test_the_share_of_posts_gets_another_picture_with_its_regions_and_caption(posts, share):
    noisy = align_noise(posts, share, seed=0)
    moved = [picture_of(row) != index // POSTS_PER_PICTURE for index, row in enumerate(noisy)]
    assert sum(moved) == share * len(posts)


def test_texts_entities_relations_and_order_stay(posts):
    noisy = align_noise(posts, 1.0, seed=0)
    for column in ("id", "tokens", "head", "tail", "relation"):
        assert noisy[column] == posts[column]
    assert noisy.features == posts.features


def test_pictures_are_swapped_not_drawn_anew(posts):
    assert sorted(align_noise(posts, 1.0, seed=0)["caption"]) == sorted(posts["caption"])


def test_a_seed_gives_the_same_posts_and_another_seed_others(posts):
    captions = [align_noise(posts, 0.5, seed=seed)["caption"] for seed in (1, 1, 2)]
    assert captions[0] == captions[1] != captions[2]


def test_a_share_beyond_one_and_pictures_that_cannot_be_swapped_are_refused(posts):
    with pytest.raises(ValueError, match="must be in"):
        align_noise(posts, 1.5, seed=0)
    with pytest.raises(ValueError, match="too few"):
        align_noise(posts.select(range(4)), 1.0, seed=0)


REGIONS = ("grounded_regions", "detected_regions")


@pytest.fixture(scope="module")
def drawn():
    """Posts with several regions each, none of which is as wide as an irrelevant one could be and the same."""
    return make_synthetic_posts(num_train=60, num_validation=0, num_test=0)["train"]


def others(dataset, *changed) -> list[dict]:
    """All columns but some, with the pictures' bytes."""
    plain = dataset.cast_column("image", datasets.Image(decode=False)).remove_columns(list(changed))
    return plain.to_list()


def count_changes(before, after) -> tuple[int, int]:
    """How many boxes were replaced and how many deleted; the ones that are left must be in their order."""
    replaced = deleted = 0
    for name in REGIONS:
        for old, new in zip(before[name], after[name]):
            kept = [box for box in new if box in old]
            assert kept == [box for box in old if box in kept]
            replaced += len(new) - len(kept)
            deleted += len(old) - len(new)
    return replaced, deleted


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.5, 1.0])
def test_the_share_of_all_regions_is_replaced_or_deleted_and_nothing_else_changes(drawn, share):
    total = sum(len(boxes) for name in REGIONS for boxes in drawn[name])
    noisy = aug_noise(drawn, share, seed=0)
    replaced, deleted = count_changes(drawn, noisy)
    assert replaced + deleted == round(share * total)
    if share:
        assert min(replaced, deleted) > 0.2 * share * total  # both happen
    assert others(noisy, *REGIONS) == others(drawn, *REGIONS)
    assert noisy.features == drawn.features


def test_a_replaced_region_is_a_box_of_the_picture_outside_the_focal_ones(posts):
    corner = [[0.0, 0.0, 0.4, 0.4]]
    rows = [row | {"grounded_regions": corner, "detected_regions": []} for row in others(posts)]
    noisy = aug_noise(datasets.Dataset.from_list(rows, features=posts.features), 1.0, seed=0)
    boxes = [box for boxes in noisy["grounded_regions"] for box in boxes]
    assert 0 < len(boxes) < len(posts)
    for x_min, y_min, x_max, y_max in boxes:
        assert 0 <= x_min < x_max <= 1 and 0 <= y_min < y_max <= 1
        inside = max(0, 0.4 - x_min) * max(0, 0.4 - y_min)
        assert inside <= 0.1 * (x_max - x_min) * (y_max - y_min)


def test_a_region_that_fills_the_picture_is_replaced_all_the_same(posts):
    rows = [row | {"grounded_regions": [[0.0, 0.0, 1.0, 1.0]], "detected_regions": []} for row in others(posts)]
    whole = datasets.Dataset.from_list(rows, features=posts.features)
    assert sum(count_changes(whole, aug_noise(whole, 1.0, seed=0))) == len(posts)


def test_region_noise_is_repeated_by_its_seed(drawn):
    regions = [aug_noise(drawn, 0.5, seed=seed)["grounded_regions"][:] for seed in (1, 1, 2)]
    assert regions[0] == regions[1] != regions[2]


@pytest.mark.parametrize("share", [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 1.0])
def test_a_share_of_the_posts_is_drawn_without_replacement_and_as_they_are(posts, share):
    drawn = sample_share(posts, share, seed=0)
    assert len(drawn) == round(share * len(posts)) == len(set(drawn["id"]))
    by_id = {row["id"]: row for row in others(posts)}
    assert others(drawn) == [by_id[name] for name in drawn["id"]]
    assert drawn["id"][:] == [name for name in posts["id"] if name in set(drawn["id"])]


@pytest.mark.parametrize("number", [1, 2, 5, 10])
def test_each_relation_keeps_so_many_posts_and_one_with_fewer_all(drawn, number):
    before, after = Counter(drawn["relation"]), sample_per_relation(drawn, number, seed=0)
    assert Counter(after["relation"]) == {relation: min(number, count) for relation, count in before.items()}
    by_id = {row["id"]: row for row in others(drawn)}
    assert others(after) == [by_id[name] for name in after["id"]]
    assert min(before.values()) < 10  # or the test would not show it


@pytest.mark.parametrize(
    "sample", [lambda posts, seed: sample_share(posts, 0.3, seed), lambda *a: sample_per_relation(a[0], 5, a[1])]
)
def test_a_drawn_subset_is_repeated_by_its_seed(posts, sample):
    ids = [sample(posts, seed)["id"][:] for seed in (1, 1, 2)]
    assert ids[0] == ids[1] != ids[2]


def test_shares_and_numbers_that_mean_nothing_are_refused(posts):
    for protocol in (aug_noise, sample_share):
        with pytest.raises(ValueError, match="must be in"):
            protocol(posts, -0.1, seed=0)
    with pytest.raises(ValueError, match="no post"):
        sample_share(posts, 0.001, seed=0)
    with pytest.raises(ValueError, match="at least 1"):
        sample_per_relation(posts, 0, seed=0)


def test_without_pictures_text_caption_and_relation_stay(drawn):
    bare = drop_pictures(drawn)
    assert others(bare, "image", *REGIONS) == others(drawn, "image", *REGIONS)
    assert bare["image"][:] == [None] * len(drawn)
    assert not any(boxes for name in REGIONS for boxes in bare[name])


def test_the_number_of_grounded_regions_is_one_word_in_place_of_all_that_is_of_the_picture(drawn):
    counted = region_count_as_caption(drawn)
    assert others(counted, "image", "caption", *REGIONS) == others(drawn, "image", "caption", *REGIONS)
    assert counted["caption"][:] == [str(len(boxes)) for boxes in drawn["grounded_regions"]]
    assert counted["image"][:] == [None] * len(drawn)
    assert not any(boxes for name in REGIONS for boxes in counted[name])


def test_the_number_reaches_the_model_as_one_token(drawn, make_processor):
    parts = make_processor()
    processor = TGDIProcessor(parts.image_processor, parts.tokenizer)
    row = region_count_as_caption(drawn)[0]
    spans = {name: [(row[name]["start"], row[name]["end"])] for name in ("head", "tail")}
    plain, counted = (processor(text=[row["tokens"]], caption=[text], **spans) for text in (None, row["caption"]))
    count, separator = counted["input_ids"][0, plain["input_ids"].shape[1] :].tolist()
    assert processor.tokenizer.convert_ids_to_tokens([count, separator]) == [row["caption"], "[SEP]"]
    assert not counted["image_mask"].any()


def test_protocols_follow_one_another(drawn):
    rest = region_count_as_caption(aug_noise(align_noise(sample_share(drawn, 0.5, seed=0), 1.0, seed=0), 1.0, seed=0))
    assert len(rest) == 30
    by_id = {row["id"]: row for row in others(drawn)}
    columns = ("image", "caption", *REGIONS)
    kept = [{name: value for name, value in by_id[key].items() if name not in columns} for key in rest["id"]]
    assert others(rest, *columns) == kept


ARGUMENTS = ["configs/text_only_mnre.yaml", "--text_encoder", "any", "--dataset", "synthetic"]


def load(*arguments) -> datasets.DatasetDict:
    config, *rest = ARGUMENTS
    path = Path(__file__).resolve().parents[2] / config
    settings = settings_of([str(path), *rest, "--num_synthetic_posts", "40", *arguments])
    return open_splits(settings.data, settings.training)


def test_arguments_of_the_training_command_apply_the_protocols():
    plain = load("--use_images", "true")
    noisy = load("--use_images", "true", "--aug_noise", "1", "--train_share", "0.5")
    assert {split: len(rows) for split, rows in noisy.items()} == {"train": 20, "validation": 300, "test": 300}
    total = sum(len(boxes) for name in REGIONS for boxes in plain["test"][name])
    assert sum(count_changes(plain["test"], noisy["test"])) == total
    few = load("--samples_per_relation", "1")
    assert sorted(few["train"]["relation"]) == sorted(set(plain["train"]["relation"]))
    assert few["test"]["image"][:] == [None] * 300
    counted = load("--region_count_as_caption", "true")
    assert counted["test"]["caption"][:] == [str(len(boxes)) for boxes in plain["test"]["grounded_regions"]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--region_count_as_caption", "true", "--use_images", "true"], "takes the place"),
        (["--region_count_as_caption", "true", "--captions", "file"], "takes the place"),
        (["--dataset", "mnre", "--data_dir", "d", "--regions", "released"], "no use for `regions`"),
        (["--train_share", "0.5", "--samples_per_relation", "1"], "two ways"),
        (["--train_share", "1.5"], "must be in"),
    ],
)
def test_protocols_that_contradict_each_other_are_refused(arguments, message):
    with pytest.raises((SystemExit, ValueError), match=message):
        load(*arguments)


def test_a_run_names_its_protocol_and_the_posts_it_drew(tmp_path):
    encoder = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    arguments = {
        "dataset": "synthetic",
        "num_synthetic_posts": 40,
        "samples_per_relation": 2,
        "max_eval_samples": 8,
        "max_predict_samples": 8,
        "num_train_epochs": 1,
        "use_cpu": "true",
        "disable_tqdm": "true",
        "dataloader_pin_memory": "false",
        "output_dir": tmp_path / "run",
        "new_text_encoder": json.dumps(encoder),
    }
    source = (Path(__file__).resolve().parents[2] / "configs/region_count_mnre.yaml").read_text("utf-8")
    config = tmp_path / "config.yaml"
    config.write_text(source.replace("  text_encoder: google-bert/bert-base-uncased\n", ""), "utf-8")
    train([str(config), *(str(part) for name, value in arguments.items() for part in (f"--{name}", value))])
    ids = json.loads((tmp_path / "run/train_posts.json").read_text())["ids"]
    assert ids == load("--samples_per_relation", "2")["train"]["id"][:]
    posts = json.loads((tmp_path / "run/metrics.json").read_text())["posts"]
    assert posts["captions"] == "number of grounded regions" and posts["images"] == "unused"
    assert posts["samples_per_relation"] == 2 and posts["samples"]["train"] == len(ids)
    report = (tmp_path / "run/results.md").read_text()
    assert "captions: number of grounded regions" in report and "no pictures" in report
    assert "at most 2" in report
