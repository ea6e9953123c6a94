"""`mmre predict`: its errors, and the memory of long runs."""

import subprocess
import sys

import pytest
from picture_helpers import SPACY_MODEL
from prediction_helpers import NADAL, PERELLO, TEXT, long_posts, write

from mmre.cli.main import main


def test_the_command_ends_with_a_line_for_what_is_wrong(focalmre, tgdi, picture_models, folder, tmp_path, capsys):
    path = write(folder / "raw.jsonl", [{"text": TEXT, "head": NADAL, "tail": PERELLO}])

    def ends(*arguments, status: int = 1) -> str:
        try:
            ended = main(["predict", *map(str, arguments)])
        except SystemExit as stopped:
            ended = stopped.code
        message = capsys.readouterr().err.splitlines()[-1]
        assert ended == status and message.startswith("mmre predict: error: ")
        return message

    out = tmp_path / "t.jsonl"
    assert "does not end in one of jsonl, csv, parquet, nt, ttl; say which with --format" in ends(
        focalmre, path, "--out", "t.txt", status=2
    )
    assert "--output_fusion; the format nt has no room" in ends(
        focalmre, path, "--out", "t.nt", "--output_fusion", status=2
    )
    assert "--base_iri x y; expected an IRI" in ends(focalmre, path, "--out", "t.nt", "--base_iri", "x y", status=2)
    assert "--workers 2; --ray is not given" in ends(focalmre, path, "--out", out, "--workers", "2", status=2)
    assert "--workers 0; expected at least 1" in ends(
        focalmre, path, "--out", out, "--ray", "local", "--workers", "0", status=2
    )
    assert "--explain; workers of --ray explain nothing" in ends(
        focalmre, path, "--out", out, "--ray", "local", "--explain", "page", status=2
    )
    missing = (
        "mmre predict: error: the following arguments are required: POSTS, --out; give a file of posts, or, to explain"
    )
    assert ends(focalmre, "--explain", "why", status=2).startswith(missing)
    assert "of a run of mmre train: mmre explain RUN --out FOLDER" in ends(focalmre, "--out", out, status=2)
    assert "mmre explain" not in ends(focalmre, path, status=2)
    assert "--min_score 1.5; expected" in ends(focalmre, path, "--out", "t.nt", "--min_score", "1.5", status=2)
    assert "there is no such file" in ends(focalmre, tmp_path / "none.csv", "--out", out)
    assert "is no annotation file" in ends(focalmre, path, "--out", out, "--regions", path)
    assert "captions: " in ends(focalmre, path, "--out", out, "--tasks", "captions")
    assert "MODEL no/such/model: " in ends("no/such/model", path, "--out", out)
    detector = picture_models["detection"]
    assert f"MODEL {detector} is a 'rt_detr_v2', which extracts no relations" in ends(detector, path, "--out", out)
    assert "'blip-2', which extracts no relations" in ends(picture_models["captions"], path, "--out", out)
    nothing = tmp_path / "nothing"
    ground = ["--tasks", "grounding", "--spacy_model", SPACY_MODEL]
    wrong = ends(focalmre, path, "--out", out, *ground, "--grounding_model", nothing)
    assert f"--grounding_model {nothing}: " in wrong
    assert not out.exists()
    assert main(["predict", focalmre, path, "--out", str(out)]) == 0
    assert f"{out}: 1 triples of 1 posts" in capsys.readouterr().out
    before = out.read_bytes()
    assert "is there already; give another --out, or delete it" in ends(tgdi, path, "--out", out)
    assert out.read_bytes() == before


@pytest.mark.slow
def test_memory_of_ten_thousand_posts_is_that_of_ten(focalmre, folder, prediction_arguments):
    code = "import resource; from mmre.cli.main import main; main(); "
    code += "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    peaks = {}
    for number in (10, 10_000):
        path, out = long_posts(folder / "raw.jsonl", number), prediction_arguments(f"{number}.jsonl").out
        done = subprocess.run(
            [sys.executable, "-c", code, "predict", focalmre, path, "--out", out, "--batch_size", "10"],
            capture_output=True,
            text=True,
            check=True,
        )
        peaks[number] = int(done.stdout.splitlines()[-1]) / 1024  # MB
        assert f"{number} triples of {number} posts" in done.stdout
    # The posts are 200 MB, their decoded pictures 144 MB.
    assert peaks[10_000] - peaks[10] < 40, peaks


def test_a_run_of_which_every_post_failed_ends_with_status_one(focalmre, folder, tmp_path, capsys):
    pair = {"text": TEXT, "head": NADAL, "tail": PERELLO}
    path = write(folder / "raw.jsonl", [{**pair, "image": "broken.png"}, {**pair, "image": "missing.png"}])
    assert main(["predict", focalmre, path, "--out", str(tmp_path / "t.jsonl")]) == 1
    assert "failed: 2 posts" in capsys.readouterr().out
    path = write(folder / "some.jsonl", [{**pair, "image": "broken.png"}, pair])
    assert main(["predict", focalmre, path, "--out", str(tmp_path / "s.jsonl")]) == 0
