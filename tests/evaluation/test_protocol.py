"""A result names its protocol, in the same words wherever it is reported."""

import datasets
import pytest

from mmre.evaluation.protocol import (
    REGION_COUNT,
    REGION_PROTOCOLS,
    describe_posts,
    protocol_title,
    region_protocol,
)
from mmre.evaluation.run_record import results_tables
from mmre.posts.column_changes import drop_pictures, drop_regions, region_count_as_caption
from mmre.posts.mnre_regions import LEAK
from mmre.posts.synthetic import make_synthetic_posts


@pytest.fixture(scope="module")
def posts() -> datasets.DatasetDict:
    return make_synthetic_posts(8, 4, 4)


def describe(posts, dataset="someone/posts", inputs=("text", "caption", "image", "regions"), **arguments):
    return describe_posts(posts, dataset=dataset, inputs=inputs, **arguments)


def without(column_function, posts):
    return datasets.DatasetDict({split: column_function(rows) for split, rows in posts.items()})


@pytest.mark.parametrize(
    ("regions", "name", "title", "leaks"),
    [
        ("released", "released", "released regions, which give the label away", True),
        ("detected", "detected", "released detected regions alone", False),
        ("none", "none", "no regions", False),
        ("drawn", "drawn", "regions drawn with the posts", False),
        ("as given", "given", "regions of unknown origin", False),
        ("/home/me/found.jsonl", "annotated", "regions of found.jsonl", False),
    ],
)
def test_regions_have_a_protocol(regions, name, title, leaks):
    protocol = region_protocol(regions)
    assert (protocol.name, protocol.title, protocol.leaks) == (name, title, leaks)
    assert protocol.note == REGION_PROTOCOLS[name].note and (protocol.note == LEAK) == leaks


def test_no_two_protocols_read_alike():
    for part in ("name", "title", "note"):
        assert len({getattr(protocol, part) for protocol in REGION_PROTOCOLS.values()}) == len(REGION_PROTOCOLS)
    assert [*REGION_PROTOCOLS] == [protocol.name for protocol in REGION_PROTOCOLS.values()]


def test_the_facts_of_synthetic_posts(posts):
    assert describe(posts, "synthetic", align_noise=0.5) == {
        "dataset": "synthetic",
        "regions": "drawn",
        "captions": "drawn",
        "images": "used",
        "align_noise": 0.5,
        "aug_noise": 0.0,
        "train_share": 1.0,
        "samples_per_relation": None,
        "markers_in_text_order": False,
        "samples": {"train": 8, "validation": 4, "test": 4},
        "samples_without_image": {
            split: sum(image is None for image in rows["image"]) for split, rows in posts.items()
        },
    }
    assert describe(posts, "synthetic", inputs=("text", "image", "regions"))["captions"] is None


def test_what_a_model_does_not_read_is_not_behind_its_result(posts):
    facts = describe(posts, "synthetic", inputs=("text",))
    assert (facts["regions"], facts["captions"], facts["images"]) == ("none", None, "unused")
    facts = describe(posts, "mnre", inputs=("text", "image"))
    assert (facts["regions"], facts["images"]) == ("none", "used")
    # A baseline reads the number of the regions.
    facts = describe(posts, "mnre", inputs=("text", "caption"), use_images=False, region_count_as_caption=True)
    assert (facts["regions"], facts["captions"]) == ("released", REGION_COUNT)


def test_the_facts_of_mnre_are_its_arguments(posts):
    facts = describe(posts, "mnre", captions=["a.txt", "b.txt"])
    assert (facts["regions"], facts["captions"]) == ("released", ["a.txt", "b.txt"])
    for regions in ("detected", "none"):
        assert describe(posts, "mnre", regions=regions)["regions"] == regions


def test_the_facts_of_other_posts_are_what_they_have(posts):
    facts = describe(posts)
    assert (facts["regions"], facts["captions"]) == ("as given", "as given")
    for regions in (None, "as given", "none"):
        assert describe(without(drop_regions, posts), regions=regions)["regions"] == "none"
    assert describe(posts, regions="found.jsonl", captions=["found.jsonl"]) | {"captions": 0} == facts | {
        "regions": "found.jsonl",
        "captions": 0,
    }


def test_pictures_that_are_not_there_are_counted(posts):
    facts = describe(without(drop_pictures, posts), "mnre", use_images=False, regions="none")
    assert facts["samples_without_image"] == facts["samples"] and facts["images"] == "unused"
    assert protocol_title(facts) == "no regions, no pictures"


def test_the_title_tells_all_that_was_changed(posts):
    changes = {"align_noise": 0.5, "aug_noise": 0.25, "train_share": 0.1, "samples_per_relation": 5}
    changes |= {"markers_in_text_order": True}
    assert protocol_title(describe(posts, "mnre", **changes)) == (
        "released regions, which give the label away, markers in text order, 50 % of the pictures swapped, 25 % of the "
        "regions replaced or deleted, 10 % of the training posts, at most 5 training posts of each relation"
    )


def test_a_number_of_regions_in_place_of_pictures_is_named(posts):
    counts = without(region_count_as_caption, posts)
    facts = describe(counts, "mnre", use_images=False, region_count_as_caption=True)
    assert facts["captions"] == REGION_COUNT
    assert protocol_title(facts) == "number of released regions, which give the label away, no pictures"


def test_records_of_earlier_versions_have_a_title():
    old = {"dataset": "mnre", "regions": "none", "captions": None, "align_noise": 0.0}
    assert protocol_title(old) == "no regions"


def test_the_report_of_a_run_names_its_protocol_and_no_folder(posts):
    facts = describe(posts, "mnre", regions="/home/me/found.jsonl", captions=["/home/me/captions.txt"])
    assert results_tables({"posts": facts}) == (
        "Data set mnre (regions of found.jsonl), captions: captions.txt.\n"
        "The regions are of an annotation file; `mmre annotate` finds them without a look at the label.\n"
    )
    assert LEAK in results_tables({"posts": describe(posts, "mnre")})
