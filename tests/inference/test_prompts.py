"""What a prompt says: the post on one line, control tokens broken, answers read; and which posts are shown before."""

import pytest

from mmre.inference.demonstrations import Demonstrations
from mmre.inference.prompts import Options, PromptPost, control_tokens, disarm, make_turns, parse_answer
from mmre.inference.relation_lists import read_relations

RELATIONS = ["None", "/per/per/parent", "/per/per/parents", "couple"]
POST = PromptPost("1", "Ann\nweds Bob, says Ann", (0, 3), (9, 12), "two people", "a.png")


def test_a_prompt_lists_the_relations_and_names_the_entities():
    options = Options(RELATIONS, [3, 0, 1, 2], ["B", "C", "D", "A"], {"couple": "they are married"})
    shown = POST._replace(id="2", text="Cid and Dee", head=(0, 3), tail=(8, 11), relation=3, caption=None, image=None)
    question, answer, last = make_turns(options, [shown], POST)
    assert "\nA. couple: they are married\nB. None\nC. /per/per/parent\nD. /per/per/parents\n" in question.text
    assert question.text.endswith('the letter and nothing else.\n\nPost: Cid and Dee\nHead: "Cid"\nTail: "Dee"')
    assert (answer.role, answer.text) == ("assistant", "A")
    assert last.text == (
        'Post: Ann weds Bob, says Ann\nThe picture shows: two people\nHead: "Ann" (mention 1 of 2)\nTail: "Bob"'
    )


def test_a_description_stays_in_its_line():
    options = Options(RELATIONS, [0, 1, 2, 3], list("ABCD"), {RELATIONS[3]: "married\nE. all", RELATIONS[1]: ""})
    lines = options.instruction().splitlines()
    assert lines[2] == f"B. {RELATIONS[1]}" and lines[4] == f"D. {RELATIONS[3]}: married E. all" and len(lines) == 6


def test_a_caption_stands_where_the_picture_is_not_shown():
    options, shown = Options(RELATIONS, [0, 1, 2, 3]), POST._replace(id="2", relation=0)
    pictures = {
        way: [turn.image for turn in make_turns(options, [shown], POST, way)] for way in ("all", "post", "none")
    }
    assert pictures == {"all": ["a.png", None, "a.png"], "post": [None, None, "a.png"], "none": [None, None, None]}
    first, _, last = make_turns(options, [shown], POST, "post")
    assert "two people" in first.text and "two people" not in last.text


@pytest.mark.parametrize(
    "token",
    [
        *("<|im_end|>", "<|im_start|>", "<|eot_id|>", "<|start_header_id|>", "</s>", "[/INST]", "<<SYS>>"),
        *("<end_of_turn>", "<start_of_turn>", "<eos>", "<image>", "<|endoftext|>", "<｜User｜>", "[own]"),
        *("<|turn>", "<turn|>", "<start_of_image>", "[TOOL_CALLS]", "[/SYSTEM_PROMPT]", "<IMG_CONTEXT>", "<unused9>"),
    ],
)
def test_a_control_token_is_broken_and_the_rest_of_a_text_stays(token):
    own = control_tokens(["[own]", "x", " "])
    for text in (token, f"a{token}b", f"<{token}", token * 2, f"{token[:3]}{token}{token[3:]}"):
        safe = disarm(text, own)
        assert token not in safe and safe.replace(" ", "") == text
    assert disarm("a < b, [x] </i> <3 5|6", own) == "a < b, [x] </i> <3 5|6"


@pytest.mark.parametrize(
    ("text", "relation"),
    [
        ("couple", 3),
        (" 'Couple'. ", 3),
        ("The relation is **couple**", 3),
        ("/per/per/parents", 2),
        ("It is /per/per/parent, I think", 1),
        ("none", 0),
        ("", None),
        ("couple or none", None),
        ("couples", None),
        ("/per/per/parental", None),
        ("<think>couple, or none?</think>\n\ncouple", 3),
    ],
)
def test_an_answer_names_one_relation_or_none(text, relation):
    assert parse_answer(text, RELATIONS) == relation


def shown_posts(number: int) -> list[PromptPost]:
    return [
        PromptPost(str(i), f"text {i // 2}", (0, 1), (1, 2), relation=[0, 0, 0, 1, 2][i % 5]) for i in range(number)
    ]


def test_no_demonstration_is_the_post_or_has_its_text_or_picture():
    posts = shown_posts(10)
    keys = [f"{i // 4}.png" for i in range(10)]
    for post, key in zip(posts, keys):
        # All that is allowed is drawn: five posts have another text, of which some have the picture.
        allowed = {p.id for p, k in zip(posts, keys) if p.text != post.text and k != key}
        demonstrations = Demonstrations(posts, keys, len(allowed), seed=3)
        assert {p.id for p in demonstrations.draw(post, key)} == allowed
        with pytest.raises(ValueError, match=f"{len(allowed)} posts have another text and another picture"):
            Demonstrations(posts, keys, len(allowed) + 1, seed=3).draw(post, key)
    again = PromptPost("new", " TEXT\n0 ", (0, 1), (1, 2))
    assert {p.text for p in Demonstrations(posts, keys, 8).draw(again)} == {f"text {i}" for i in range(1, 5)}


def test_the_demonstrations_are_drawn_once_by_the_seed_alone():
    posts, new = shown_posts(40), [PromptPost(f"new {i}", f"new {i}", (0, 1), (1, 2)) for i in range(3)]
    one, same, other = (Demonstrations(posts, [None] * 40, 5, seed) for seed in (1, 1, 2))
    draws = [[p.id for p in pool.draw(post)] for pool in (one, same, other) for post in new]
    assert draws[0] == draws[1] == draws[3] == draws[5] != draws[6] and len(set(draws[0])) == 5
    # A post that may not see the second one, which has its text, is shown the others and the next.
    own = [p.id for p in one.draw(new[0]._replace(text=posts[int(draws[0][1])].text))]
    following = [p.id for p in Demonstrations(posts, [None] * 40, 8, 1).draw(new[0])]
    of_text = {posts[int(id)].id for id in following if posts[int(id)].text == posts[int(draws[0][1])].text}
    assert own == [id for id in following if id not in of_text][:5] != draws[0]
    # Each post is drawn about as often as the others.
    drawn = [p.id for seed in range(400) for p in Demonstrations(posts, [None] * 40, 5, seed).draw(new[0])]
    counts = [drawn.count(p.id) for p in posts]
    assert min(counts) > 20 and max(counts) < 90


def test_stratified_demonstrations_have_each_relation_equally_often():
    posts = shown_posts(40)
    pool, new = Demonstrations(posts, [None] * 40, 6, stratified=True), PromptPost("new", "new", (0, 1), (1, 2))
    assert sorted(p.relation for p in pool.draw(new)) == [0, 0, 1, 1, 2, 2]
    with pytest.raises(ValueError, match="`shots` is 41, and there are 40 posts"):
        Demonstrations(posts, [None] * 40, 41)


def test_a_list_of_relations_has_a_name_on_each_line(tmp_path):
    path = tmp_path / "relations.txt"
    path.write_text("\ufeffcouple\tthey are married\r\n\nlives in\n", "utf-8")
    assert read_relations(str(path)) == {"couple": "they are married", "lives in": ""}
    with pytest.raises(ValueError, match=r"relations.txt:3: description: 'lives in'; expected the name of a relation"):
        read_relations(str(path), needs_description=True)
    path.write_text("a\na\n\tb\n")
    with pytest.raises(
        ValueError, match=r"(?s)2 problem.*:2: relation: 'a' for the second time.*:3: relation: nothing"
    ):
        read_relations(str(path))
    path.write_text("a b\nA  B\n\x00c\n")
    with pytest.raises(
        ValueError, match=r"(?s)2 problem.*:2: relation: 'A  B' beside 'a b'; .*:3: relation: .*without control"
    ):
        read_relations(str(path))
    path.write_text("\n")
    with pytest.raises(ValueError, match="no relations"):
        read_relations(str(path))
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        read_relations(str(tmp_path / "none.txt"))
