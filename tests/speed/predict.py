"""How many posts a second `mmre predict` does, alone and with workers of Ray, and how its memory grows.

    python tests/speed/predict.py outputs/quickstart --posts 20000 --workers 0 1 2

The posts are the texts of synthetic ones, with their entities and without pictures, each on a line of JSON; 0 workers
is no Ray. The rate is that between a tenth of the posts and the end, without the start of Ray and of the models. Memory
is that of the process that reads and writes, after a tenth of the posts and at its most. All ways have to write the
same bytes. Other work on the machine takes its share: processor time, of all processes of a run, counts none of it.
"""

import argparse
import hashlib
import json
import platform
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil

from mmre.posts import make_synthetic_posts

DISTINCT, BATCH = 1000, 32
MIB = 1 << 20


def write_posts(path: Path, count: int) -> None:
    """Write posts, of which a thousand differ."""
    made = make_synthetic_posts(num_train=0, num_validation=0, num_test=DISTINCT)["test"].remove_columns("image")
    rows = [
        {"text": row["text"], **{end: [row[end]["start"], row[end]["end"]] for end in ("head", "tail")}} for row in made
    ]
    with open(path, "w", encoding="utf-8") as file:
        for number in range(count):
            file.write(json.dumps({"id": str(number), **rows[number % DISTINCT]}, ensure_ascii=False) + "\n")


def measure(model: str, posts: Path, count: int, workers: int) -> tuple[list[str], str]:
    """Run a prediction, and return its figures, and the hash of its output."""
    out = posts.with_name(f"triples-{workers}.jsonl")
    words = [sys.executable, "-m", "mmre.cli.main", "predict", model, str(posts), "--out", str(out)]
    words += [
        "--decision",
        "pair",
        "--batch_size",
        str(BATCH),
        *(["--ray", "local", "--workers", str(workers)] if workers else []),
    ]
    part, batches = Path(f"{out}.part"), -(-count // BATCH)
    samples, processor = [], {}
    with open(posts.with_name(f"log-{workers}"), "w+", encoding="utf-8") as log:
        process = psutil.Popen(words, stdout=log, stderr=log)
        position, lines = 0, -1  # the header is none
        while process.poll() is None:
            time.sleep(0.2)
            with suppress(OSError, psutil.Error):
                if part.exists():
                    with open(part, "rb") as file:
                        file.seek(position)
                        content = file.read()
                    position, lines = position + len(content), lines + content.count(b"\n")
                for each in [process, *process.children(recursive=True)]:
                    with suppress(psutil.Error):
                        processor[each.pid] = sum(each.cpu_times()[:2])
                samples.append((time.perf_counter(), lines, process.memory_info().rss, sum(processor.values())))
        if process.returncode:
            log.seek(0)
            sys.exit(log.read())
    first = next(sample for sample in samples if sample[1] >= batches / 10)
    last = next(sample for sample in samples if sample[1] == samples[-1][1])
    done = (last[1] - first[1]) * BATCH
    figures = [f"{done / (last[0] - first[0]):.0f}", f"{1000 * (last[3] - first[3]) / done:.2f}"]
    figures += [f"{first[2] / MIB:.0f}", f"{max(sample[2] for sample in samples) / MIB:.0f}"]
    return figures, hashlib.sha256(out.read_bytes()).hexdigest()


def main() -> None:
    """Print a table, a row for each number of workers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="folder of a model")
    parser.add_argument("--posts", type=int, default=20_000)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    args = parser.parse_args()
    print(f"{platform.machine()}, {psutil.cpu_count()} processors, {args.posts} posts, batches of {BATCH}")
    print("| workers | posts a second | ms of processor for a post | MiB after a tenth | MiB at most |")
    print("|---|--:|--:|--:|--:|")
    hashes = set()
    with tempfile.TemporaryDirectory() as folder:
        posts = Path(folder) / "posts.jsonl"
        write_posts(posts, args.posts)
        for workers in args.workers:
            figures, content = measure(args.model, posts, args.posts, workers)
            hashes.add(content)
            print(f"| {workers or 'no Ray'} | {' | '.join(figures)} |", flush=True)
        triples = (Path(folder) / f"triples-{args.workers[0]}.jsonl").read_bytes().count(b"\n")
    print(f"{triples} triples; {'the same bytes each time' if len(hashes) == 1 else 'the bytes differ'}")


if __name__ == "__main__":
    main()
