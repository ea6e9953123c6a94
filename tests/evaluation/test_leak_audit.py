"""The audit finds the leaks that are there, by the figures that are known of them, and no others."""

import random
from functools import partial

import datasets
import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import mutual_info_score

from mmre.evaluation.leak_audit import audit, strengths
from mmre.evaluation.leak_features import PictureFacts, picture_facts, word_span
from mmre.evaluation.leak_report import audit_report
from mmre.posts.schema import post_features
from mmre.posts.sources import open_posts
from mmre.posts.synthetic import make_synthetic_posts
from mmre.processing.words import join_words

RELATIONS = ["None", "/per/per/couple", "/per/org/member_of"]


def make_posts(change=lambda row, relation, index: None, sizes=(400, 300), share=(6, 2, 2)) -> datasets.DatasetDict:
    """Make posts that say nothing of their relation, until `change` puts it into a row of words and spans of words."""
    splits = {}
    for split, size in zip(("train", "test"), sizes):
        rng, rows = random.Random(split), []
        for index in range(size):
            relation = rng.choices(range(len(RELATIONS)), share)[0]
            words = [f"{split}{index}", *["word"] * rng.randint(2, 12)]
            head, tail = rng.sample(range(len(words)), 2)
            row = {
                "id": f"{split}-{index}",
                "words": words,
                "head": {"start": head, "end": head + 1},
                "tail": {"start": tail, "end": tail + 1},
                "image": None,
                "relation": relation,
                "grounded_regions": [[0.1, 0.1, 0.5, rng.uniform(0.2, 1)] for _ in range(rng.randint(0, 3))],
                "detected_regions": [[0.1, 0.1, rng.uniform(0.2, 1), 0.5] for _ in range(rng.randint(0, 3))],
                "caption": "c" * rng.randint(1, 30),
            }
            change(row, relation, index)
            spans = [(row[name]["start"], row[name]["end"]) for name in ("head", "tail")]
            row["text"], spans = join_words(row.pop("words"), spans)
            for name, (start, end) in zip(("head", "tail"), spans):
                row[name] = {"start": start, "end": end}
            rows.append(row)
        splits[split] = datasets.Dataset.from_list(rows, features=post_features(RELATIONS))
    return datasets.DatasetDict(splits)


def leaks(result) -> list[str]:
    return [row["feature"] for row in result["features"] if row["leaks"]]


def feature(result, name) -> dict:
    return next(row for row in result["features"] if row["feature"] == name)


def picture(relation: int, index: int, image_format: str = "PNG", width: int = 6) -> dict:
    from io import BytesIO

    file = BytesIO()
    Image.new("RGB", (width, 5), (relation, index % 256, index // 256)).save(file, image_format)
    return {"bytes": file.getvalue(), "path": None}


@pytest.fixture(scope="module")
def released(shared_mnre):
    """Audit MNRE with the released regions."""
    return audit(open_posts(shared_mnre, on_missing_image="keep"))


def test_real_number_of_regions_is_two_and_the_types_of_the_gold_relation(released):
    fits = {split: (found["counts_fit"], found["posts"]) for split, found in released["type_queries"].items()}
    assert fits == {"train": (12245, 12247), "validation": (1622, 1624), "test": (1614, 1614)}


def test_real_identical_boxes_are_equal_types(released):
    found = released["type_queries"]
    assert [(rows["equal_types_identical"], rows["equal_types"]) for rows in found.values()] == [
        (2148, 2148),
        (288, 288),
        (327, 327),
    ]
    assert [(rows["different_types_identical"], rows["different_types"]) for rows in found.values()] == [
        (2, 2355),
        (1, 336),
        (0, 313),
    ]


def test_real_three_regions_are_a_relation(released):
    row = feature(released, "number of grounded regions")["related"]
    assert row["rule"] == "None up to 2.5, related above"
    assert row["precision"] == 1.0
    assert row["recall"] == 626 / 640
    assert row["accuracy"] == 1600 / 1614
    assert row["gain"] == pytest.approx(626 / 640)


def test_real_mnre_with_detected_regions_leaks_by_the_order_of_the_entities_alone(released, shared_mnre):
    real = open_posts(shared_mnre, regions="detected", on_missing_image="keep")
    assert sum(map(len, real["test"]["detected_regions"])) > 3000
    result = audit(real)
    assert leaks(result) == ["which entity comes first"]
    assert result["type_queries"] is None
    row = feature(released, "which entity comes first")["related"]
    assert row == feature(result, "which entity comes first")["related"]
    posts = real["test"]
    after = [tail["start"] <= head["start"] for head, tail in zip(posts["head"], posts["tail"])]
    related = [relation != 0 for relation in posts["relation"]]
    both = sum(a and b for a, b in zip(after, related))
    assert (both, sum(after), sum(related)) == (213, 217, 640)
    assert row["precision"] == 213 / 217 and row["recall"] == 213 / 640
    report = audit_report(result)
    assert report.endswith(" of 29 features leak: which entity comes first.\n") and "--markers_in_text_order" in report
    found = "- train: the head comes first in 7,722 of 7,744 posts without a relation, in 3,125 of 4,503 with one."
    assert found in report.splitlines()


def test_real_features_that_leak_and_none_other(released):
    assert leaks(released) == [
        "number of grounded regions",
        "identical grounded boxes",
        "which entity comes first",
    ]
    assert released["majority"]["relation"]["accuracy"] == 974 / 1614
    assert released["repeated_pairs"]["train"] == {"listed_twice": 27, "with_different_relations": 27}
    assert feature(released, "same picture in train")["shared"] == 0
    assert feature(released, "same text in train")["shared"] == 2
    assert released["left_out"][1:3] == ["picture width", "picture height"]


def test_posts_without_a_leak_are_silent():
    assert leaks(audit(make_posts())) == []


def put(row, relation, index, name):
    related = relation != 0
    box = [0.2, 0.2, 0.4, 0.4]
    changes = {
        "number of detected regions": {"detected_regions": [[0.1, 0.1, 0.2 + i / 10, 0.3] for i in range(relation)]},
        "identical grounded boxes": {"grounded_regions": [box, box if related else [0.2, 0.2, 0.4, 0.5]]},
        "largest grounded box": {"grounded_regions": [[0.0, 0.0, 0.9 if related else 0.3, 0.9]]},
        "mean x of detected boxes": {"detected_regions": [[0.5 * related, 0.1, 0.5 * related + 0.2, 0.3]]},
        "caption length in characters": {"caption": "c" * (10 + relation)},
        "text length in words": {"words": row["words"] + ["more"] * 12 * related},
        "words of the head": {"head": {"start": 0, "end": 1 + related}},
        "which entity comes first": {
            "head": {"start": related, "end": related + 1},
            "tail": {"start": 1 - related, "end": 2 - related},
        },
        "picture format": {"image": picture(0, index, "JPEG" if related else "PNG")},
        "picture width": {"image": picture(0, index, width=6 + relation)},
        "picture is there": {"image": picture(0, index) if related or index % 3 else None},
        "same picture in train": {"image": picture(relation, index % 40)},
    }
    row |= changes[name]


@pytest.mark.parametrize(
    "name",
    [
        "number of detected regions",
        "identical grounded boxes",
        "largest grounded box",
        "mean x of detected boxes",
        "caption length in characters",
        "text length in words",
        "words of the head",
        "which entity comes first",
        "picture format",
        "picture width",
        "picture is there",
        "same picture in train",
    ],
)
def test_a_leak_is_found_where_it_is(name):
    result = audit(make_posts(partial(put, name=name)))
    assert name in leaks(result)
    report = audit_report(result)
    assert name in report.splitlines()[-1]
    assert ("the head comes first in" in report) == (name == "which entity comes first")


def test_the_order_of_the_entities_is_counted():
    posts = make_posts()
    for split, found in audit(posts)["entity_order"].items():
        columns = (posts[split][name] for name in ("head", "tail", "relation"))
        order = [(relation != 0, head["start"] < tail["start"]) for head, tail, relation in zip(*columns)]
        assert found == {
            "related": sum(related for related, _ in order),
            "related_head_first": order.count((True, True)),
            "unrelated": sum(not related for related, _ in order),
            "unrelated_head_first": order.count((False, True)),
        }
        assert all(found.values())
    assert audit(posts, sources=["captions"])["entity_order"] is None


def test_texts_shared_with_train_are_found():
    posts = make_posts()
    posts["test"] = posts["train"].select(range(100))
    result = audit(posts, sources=["texts"])
    assert {"same text in train", "same text and pair in train"} <= {*leaks(result)}
    row = feature(result, "same text and pair in train")
    assert row["shared"] == 100 and row["relation"]["accuracy"] == row["relation"]["gain"] == 1.0


def test_values_are_those_of_their_definitions():
    """Half of the related posts have a second region, no other post has: by hand, without the tree."""

    def half(row, relation, index):
        row["grounded_regions"] = [[0.1, 0.1, 0.2, 0.2]] * (2 if relation and index % 2 else 1)

    posts = make_posts(half, sizes=(2000, 500))
    row = feature(audit(posts), "number of grounded regions")["related"]
    truth = {split: np.array(posts[split]["relation"]) != 0 for split in posts}
    two = {split: np.array([len(boxes) == 2 for boxes in posts[split]["grounded_regions"]]) for split in posts}
    assert row["precision"] == 1.0
    assert row["recall"] == row["gain"] == pytest.approx(two["test"].sum() / truth["test"].sum())
    assert row["accuracy"] == pytest.approx((two["test"] == truth["test"]).mean())

    def entropy(values):
        share = values.mean()
        return -share * np.log(share) - (1 - share) * np.log(1 - share)

    # Of 2,000 posts, what chance adds to two binary variables is below 0.001.
    information = mutual_info_score(truth["train"], two["train"])
    normalised = information / ((entropy(truth["train"]) + entropy(two["train"])) / 2)
    assert row["mutual_information"] == pytest.approx(normalised, abs=1e-3)


def test_a_feature_of_many_values_has_no_information_by_chance():
    rng = random.Random(0)

    def anything(row, relation, index):
        row["caption"] = "c" * rng.randint(1, 10_000)

    row = feature(audit(make_posts(anything)), "caption length in characters")
    assert abs(row["relation"]["mutual_information"]) < 0.02 and abs(row["related"]["mutual_information"]) < 0.02


def test_pairs_listed_twice_are_counted():
    def twice(row, relation, index):
        if index < 6:
            row |= {"words": [str(index // 2), "b"], "head": {"start": 0, "end": 1}, "tail": {"start": 1, "end": 2}}
            row["relation"] = 1 if index < 4 else index % 2

    found = audit(make_posts(twice))["repeated_pairs"]
    assert found["train"] == {"listed_twice": 3, "with_different_relations": 1}


def test_the_threshold_and_the_sources_decide_what_is_called_a_leak():
    half = partial(put, name="number of detected regions")
    posts = make_posts(lambda row, relation, index: half(row, relation if index % 3 else 0, index))
    assert leaks(audit(posts, sources=["texts"])) == []
    row = feature(audit(posts), "number of detected regions")
    value = max(row[question][name] for question in ("relation", "related") for name in ("mutual_information", "gain"))
    assert 0.2 < value < 0.9
    assert "number of detected regions" in leaks(audit(posts, threshold=value))
    assert "number of detected regions" not in leaks(audit(posts, threshold=value + 1e-6))


def test_pictures_that_are_not_there_are_left_out_and_named():
    result = audit(make_posts())
    assert result["left_out"] == ["picture is there", "picture width", "picture height", "picture format"]
    assert "Left out, since most pictures are not there: picture is there" in audit_report(result)


@pytest.mark.slow
def test_what_happens_by_chance_with_few_posts_is_no_leak():
    """Of 100 and 30 posts, some feature tells the relation of a tenth of the posts by chance alone."""
    above, called = 0, 0
    for seed in range(2):
        posts = make_synthetic_posts(num_train=100, num_validation=1, num_test=30, seed=seed)
        result = audit(posts)
        above += any(value >= 0.1 for row in result["features"] for value in strengths(row))
        called += len(leaks(result))
        assert result["chance"] > 0.1 and f"values up to {result['chance']:.3f} happen by chance" in audit_report(
            result
        )
    assert above > 0 and called == 0
    leaking = audit(make_posts(partial(put, name="identical grounded boxes"), sizes=(100, 30)))
    assert "identical grounded boxes" in leaks(leaking)
    assert audit(make_synthetic_posts(num_train=300, num_validation=1, num_test=300))["chance"] is None


def test_what_cannot_be_audited_is_an_error():
    posts = make_posts(sizes=(20, 10))
    with pytest.raises(ValueError, match="has train \\(20 posts\\)"):
        audit(datasets.DatasetDict(train=posts["train"]))
    with pytest.raises(ValueError, match="no column caption"):
        audit(posts.remove_columns("caption"))
    with pytest.raises(ValueError, match="ClassLabel with 'None'"):
        audit(posts.cast_column("relation", datasets.Value("int64")))
    with pytest.raises(ValueError, match="same label"):
        audit(make_posts(share=(1, 0, 0)))
    for arguments in ({"threshold": 0}, {"sources": ["text"]}, {"sources": []}):
        with pytest.raises(ValueError, match="must be"):
            audit(posts, **arguments)


def test_a_broken_picture_is_named():
    def broken(row, relation, index):
        row["image"] = {"bytes": b"no picture", "path": None}

    with pytest.raises(ValueError, match="cannot be read: UnidentifiedImageError"):
        audit(make_posts(broken))


def test_a_picture_is_known_by_its_file_or_its_bytes_and_told_by_its_header(tmp_path):
    Image.new("RGB", (6, 5)).save(tmp_path / "there.png")
    paths = [tmp_path / "there.png", tmp_path / "gone.png", tmp_path / "there.png"]
    images = [{"bytes": None, "path": str(path)} for path in paths] + [
        None,
        picture(0, 0, "JPEG"),
        picture(0, 0, "JPEG"),
    ]
    rows = datasets.Dataset.from_dict({"image": images}, features=datasets.Features({"image": datasets.Image()}))
    there, gone, again, nothing, *embedded = picture_facts(rows)
    assert there == again == PictureFacts(str(paths[0]), 6, 5, "PNG")
    assert gone == PictureFacts(str(paths[1])) and nothing is None
    assert embedded[0] == embedded[1] and embedded[0][1:] == (6, 5, "JPEG")


@pytest.mark.parametrize(
    ("span", "words"),
    [
        ("ab", (0, 1)),
        ("cd", (1, 2)),
        ("ab cd", (0, 2)),
        ("d", (1, 2)),
        ("d e", (1, 3)),
        ("fg", (2, 3)),
        ("!", (3, 4)),
        (" e", (2, 3)),
    ],
)
def test_a_span_of_characters_is_the_words_that_it_touches(span, words):
    text = "ab cd  efg\n!"
    text = text if span != "d e" else "ab cd efg\n!"
    start = text.index(span)
    assert word_span(text, (start, start + len(span))) == words
