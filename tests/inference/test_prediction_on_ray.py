"""Prediction with workers of Ray: the same triples, also when a worker dies, and when a run is gone on with."""

import json
from pathlib import Path

import pytest
from prediction_helpers import NADAL, PERELLO, TEXT, write
from ray_helpers import kill_a_worker

from mmre.inference import run as run_module
from mmre.inference.run import predict

pytest.importorskip("ray", reason="workers need Ray: pip install 'mmre[ray]'")
pytestmark = pytest.mark.slow


def many_posts(folder: Path) -> str:
    pair = {"text": TEXT, "head": NADAL, "tail": PERELLO}
    pictures = ("a.png", "b.png", "c.png", "broken.png", None)
    return write(folder / "raw.jsonl", [{"id": str(n), **pair, "image": pictures[n % 5]} for n in range(40)])


@pytest.mark.parametrize("name, size", [("triples.jsonl", None), ("triples.ttl", 7), ("triples.parquet", 7)])
def test_triples_are_the_same_with_two_workers_of_which_one_is_killed(
    name, size, focalmre, folder, arguments, tmp_path, monkeypatch
):
    (tmp_path / "alone").mkdir(), (tmp_path / "ray").mkdir()
    path, alone = many_posts(folder), arguments(f"alone/{name}", batch_size=2, triples_per_file=size)
    predict(focalmre, path, alone)
    killed = kill_a_worker(monkeypatch, run_module)
    together = arguments(f"ray/{name}", batch_size=2, triples_per_file=size, ray="local", workers=2)
    report = predict(focalmre, path, together)
    assert killed and report.failed == 8
    found, expected = (
        {path.name: path.read_bytes() for path in (Path(out).iterdir() if size else [Path(out)])}
        for out in (together.out, alone.out)
    )
    assert found == expected and (size is None or len(found) > 2)


def test_a_run_with_workers_is_gone_on_with_without_them_and_nothing_is_done_twice(
    focalmre, folder, arguments, monkeypatch
):
    path, append_line = many_posts(folder), run_module.append_line
    expected = arguments("expected.jsonl", batch_size=2)
    predict(focalmre, path, expected)
    written = []

    def append_and_stop(file, line):
        append_line(file, line)
        written.append(line.get("batch"))
        if len(written) == 8:
            raise KeyboardInterrupt

    monkeypatch.setattr(run_module, "append_line", append_and_stop)
    with pytest.raises(KeyboardInterrupt):
        predict(focalmre, path, arguments(batch_size=2, ray="local", workers=2))
    monkeypatch.setattr(run_module, "append_line", lambda file, line: (append_line(file, line), written.append(line)))
    alone = arguments(batch_size=2)
    predict(focalmre, path, alone)
    again = {line["batch"] for line in written[8:]}
    assert not again & set(written[1:8]) and again | set(written[1:8]) == set(range(20))
    assert Path(alone.out).read_bytes() == Path(expected.out).read_bytes()
    assert len(json.loads("[" + ",".join(Path(alone.out).read_text("utf-8").splitlines()) + "]")) == 32


def test_a_cluster_that_is_not_there_is_named(focalmre, folder, arguments):
    with pytest.raises(OSError, match="--ray 127.0.0.1:1: "):
        predict(focalmre, many_posts(folder), arguments(ray="127.0.0.1:1"))
