"""The runs of a benchmark: each is a training in a process of its own, with a record of how it ended."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock

from mmre.evaluation.output_lock import is_in_use
from mmre.evaluation.run_record import METRICS_FILE, PREDICTIONS_FILE
from mmre.posts.file_lock import take
from mmre.posts.whole_file import whole_file

from .addresses import code_version, digest

# The command of a run, before the path of its configuration file.
TRAINING = (sys.executable, "-m", "mmre.training")
RECORD_FILE = "cell.json"
# What a training leaves that no table needs: gigabytes.
WEIGHTS = ("checkpoint-*", "*.safetensors", "base_model", "training_args.bin")


@dataclass
class Run:
    """One training: a cell with a seed.

    Args:
        name: of the cell, for people.
        model_type: the system.
        recipe: name of the configuration that it starts from.
        settings: the content of the run's configuration file, by section.
        address: hash of recipe, data and code.
        folder: where it is done.
        posts: training posts.
        epochs: how often each is seen.
        steps: of the optimizer.
    """

    name: str
    model_type: str
    recipe: str
    settings: dict[str, dict[str, Any]]
    address: str
    folder: Path
    posts: int
    epochs: float
    steps: int

    @property
    def seed(self) -> int:
        """Return the seed."""
        return self.settings["training"]["seed"]

    @property
    def visits(self) -> int:
        """Count the training posts, each as often as a run sees it: the cost goes by this number."""
        return round(self.posts * self.epochs)

    @property
    def kind(self) -> str:
        """Hash what decides the time per post: the recipe, the model, and whether pictures are read."""
        return digest([self.recipe, self.settings["model"], self.settings["data"]["use_images"]])

    @property
    def record(self) -> dict[str, Any]:
        """Read the record of how the run ended; return an empty one for a run that was never started."""
        path = self.folder / RECORD_FILE
        return json.loads(path.read_text("utf-8")) if path.is_file() else {}

    @property
    def state(self) -> str:
        """Return `"done"`, `"failed"`, `"interrupted"` or `"missing"`."""
        status = self.record.get("status", "missing")
        return "interrupted" if status == "running" else status


def do_runs(runs: list[Run]) -> Iterator[str]:
    """Do runs one after the other; one that fails does not stop the others.

    Args:
        runs: the runs, in their order.

    Yields:
        What there is to say: the beginning of a line when a run starts, and its end when the run has ended.
    """
    for number, run in enumerate(runs, start=1):
        yield f"[{number}/{len(runs)}] {run.name}, seed {run.seed}: "
        yield f"{do_run(run)}\n"


def do_run(run: Run) -> str:
    """Do a run in a process of its own; skip a run that is done, and resume one that was stopped.

    Where only the benchmark was killed, its training goes on: it holds the lock of its output folder, and a second
    training into the same folder is refused.

    Args:
        run: the run. Its folder keeps the results and what repeats them, but not the weights; `cell.json` in it says
            how it ended.

    Returns:
        The outcome, for people.
    """
    run.folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(run.folder.with_suffix(".lock"), timeout=0)
    if take(lock):
        try:
            if run.state == "done":
                return "done before"
            if not is_in_use(run.folder):
                return _train(run)
        finally:
            lock.release()
    return "another process is at it; left to that one"


def _train(run: Run) -> str:
    """Train in a process of its own, and record how it ended."""
    recipe, text = run.folder / "recipe.yaml", yaml.safe_dump(run.settings, sort_keys=False)
    if run.folder.is_dir() and not (recipe.is_file() and recipe.read_text("utf-8") == text):
        shutil.rmtree(run.folder)  # stopped when the same data lay elsewhere: a training would not go on with it
    run.folder.mkdir(exist_ok=True)
    with whole_file(recipe) as file:
        file.write(text)
    # A checkpoint that was stopped while it was written has no state yet: a training leaves it out, too.
    checkpoints = [path.parent.name for path in run.folder.glob("checkpoint-*/trainer_state.json")]
    last = max(checkpoints, key=lambda name: int(name.split("-")[1]), default=None)
    record = {
        "name": run.name,
        "recipe": run.recipe,
        "kind": run.kind,
        "seed": run.seed,
        "address": run.address,
        "code": code_version([run.model_type]),
        "visits": run.visits,
        "resumed_from": last,
        "status": "running",
    }
    _write_record(run, record)
    command = [*TRAINING, str(recipe), *(["--resume_from_checkpoint", "true"] if last else [])]
    started = time.monotonic()
    with (run.folder / "log.txt").open("ab") as log:
        start_of_log = log.tell()
        process = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: S603
        try:
            status = process.wait()
        except BaseException:  # stopped: the record stays "running"
            process.terminate()
            process.wait()
            raise
    record["seconds"] = round(time.monotonic() - started, 1)
    expected = [METRICS_FILE, *([PREDICTIONS_FILE] if run.settings["training"].get("do_predict", True) else [])]
    missing = [name for name in expected if not (run.folder / name).is_file()]
    if status == 0 and not missing:
        for path in (path for pattern in WEIGHTS for path in run.folder.glob(pattern)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        _write_record(run, record | {"status": "done"})
        return f"done in {record['seconds']:.0f} s" + (f", from {last} on" if last else "")
    if status < 0:
        record["error"] = f"killed by {signal.Signals(-status).name}"
    elif status == 0:
        record["error"] = f"the training ended without {' and '.join(missing)}"
    else:
        lines = (run.folder / "log.txt").read_bytes()[start_of_log:].decode(errors="replace").split("\n")
        record["error"] = next((line.strip() for line in reversed(lines) if line.strip()), f"exit status {status}")
    _write_record(run, record | {"status": "failed"})
    return f"FAILED: {record['error']} (see {run.folder / 'log.txt'})"


def _write_record(run: Run, record: dict[str, Any]) -> None:
    with whole_file(run.folder / RECORD_FILE) as file:
        file.write(json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def seconds_per_visit(out: Path) -> dict[str, float]:
    """Average the seconds per visit of a training post over the finished runs: of each recipe and of each kind."""
    seconds, visits = Counter(), Counter()
    for path in out.glob(f"cells/*/{RECORD_FILE}"):
        record = json.loads(path.read_text("utf-8"))
        if record["status"] == "done" and record["resumed_from"] is None:
            for key in (record["recipe"], record["kind"]):
                seconds[key] += record["seconds"]
                visits[key] += record["visits"]
    return {key: seconds[key] / visits[key] for key in seconds}


__all__ = ["Run", "do_run", "do_runs", "seconds_per_visit"]
