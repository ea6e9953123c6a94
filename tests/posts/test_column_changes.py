"""Columns that are replaced: what is named changes, and nothing else."""

from protocol_helpers import REGIONS, others

from mmre.posts.column_changes import drop_pictures, drop_regions, region_count_as_caption, replace_columns
from mmre.posts.noise import align_noise, aug_noise
from mmre.posts.sampling import sample_share
from mmre.processing import TextProcessor, TGDIProcessor


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
    row = region_count_as_caption(drawn)[0]
    spans = {name: [(row[name]["start"], row[name]["end"])] for name in ("head", "tail")}
    for processor in (TextProcessor(parts.tokenizer), TGDIProcessor(parts.image_processor, parts.tokenizer)):
        plain, counted = (processor(text=[row["text"]], caption=[text], **spans) for text in (None, row["caption"]))
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


def test_without_regions_all_else_stays(drawn):
    bare = drop_regions(drawn)
    assert others(bare, *REGIONS) == others(drawn, *REGIONS) and bare.features == drawn.features
    assert not any(boxes for name in REGIONS for boxes in bare[name])


def test_replaced_columns_keep_their_types_and_their_places(drawn):
    captions = [f"caption {index}" for index in range(len(drawn))]
    changed = replace_columns(drawn, {"caption": captions})
    assert changed["caption"][:] == captions and changed.features == drawn.features
    assert changed.column_names == drawn.column_names and others(changed, "caption") == others(drawn, "caption")
    assert replace_columns(drawn, {}) is drawn
