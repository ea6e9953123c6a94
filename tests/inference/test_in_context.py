"""A chat model as a classifier: it gives what the pipeline gives, for relations that nobody trained."""

import pytest
import torch
from chat_helpers import picture, save_chat_model, save_vision_chat_model

from mmre.inference.in_context import InContextRelationClassifier, shorten
from mmre.inference.prompts import ANSWERS, PromptPost

RELATIONS = ["None", "couple", "lives in"]
TEXT = "Rafael Nadal weds Mery Perello in Palma"
POST = {"text": TEXT, "head": (0, 12), "tail": (18, 30)}
EXAMPLES = [
    {"id": "a", "text": "Ann weds Bob", "head": (0, 3), "tail": (9, 12), "relation": "couple"},
    {"id": "b", "text": "Cid in Rome", "head": (0, 3), "tail": (7, 11), "relation": "lives in"},
    {"id": "c", "text": "Dee and Eve", "head": (0, 3), "tail": (8, 11), "relation": "None"},
]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return save_chat_model(tmp_path_factory.mktemp("chat") / "model")


@pytest.fixture(scope="module")
def vision_model(tmp_path_factory) -> str:
    return save_vision_chat_model(tmp_path_factory.mktemp("chat") / "vision")


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_batch_gives_what_its_posts_give_one_by_one(model, answer):
    extract = InContextRelationClassifier.from_pretrained(model, RELATIONS, EXAMPLES, shots=2, answer=answer)
    posts = [POST | {"id": str(i), "text": TEXT + "!" * i * 9} for i in range(5)]
    whole, single = extract(posts, batch_size=5), [extract(post) for post in posts]
    assert extract(posts, batch_size=5) == whole
    for together, alone in zip(whole, single):
        assert together[0]["label"] == alone[0]["label"]
        assert together[0]["score"] == pytest.approx(alone[0]["score"], abs=1e-5)


@pytest.mark.parametrize("answer", ANSWERS)
def test_the_posts_of_a_batch_share_their_demonstrations_but_those_that_may_not_see_them(model, answer, monkeypatch):
    extract = InContextRelationClassifier.from_pretrained(model, RELATIONS, EXAMPLES, shots=2, answer=answer)
    first = extract.demonstrations.draw(PromptPost("x", TEXT, (0, 12), (18, 30)))
    posts = [PromptPost(str(i), TEXT + "!" * i * 9, (0, 12), (18, 30)) for i in range(4)]
    posts.insert(2, first[0]._replace(id="again", relation=None))
    read, lengths = extract.chat.prefixes.read, []
    monkeypatch.setattr(extract.chat.prefixes, "read", lambda ids: lengths.append(len(ids)) or read(ids))
    together = extract.answer(posts)
    assert len(lengths) == 2  # once for the four, once for the one
    monkeypatch.setattr(extract.chat.prefixes, "is_possible", False)
    for row, post in zip(together, posts):
        assert first[0].id not in row.demonstrations or post.id != "again"
        [alone] = extract.answer([post])
        assert alone.probabilities == pytest.approx(row.probabilities, abs=1e-5)
        assert alone._replace(probabilities=[]) == row._replace(probabilities=[])
    assert [len({*row.demonstrations} & {p.id for p in first}) for row in together] == [2, 2, 1, 2, 2]


def test_pairs_are_named_in_the_results(model):
    extract = InContextRelationClassifier.from_pretrained(model, RELATIONS)
    one, several, none = extract(
        [
            POST,
            {"text": TEXT, "pairs": [((0, 12), (18, 30)), ((18, 30), (34, 39))]},
            POST | {"pairs": [], "head": None, "tail": None},
        ]
    )
    assert one[0].keys() == {"label", "score"} and none == []
    assert [pair["tail"] for pair in several] == [
        {"start": 18, "end": 30, "text": "Mery Perello"},
        {"start": 34, "end": 39, "text": "Palma"},
    ]
    assert several[0]["score"] == pytest.approx(one[0]["score"], abs=1e-5)
    assert one[0]["label"] in RELATIONS and 1 / 3 <= one[0]["score"] <= 1


def test_posts_are_those_of_the_pipeline(model, monkeypatch):
    extract = InContextRelationClassifier.from_pretrained(model, RELATIONS)
    whole = extract([POST] * 5, batch_size=2, top_k=2)
    assert [len(row) for row in whole] == [2] * 5 and extract(POST, top_k=2) == extract([POST], top_k=2)[0]
    stream = extract((POST for _ in range(5)), batch_size=2, top_k=2)
    assert next(stream) == whole[0] and [*stream] == whole[1:]
    [row] = extract({"tokens": TEXT.split(), "head": (0, 2), "tail": (3, 5)})
    assert row["text"] == TEXT and row["label"] == whole[0][0]["label"]
    assert row["score"] == pytest.approx(whole[0][0]["score"], abs=1e-5)
    monkeypatch.setattr("mmre.inference.in_context.load_spacy", lambda name: name)
    found = [{"start": 0, "end": 12, "type": "PER"}, {"start": 18, "end": 30, "type": "PER"}]
    spans = [(entity["start"], entity["end"]) for entity in found]
    monkeypatch.setattr("mmre.inference.in_context.find_entities", lambda nlp, text: spans if nlp else [])
    both = extract({"text": TEXT})
    assert [(row["head"]["text"], row["tail"]["text"]) for row in both] == [
        ("Rafael Nadal", "Mery Perello"),
        ("Mery Perello", "Rafael Nadal"),
    ]


def test_the_probabilities_are_of_the_relations_by_their_ids_whatever_the_order(model):
    found = {}
    for seed in range(4):
        extract = InContextRelationClassifier.from_pretrained(model, RELATIONS, answer="letters", seed=seed)
        post = PromptPost("x", TEXT, (0, 12), (18, 30))
        [answer] = extract.answer([post])
        order, chat = extract.options.order, extract.chat
        batch = chat.encode([extract.fit(post, [])[2]])
        shown = chat.first_tokens(batch, [*chat.choose_letters(3).values()])[0].exp().tolist()  # A, B, C
        assert [answer.probabilities[relation] for relation in order] == pytest.approx(shown, abs=1e-5)
        assert [extract.options.codes[relation] for relation in order] == ["A", "B", "C"]
        found[tuple(order)] = answer.probabilities
    assert len(found) > 1


def test_more_than_26_relations_are_lettered(model):
    relations = ["None", *(f"relation {number}" for number in range(34))]
    extract = InContextRelationClassifier.from_pretrained(model, relations)
    [answer] = extract.answer([PromptPost("x", TEXT, (0, 12), (18, 30))])
    assert len(answer.probabilities) == 35 and sum(answer.probabilities) == pytest.approx(1)
    assert {"A", "Z", "AA", "AI"} <= {*extract.options.codes} and len({*extract.options.codes}) == 35


def test_the_examples_are_those_drawn_and_none_has_the_text_of_the_post(model):
    extract = InContextRelationClassifier.from_pretrained(model, RELATIONS, EXAMPLES, shots=2)
    [answer] = extract.answer([PromptPost("x", "Ann weds  bob", (0, 3), (10, 13))])
    assert {*answer.demonstrations} == {"b", "c"}
    three = InContextRelationClassifier.from_pretrained(model, RELATIONS, EXAMPLES, shots=3)
    with pytest.raises(ValueError, match="2 posts have another text"):
        three({"text": "Ann weds Bob", "head": (0, 3), "tail": (9, 12)})
    everything = InContextRelationClassifier.from_pretrained(model, RELATIONS, EXAMPLES)
    [answer] = everything.answer([PromptPost("x", "Ann weds  bob", (0, 3), (10, 13))])
    assert {*answer.demonstrations} == {"b", "c"}


def test_a_prompt_that_is_too_long_loses_its_oldest_demonstrations_then_the_ends_of_its_text(model):
    whole = InContextRelationClassifier.from_pretrained(model, RELATIONS, EXAMPLES, shots=3)
    post = PromptPost("x", TEXT, (0, 12), (18, 30), caption="a wedding")
    [full] = whole.answer([post])
    assert (full.left_out, full.is_cut, len(full.demonstrations)) == (0, False, 3)

    def limited(tokens: int) -> InContextRelationClassifier:
        return InContextRelationClassifier(whole.chat, RELATIONS, whole.demonstrations, seed=42, max_tokens=tokens)

    [shorter] = limited(full.prompt_tokens).answer([post])
    assert shorter.demonstrations == full.demonstrations[1:] and shorter.left_out == 1
    [bare] = InContextRelationClassifier(whole.chat, RELATIONS).answer([post])
    [cut] = limited(bare.prompt_tokens - 35).answer([post])
    assert cut.left_out == 3 and cut.is_cut and cut.prompt_tokens <= bare.prompt_tokens - 35
    with pytest.raises(ValueError, match=r"post 'x' is too long for .* \(which reads 99 tokens\)"):
        limited(100).answer([post])


def test_a_text_is_cut_at_the_end_that_is_farther_from_the_entities():
    post = PromptPost("x", "." * 50 + "Ann weds Bob" + "." * 20, (50, 53), (59, 62))
    lengths = []
    while (shorter := shorten(post)) != post:
        post = shorter
        lengths.append(len(post.text))
        assert post.text[slice(*post.head)] == "Ann" and post.text[slice(*post.tail)] == "Bob"
    assert post.text == "Ann weds Bob" and lengths[0] == 74 and lengths == sorted(lengths, reverse=True)


def test_pictures_are_shown_of_the_post_and_of_the_examples(vision_model):
    posts = [POST | {"image": picture(1)}, POST, POST | {"image": picture(2)}]
    examples = [EXAMPLES[0] | {"image": picture(3)}]
    asked = [PromptPost(str(i), TEXT, (0, 12), (18, 30), None, post.get("image")) for i, post in enumerate(posts)]
    found = {}
    for way in ("all", "post", "none"):
        extract = InContextRelationClassifier.from_pretrained(vision_model, RELATIONS, examples, show_images=way)
        answers = extract.answer(asked)
        found[way] = [(answer.prompt_tokens, torch.tensor(answer.probabilities)) for answer in answers]
    # LLaVA's picture of 8 x 8 is four patches, and a line of the template.
    tokens = {way: [length - found["none"][1][0] for length, _ in rows] for way, rows in found.items()}
    assert tokens == {"all": [10, 5, 10], "post": [5, 0, 5], "none": [0, 0, 0]}
    assert (found["post"][0][1] - found["post"][2][1]).abs().max() > 1e-4  # another picture, another answer
    assert (found["post"][0][1] - found["all"][0][1]).abs().max() > 1e-4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"answer": "letter"}, "unknown answer 'letter'; did you mean 'letters'"),
        ({"relations": ["None"]}, "relations: None; expected 'None' and others"),
        ({"relations": ["None", "couple", "Couple"]}, "'Couple' beside 'couple'; expected names that differ"),
        ({"relations": "couple"}, "relations: the text 'couple'; expected a list of names"),
        ({"relations": ["couple", 3]}, "relations: 3 is no text"),
        ({"relations": ["a\nB. b", "c"]}, "expected a name in one line, without control characters"),
        ({"examples": EXAMPLES[0]}, "examples: one post; expected a list of posts"),
        ({"examples": [POST]}, r"examples\[0\] has no `relation`"),
        ({"examples": [EXAMPLES[0] | {"pairs": [], "head": None, "tail": None}]}, r"examples\[0\] has 0 pairs"),
        ({"show_images": "some"}, "unknown show_images 'some'; expected 'all', 'post' or 'none'"),
        ({"descriptions": {"coupl": "x"}}, "descriptions: unknown relation 'coupl'; did you mean 'couple'"),
        ({"examples": [EXAMPLES[0] | {"relation": "coupel"}]}, r"examples\[0\]: unknown relation 'coupel'"),
        ({"examples": [EXAMPLES[0] | {"head": (0, 99)}]}, r"examples\[0\]: `head` must be a span"),
        ({"shots": 1}, "`shots` is 1, and there are 0 posts to draw from"),
        ({"show_images": "all"}, "reads no pictures: give captions in their place"),
        ({"base_url": "localhost:8000"}, "--base_url localhost:8000; expected an address as http"),
    ],
)
def test_what_cannot_be_asked_is_refused(model, changes, message):
    with pytest.raises(ValueError, match=message):
        InContextRelationClassifier.from_pretrained(model, **{"relations": RELATIONS} | changes)


@pytest.mark.parametrize(
    ("posts", "options", "message"),
    [
        ([POST, {"head": (0, 1)}], {}, "post 1: A post needs its `text`"),
        ([POST, POST, POST | {"caption": 7}], {"batch_size": 2}, "post 2: `caption` must be a text"),
        ([POST | {"captoin": "x"}], {}, "post 0: unknown field 'captoin'; did you mean 'caption'"),
        ([POST | {"head": (0, 99)}], {}, "post 0: `head` must be a span"),
        (["abc"], {}, "post 0: A post is a dictionary"),
        ("abc", {}, "a post is a dictionary with `text`, `head` and `tail`, got 'abc'"),
        ([POST], {"top_k": 0}, "`top_k` is 0; expected a number, at least 1"),
        ([POST], {"batch_size": 0}, "`batch_size` is 0; expected a number, at least 1"),
    ],
)
def test_a_post_that_is_none_is_refused_by_its_number(model, posts, options, message):
    extract = InContextRelationClassifier.from_pretrained(model, RELATIONS)
    with pytest.raises(ValueError, match=message):
        extract(posts, **options)


def test_a_picture_is_no_address(vision_model):
    extract = InContextRelationClassifier.from_pretrained(vision_model, RELATIONS)
    with pytest.raises(ValueError, match="post 0: `image` is the address 'https://example.org/a.jpg': fetch it"):
        extract(POST | {"image": "https://example.org/a.jpg"})
