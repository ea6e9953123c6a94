"""Raw posts: every way to give them, and what is wrong with them."""

import csv
import itertools
import json
import threading
from datetime import datetime
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from prediction_helpers import (
    NADAL,
    PERELLO,
    TEXT,
    approximately,
    expected_relations,
    read,
    shown,
    write,
)

from mmre.inference import raw_posts, run
from mmre.inference.raw_posts import read_raw_posts, survey_raw_posts
from mmre.inference.run import predict
from mmre.inference.triples import CSV_HEADER
from mmre.posts.checks import Problems
from mmre.posts.row_readers import read_json_lines


def test_entities_are_given_as_head_and_tail_as_pairs_or_as_a_list(focalmre, folder, arguments):
    spans = [list(NADAL), list(PERELLO), [45, 56]]
    words = TEXT.split()
    posts = [
        {"text": TEXT, "head": spans[0], "tail": {"start": 29, "end": 41}, "relation": "/per/per/couple"},
        {"text": TEXT, "pairs": [[spans[0], spans[1]], [spans[2], spans[0]]]},
        {"text": TEXT, "entities": spans},
        {"tokens": words, "head": [3, 5], "tail": [6, 8]},
        {"tokens": words},
        {"text": TEXT, "pairs": []},
    ]
    args = arguments(format="jsonl")
    predict(focalmre, write(folder / "raw.jsonl", posts), args)
    pairs = {
        0: [(NADAL, PERELLO)],
        1: [(NADAL, PERELLO), ((45, 56), NADAL)],
        2: list(itertools.permutations([NADAL, PERELLO, (45, 56)], 2)),
        3: [(NADAL, PERELLO)],
        4: list(itertools.permutations([NADAL, PERELLO, (45, 56)], 2)),
    }
    rows = read(args)
    assert rows and {row["id"] for row in rows} <= {f"raw-{number}" for number in pairs}
    for number in pairs:
        found = [row for row in rows if row["id"] == f"raw-{number}"]
        assert shown(found) == approximately(expected_relations(focalmre, TEXT, pairs[number], None))
    # Of words, too, spans are in characters, of the text that is on the same line.
    of_words = [row for row in rows if row["id"] in ("raw-3", "raw-4")]
    assert {row["id"] for row in of_words} == {"raw-3", "raw-4"} and {row["text"] for row in of_words} == {TEXT}
    assert [row["head"] for row in of_words if row["id"] == "raw-3"] == [
        {"start": 11, "end": 23, "text": "Rafael Nadal"}
    ]
    assert all("text" not in row for row in rows if row not in of_words)


def test_csv_and_json_lines_of_the_same_posts_give_the_same_triples(focalmre, folder, arguments):
    boxes = [[0.1, 0.2, 0.5, 0.9]]
    posts = [
        {"id": "x", "text": TEXT, "head": NADAL, "tail": PERELLO, "image": "a.png", "grounded_regions": boxes},
        {"id": "y", "text": TEXT, "image": "b.png"},
    ]
    header = ["id", "text", "head_start", "head_end", "tail_start", "tail_end", "image", "grounded_regions"]
    cells = [
        ["x", TEXT, *NADAL, *PERELLO, "a.png", json.dumps(boxes)],
        ["y", TEXT, "", "", "", "", "b.png", ""],
    ]
    first, second = arguments("json.jsonl"), arguments("csv.jsonl")
    predict(focalmre, write(folder / "raw.jsonl", posts), first)
    predict(focalmre, write(folder / "raw.csv", [header, *cells]), second)
    assert {row["id"] for row in read(first)} == {"x", "y"}
    assert Path(first.out).read_bytes() == Path(second.out).read_bytes()
    # A text is all that a post needs.
    third = arguments("text.jsonl")
    predict(focalmre, write(folder / "bare.csv", [["text"], [TEXT]]), third)
    assert [row["head"]["text"] for row in read(third)]


def test_a_folder_of_images_and_texts_is_a_list_of_posts(focalmre, folder, arguments):
    (folder / "broken.png").unlink()
    for name in "abc":
        (folder / f"{name}.txt").write_text(f"{TEXT} {name}\n", "utf-8")
    (folder / "d.txt").write_text(TEXT, "utf-8")
    args, other = arguments("folder.jsonl"), arguments("file.jsonl")
    predict(focalmre, str(folder), args)
    posts = [{"id": name, "text": f"{TEXT} {name}", "image": f"{name}.png"} for name in "abc"]
    predict(
        focalmre,
        write(folder.parent / "x.jsonl", [*posts, {"id": "d", "text": TEXT}]),
        arguments("file.jsonl", image_dir=str(folder)),
    )
    assert {row["id"] for row in read(args)} == set("abcd")
    assert read(args) == read(other)


def test_a_folder_of_files_and_an_address_are_read_as_one_file(tmp_path, arguments):
    lines = [json.dumps({"id": str(number), "text": TEXT, "head": NADAL, "tail": PERELLO}) for number in range(5)]
    cells = [f"{number},{TEXT},{NADAL[0]},{NADAL[1]},{PERELLO[0]},{PERELLO[1]}" for number in range(5)]
    header = "id,text,head_start,head_end,tail_start,tail_end"
    files = fsspec.filesystem("memory")
    for kind, first, second in (
        ("jsonl", lines[:2], lines[2:]),
        ("csv", [header, *cells[:2]], [header, *cells[2:]]),
    ):
        (tmp_path / kind).mkdir()
        for name, content in (("b", second), ("a", first)):
            (tmp_path / kind / f"{name}.{kind}").write_text("\n".join(content), "utf-8")
        files.put(str(tmp_path / kind), f"/raw19/{kind}", recursive=True)
        for posts in (str(tmp_path / kind), f"memory://raw19/{kind}", f"memory://raw19/{kind}/b.{kind}"):
            problems = Problems()
            found = list(read_raw_posts(posts, arguments(), problems))
            assert not problems and [post["pairs"] for post in found] == [[(NADAL, PERELLO)]] * len(found)
            assert [post["id"] for post in found] == list("234" if posts.endswith(f"b.{kind}") else "01234")
            assert survey_raw_posts(posts, arguments()).count == len(found)
    (tmp_path / "jsonl" / "c.jsonl").write_text('{"id": "2", "text": 7}\n', "utf-8")
    with pytest.raises(ValueError, match=r"c\.jsonl:1: text: 7; expected .*"):
        survey_raw_posts(str(tmp_path / "jsonl"), arguments())


@pytest.mark.parametrize(
    "value, shown_as",
    [('"\\ud800"', r"'\\ud800'"), ('{"a": "\\udfff"}', "{'a': '.*udfff'}"), ("NaN", "nan"), ("[1e999]", r"\[inf\]")],
)
def test_a_kept_field_that_could_not_be_written_is_told_by_place(tmp_path, arguments, value, shown_as):
    posts = tmp_path / "raw.jsonl"
    posts.write_text(f'{{"text": "a", "by": "Bo"}}\n{{"text": "b", "by": {value}}}\n', "utf-8")
    with pytest.raises(ValueError, match=f"raw.jsonl:2: by: {shown_as}; expected what JSON in UTF-8 can say"):
        survey_raw_posts(str(posts), arguments(keep=["by"]))
    assert survey_raw_posts(str(posts), arguments(ignore_unknown=True)).count == 2


def test_a_kept_date_of_parquet_is_text_and_bytes_are_told(tmp_path, arguments):
    at = [datetime(2026, 11, 28, 15, 40)]
    table = {"text": ["a"], "at": at, "on": [at[0].date()], "clock": [at[0].time()], "raw": [b"\xff"]}
    pq.write_table(pa.table(table), tmp_path / "raw.parquet")
    args, problems = arguments(keep=["at", "on", "clock", "raw"]), Problems()
    (post,) = read_raw_posts(str(tmp_path / "raw.parquet"), args, problems)
    assert {**post["kept"], "raw": ""} == {
        "at": "2026-11-28T15:40:00",
        "on": "2026-11-28",
        "clock": "15:40:00",
        "raw": "",
    }
    assert r"row 1: raw: b'\xff'; expected what JSON" in problems.report() and len(problems) == 1


def test_a_run_whose_bucket_stops_answering_goes_on_with_what_was_done(mtb, arguments, tmp_path, monkeypatch):
    rows = [{"id": str(number), "text": f"{TEXT} {number}", "head": NADAL, "tail": PERELLO} for number in range(5)]
    posts = "memory://raw19/stops.jsonl"
    with fsspec.open(posts, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    monkeypatch.setattr(run, "BATCHES_AT_ONCE", 1)
    args = arguments("triples.jsonl", batch_size=1)
    readings = itertools.count(1)

    def stopping(path, problems, **options):
        reading = next(readings)
        for number, row in enumerate(read_json_lines(path, problems, **options)):
            if reading == 2 and number == 3:  # the first reading checks all posts
                raise TimeoutError
            yield row

    monkeypatch.setattr(raw_posts, "read_json_lines", stopping)
    with pytest.raises(OSError, match=f"{posts}: no answer in time; expected posts .* goes on with what was done"):
        predict(mtb, posts, args)
    assert not Path(args.out).exists() and Path(f"{args.out}.part").read_text().count("batch") >= 3
    assert "\n2 posts in " in predict(mtb, posts, args).text
    other = arguments("other.jsonl", batch_size=1)
    predict(mtb, posts, other)
    assert read(args) == read(other) and {row["id"] for row in read(args)} <= set("01234")


class QuietServer(SimpleHTTPRequestHandler):
    """Serve the files of a folder."""

    def log_message(self, *args):
        """Say nothing."""


def test_a_signed_address_is_read_and_its_signature_is_nowhere_said(tmp_path, arguments):
    row = {"text": "RT @a : hello", "head": [3, 5], "tail": [8, 13]}
    (tmp_path / "good.jsonl").write_text(json.dumps(row) + "\n")
    (tmp_path / "bad.jsonl").write_text(
        json.dumps(row | {"head": [3, 99]}) + "\n" + json.dumps(row | {"text": ""}) + "\n"
    )
    pq.write_table(pa.table({"text": ["RT"], "heat": [1]}), tmp_path / "bad.parquet")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietServer, directory=tmp_path)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        at = f"http://127.0.0.1:{server.server_port}"
        address = f"{at}/good.jsonl?sig=secret.x"
        assert [post["id"] for post in read_raw_posts(address, arguments(), Problems())] == ["good-0"]
        for name, said in (
            ("bad.jsonl", rf"{at}/bad.jsonl:1: head.*\n.*{at}/bad.jsonl:2: text"),
            ("bad.parquet", f"{at}/bad.parquet: unknown column"),
            ("none.jsonl", f"^{at}/none.jsonl: "),
        ):
            with pytest.raises((ValueError, OSError), match=said) as found:
                survey_raw_posts(f"{at}/{name}?sig=secret.x", arguments())
            assert "secret" not in str(found.value)
        server.shutdown()


def test_a_folder_is_a_folder_whatever_its_name_ends_in(folder, arguments):
    named = folder.parent / "tweets.csv"
    named.mkdir()
    (named / "a.txt").write_text(TEXT, "utf-8")
    (named / "a.png").write_bytes((folder / "a.png").read_bytes())
    problems = Problems()
    posts = list(read_raw_posts(str(named), arguments(), problems))
    assert [(post["id"], post["text"], post["image"], post["pairs"]) for post in posts] == [("a", TEXT, "a.png", None)]
    assert not problems


def test_a_folder_whose_files_do_not_belong_together_is_refused(focalmre, folder, arguments):
    (folder / "a.txt").write_text(TEXT, "utf-8")
    (folder / "a.jpg").write_bytes((folder / "a.png").read_bytes())
    (folder / "e.txt").write_bytes(b"caf\xe9")
    with pytest.raises(ValueError) as error:
        predict(focalmre, str(folder), arguments())
    assert f"{folder / 'b.png'}: text: nothing; expected b.txt beside it" in str(error.value)
    assert f"{folder / 'a.txt'}: image: a.jpg, a.png; expected one image of this name" in str(error.value)
    assert f"{folder / 'e.txt'}: text: 'utf-8' codec can't decode" in str(error.value)


def test_regions_and_captions_come_from_an_annotation_file_in_the_order_of_the_posts(tgdi, folder, arguments):
    pair = {"text": TEXT, "head": NADAL, "tail": PERELLO, "image": "a.png"}
    found = {"grounded_regions": [[0.1, 0.2, 0.5, 0.9]], "detected_regions": [[0, 0, 0.5, 0.5]], "caption": "a city"}
    given = write(folder / "given.jsonl", [{"id": "x", **pair, **found}, {"id": "y", **pair}])
    bare = write(folder / "bare.jsonl", [{"id": "x", **pair}, {"id": "y", **pair}])
    empty = {"grounded_regions": [], "detected_regions": [], "caption": None}
    rows = [{"id": "other", **empty}, {"id": "x", **found}, {"id": "y", **empty}]
    file = write(folder / "found.jsonl", [{"mmre_annotation": 1}, *rows])
    first, second = arguments("first.jsonl"), arguments("second.jsonl", regions=file, captions=file)
    predict(tgdi, given, first)
    predict(tgdi, bare, second)
    assert read(first) and read(first) == read(second)
    write(folder / "found.jsonl", [{"mmre_annotation": 1}, *reversed(rows)])
    with pytest.raises(ValueError, match=r"bare.jsonl:2: id: 'y'; expected a row for it in .*found.jsonl, after"):
        predict(tgdi, bare, arguments("third.jsonl", regions=file))
    assert not list(folder.parent.glob("third.*"))


def test_all_bad_rows_are_named_before_a_model_is_loaded(folder, arguments):
    rows = [
        {"text": TEXT, "head": [11, 23]},
        {"text": TEXT, "head": [11, 99], "tail": [29, 41]},
        {"text": TEXT, "pairs": [[[11, 23], [5, 5]]]},
        {"text": TEXT, "pairs": [[[11, 23]]]},
        {"text": TEXT, "entities": [[11, 23], "Bo"]},
        {"text": TEXT, "entities": [], "pairs": []},
        {"text": TEXT, "captoin": "x"},
        {"text": TEXT, "grounded_regions": [[0, 0, 1, 1]]},
        {"text": " "},
        {"text": TEXT},
    ]
    write(folder / "raw.jsonl", rows)
    with open(folder / "raw.jsonl", "a") as file:
        file.write('{"text": \n')
    args = arguments()
    with pytest.raises(ValueError) as error:
        predict("no/such/model", str(folder / "raw.jsonl"), args)
    report = str(error.value)
    for line, found in (
        (1, "tail: nothing; expected start and end of the tail in characters"),
        (2, "head: [11, 99]; expected start and end of the head in characters"),
        (3, "pairs[0]: [5, 5]; expected start and end of the tail"),
        (4, "pairs: [[[11, 23]]]; expected a list of pairs [head, tail]"),
        (5, "entities[1]: 'Bo'; expected start and end of the entity"),
        (6, "pairs; entities: [[], []]; expected one of them"),
        (7, "unknown field 'captoin'; did you mean 'caption'?"),
        (8, "grounded_regions: [[0.0, 0.0, 1.0, 1.0]]; expected none, for the post has no image"),
        (9, "text: ' '; expected a text that is not blank"),
        (11, "line: '{\"text\": '; expected a JSON object"),
    ):
        assert f"raw.jsonl:{line}: {found}" in report
    assert report.startswith("10 problem(s)") and not list(folder.parent.glob("triples*"))


PAIR = {"text": TEXT, "head": NADAL, "tail": PERELLO}


def refusal(folder, rows, args, name: str = "raw.jsonl") -> str:
    with pytest.raises(ValueError) as error:
        predict("no/such/model", write(folder / name, rows), args)
    return str(error.value).replace(f"{folder}/", "")


def test_numbers_are_ids_in_posts_and_in_annotations(tgdi, folder, arguments):
    found = {"grounded_regions": [[0, 0, 0.5, 1]], "detected_regions": [], "caption": "a city"}
    rows = [{"mmre_annotation": 1}, {"id": 1_500_000_000_000_000_001, **found}]
    posts = [{**PAIR, "id": 1_500_000_000_000_000_001, "image": "a.png"}]
    file = write(folder / "found.jsonl", rows)
    args, given = arguments("numbers.jsonl", regions=file, captions=file), arguments("given.jsonl")
    predict(tgdi, write(folder / "raw.jsonl", posts), args)
    assert [row["id"] for row in read(args)] == ["1500000000000000001"]
    predict(tgdi, write(folder / "words.jsonl", [{**posts[0], **found, "id": "1500000000000000001"}]), given)
    assert read(args) == read(given)
    assert "id: 1.5; expected text or null" in refusal(folder, [{**PAIR, "id": 1.5}], arguments())


def test_an_id_that_came_before_is_named_with_its_first_place(folder, arguments):
    rows = [{**PAIR, "id": key} for key in ("a", 7, "b", "7", "raw-5")] + [PAIR]
    report = refusal(folder, rows, arguments())
    assert "2 problem(s)" in report
    assert "raw.jsonl:4: id: '7', as at raw.jsonl:2; expected another for each post" in report.replace(f"{folder}/", "")
    assert "raw.jsonl:6: id: 'raw-5', as at raw.jsonl:5" in report


def test_further_fields_are_refused_kept_or_ignored(focalmre, folder, arguments):
    rows = [
        {**PAIR, "id": "x", "author": {"name": "Bo"}, "created_at": "2020-01-01", "likes": 3},
        {**PAIR, "id": "y", "author": "=1+1"},
    ]
    report = refusal(folder, rows, arguments())
    assert "raw.jsonl:1: unknown field 'author'; expected " in report and "unknown field 'likes'" in report
    assert report.splitlines()[-1] == (
        "--keep FIELD hands a further field on to the triples, --ignore_unknown passes over the others"
    )
    assert "unknown field 'created_at'" in refusal(folder, rows, arguments(keep=["author"]))
    args = arguments(keep=["author", "likes"], ignore_unknown=True)
    said = predict(focalmre, write(folder / "raw.jsonl", rows), args)
    assert [(row["author"], row.get("likes")) for row in read(args)] == [({"name": "Bo"}, 3), ("=1+1", None)]
    assert "ignored: the fields created_at" in said.text
    # A name that is nearly a known one is a mistake, whatever is ignored.
    near = refusal(folder, [{**PAIR, "captoin": "x", "by": 1}], arguments("z.jsonl", ignore_unknown=True))
    assert "1 problem(s)" in near and "unknown field 'captoin'; did you mean 'caption'?" in near

    header = ["text", "head_start", "head_end", "tail_start", "tail_end", "author", "likes"]
    cells = [[TEXT, *NADAL, *PERELLO, "=1+1", "7"], [TEXT, *NADAL, *PERELLO, "Bo", ""]]
    table = arguments("triples.csv", keep=["author"], ignore_unknown=True)
    said = predict(focalmre, write(folder / "raw.csv", [header, *cells]), table)
    with open(table.out, encoding="utf-8", newline="") as file:
        names, *triples = csv.reader(file)
    assert names == [*CSV_HEADER, "author"]
    assert [triple[-1] for triple in triples] == ["'=1+1", "Bo"] and "ignored: the fields likes" in said.text


def test_a_further_field_of_many_posts_is_named_once(folder, arguments):
    report = refusal(folder, [{**PAIR, "author": "Bo"}] * 9 + [{**PAIR, "likes": 3}], arguments())
    assert report.startswith("2 problem(s)") and report.count("unknown field 'author'") == 1
    assert "raw.jsonl:1: unknown field 'author'" in report and "raw.jsonl:10: unknown field 'likes'" in report


def test_a_field_to_keep_that_no_post_has_or_that_is_a_known_one_misspelt_is_refused(folder, arguments):
    rows = [{**PAIR, "captoin": "x", "image": None, "image_url": "y"}]
    found = refusal(folder, rows, arguments(keep=["captoin", "image_url"]))
    assert "1 problem(s)" in found and "raw.jsonl: --keep: unknown field 'captoin'; did you mean 'caption'?" in found
    found = refusal(folder, rows, arguments(keep=["captoin", "image_url", "likes"]))
    assert "raw.jsonl: --keep: 'likes', which no post has; expected a field of the posts" in found
    found = refusal(folder, [["text", "author"], [TEXT, "Bo"]], arguments(keep=["author", "likes"]), "raw.csv")
    assert "1 problem(s)" in found and "raw.csv: --keep: 'likes', which no post has" in found


def test_a_kept_field_with_a_meaning_is_refused(arguments):
    with pytest.raises(ValueError, match="--keep score: it has a meaning of its own"):
        arguments(keep=["author", "score"])


def test_an_address_of_a_picture_is_refused_before_a_model_is_loaded(folder, arguments):
    for address in ("https://example.org/a.png", "http://127.0.0.1/a.png", "file:///etc/hostname", "ftp://x/y.png"):
        report = refusal(folder, [{**PAIR, "image": address}], arguments())
        assert f"raw.jsonl:1: image: '{address}'; expected a file: addresses are not followed" in report


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_first_line_of_excel_says_which_separator_it_is(focalmre, folder, arguments, separator):
    header = ["text", "head_start", "head_end", "tail_start", "tail_end"]
    lines = [f"sep={separator}", separator.join(header), separator.join(map(str, [TEXT, *NADAL, *PERELLO]))]
    path = folder / "raw.csv"
    path.write_text("\r\n".join(lines) + "\r\n", "utf-8-sig")
    args = arguments()
    predict(focalmre, str(path), args)
    assert [row["head"]["text"] for row in read(args)] == ["Rafael Nadal"]
    path.write_text("\r\n".join([lines[0], lines[1].replace("text", "txt"), lines[2]]), "utf-8")
    with pytest.raises(ValueError, match="raw.csv:2: unknown column 'txt'; did you mean 'text'"):
        predict(focalmre, str(path), arguments("second.jsonl"))
    path.write_text("\r\n".join([*lines[:2], lines[2].replace("11", "99")]), "utf-8")
    with pytest.raises(ValueError, match=r"raw.csv:3 \(row 2\): head_start, head_end"):
        predict(focalmre, str(path), arguments("other.jsonl"))
