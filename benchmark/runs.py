"""The runs of a benchmark: what each is made of, whether it is there, and how it is done."""

import argparse
import fcntl
import hashlib
import importlib.util
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

from mmre.evaluation.run_record import METRICS_FILE, PREDICTIONS_FILE
from mmre.posts.mnre import (
    DETECTED_NAME_FILES,
    GROUNDED_NAME_FILES,
    MNRE_RELATIONS,
    find_box_files,
    find_file,
    find_texts,
    index_files,
    names,
)
from mmre.posts.synthetic import SYNTHETIC_RELATIONS

from .suites import Cell, Suite

# The recipe of each system: that of its paper, and on synthetic posts one for a CPU that downloads nothing.
RECIPES = {"focalmre": "focalmre_mnre", "tgdi": "tgdi_mnre", "text_only": "text_only_mnre"}
SYNTHETIC_RECIPES = {"focalmre": "quickstart", "tgdi": "tgdi_quickstart", "text_only": "tgdi_quickstart"}
IMAGE_TYPES = {".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp"}
# What a training leaves that no table needs: gigabytes.
WEIGHTS = ("checkpoint-*", "*.safetensors", "base_model", "training_args.bin")


@dataclass
class Run:
    """One training: a cell with a seed.

    Args:
        name: of the cell, for people.
        recipe: name of the configuration that it starts from.
        settings: the arguments of `train.py`, by section.
        address: hash of recipe, data and code.
        folder: where it is done.
        posts: training posts.
        epochs: how often each is seen.
        steps: of the optimizer.
    """

    name: str
    recipe: str
    settings: dict[str, dict[str, Any]]
    address: str
    folder: Path
    posts: int
    epochs: float
    steps: int

    @property
    def seed(self) -> int:
        return self.settings["training"]["seed"]

    @property
    def visits(self) -> int:
        """Posts that are trained on, each as often as it is seen: what the cost goes by."""
        return round(self.posts * self.epochs)

    @property
    def kind(self) -> str:
        """Runs of one kind take as long for a post: one model, with or without pictures."""
        return digest([self.recipe, self.settings["model"], self.settings["data"]["use_images"]])

    @property
    def record(self) -> dict[str, Any]:
        """What is known of the run; empty if it was never started."""
        path = self.folder / "cell.json"
        return json.loads(path.read_text("utf-8")) if path.is_file() else {}

    @property
    def state(self) -> str:
        """`"done"`, `"failed"`, `"interrupted"` or `"missing"`."""
        status = self.record.get("status", "missing")
        return "interrupted" if status == "running" else status


@dataclass
class Row:
    """A cell of a suite with its runs, one for each seed; none under a protocol where the cell means nothing."""

    cell: Cell
    name: str
    runs: list[Run]


def find_train_script(given: Path | None) -> Path:
    """The training script: it is in the clone's root, and not part of the installed package.

    Raises:
        FileNotFoundError: if it is not there.
    """
    if given is not None:
        if not given.is_file():
            raise FileNotFoundError(f"--train_script: there is no file {given}.")
        return given.resolve()
    for path in (Path(__file__).resolve().parents[1] / "train.py", Path.cwd() / "train.py"):
        # Another project's train.py is not to be run.
        if path.is_file() and "mmre.evaluation" in path.read_text("utf-8"):
            return path
    raise FileNotFoundError(
        f"The train.py of mmre is not in {Path.cwd()}: go to the root of the clone, or give --train_script FILE."
    )


def load_script(path: Path) -> ModuleType:
    """The training script as a module, to read recipes as it does."""
    spec = importlib.util.spec_from_file_location("mmre_train_script", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


def code_version(train_script: Path) -> dict[str, str | None]:
    """The version of the package, the commit if there is one, and a hash of all code that a result depends on."""
    root = Path(__file__).parents[1]
    files = [*(root / "modeling").glob("*.py"), *(root / "processing").glob("*.py"), train_script]
    files += [root / "evaluation" / name for name in ("protocols.py", "relation_f1.py")]
    command = ["git", "-C", str(train_script.parent), "rev-parse", "HEAD"]
    try:
        commit = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603
    except (OSError, subprocess.CalledProcessError):  # no git, or no clone
        commit = None
    return {
        "version": metadata.version("mmre"),
        "commit": commit,
        "sources": digest(sorted((path.name, digest(path.read_bytes())) for path in files)),
    }


def digest(content: Any) -> str:
    """A short hash of bytes, or of anything that JSON can say."""
    data = content if isinstance(content, bytes) else json.dumps(content, sort_keys=True).encode()
    return hashlib.sha256(data).hexdigest()[:16]


def given_names(words: list[str]) -> set[str]:
    """The names of the arguments on a command line."""
    return {word[2:].split("=")[0] for word in words if word.startswith("--")}


def plan_rows(
    suite: Suite,
    options: argparse.Namespace,
    extra: list[str],
    train: ModuleType,
    configs: Path,
    sources: str,
) -> list[Row]:
    """The runs that a suite needs. All recipes are read as `train.py` will read them, before anything is run.

    Args:
        suite: the suite.
        options: of the command line: `data`, `protocol`, `regions`, `captions`, `config`, `seeds`, `out`.
        extra: arguments for `train.py` in each run.
        train: the module of `train.py`.
        configs: folder of the recipes.
        sources: hash of the code.

    Raises:
        SystemExit: of `train.py`, if a recipe or an argument is wrong.
        ValueError: if an argument would undo what a cell is, or captions are missing.
        OSError: if data are missing.
    """
    own_recipes = {}
    for path in options.config:
        system = train.read_yaml(path).get("model_type", "focalmre")
        if system in own_recipes:
            raise ValueError(f"--config: {own_recipes[system]} and {path} are both recipes of {system}: give one.")
        own_recipes[system] = path
    is_mnre = options.data != "synthetic"
    rows = []
    for cell in suite.cells:
        if cell.needs_regions and options.protocol == "none":
            rows.append(Row(cell, cell.name, []))
            continue
        undone = sorted(given_names(extra) & {*cell.arguments})
        if undone:
            raise ValueError(f"--{undone[0]} is what {cell.name!r} of {suite.title!r} is about: leave it out.")
        default = (RECIPES if is_mnre else SYNTHETIC_RECIPES)[cell.system]
        path = own_recipes.get(cell.model_type, configs / f"{default}.yaml")
        recipe = train.read_yaml(path)
        captions = [None]
        if is_mnre and cell.reads_captions:
            captions = options.captions or [recipe.get("captions")]
            if captions == [None]:
                raise ValueError(f"{cell.name!r} of {suite.title!r} reads captions of the pictures: give --captions.")
        for files in captions:
            name = cell.name if len(captions) == 1 else f"{cell.name} ({_common_name(files)})"
            values = recipe | cell.arguments | data_arguments(cell, options, files)
            rows.append(Row(cell, name, plan_runs(name, path.stem, values, options, extra, train, sources)))
    return rows


def _common_name(files: list[str]) -> str:
    """What caption files are called: `blip2` for `blip2_train.txt`, `blip2_val.txt` and `blip2_test.txt`."""
    stems = [Path(path).stem for path in files]
    return (os.path.commonprefix(stems) if len(stems) > 1 else "").rstrip("_-. ") or stems[0]


def data_arguments(cell: Cell, options: argparse.Namespace, captions: list[str] | None) -> dict[str, Any]:
    """The data that a cell is trained and tested on, in place of the recipe's."""
    if options.data == "synthetic":
        return {"dataset": "synthetic", **dict.fromkeys(["data_dir", "image_dir", "regions", "captions"])}
    regions = os.path.abspath(options.regions) if options.protocol == "label_free" else options.protocol
    if not (cell.arguments.get("use_images", True) or cell.arguments.get("region_count_as_caption")):
        regions = "none"
    return {
        "dataset": "mnre",
        "data_dir": os.path.abspath(options.data),
        "regions": regions,
        "captions": [os.path.abspath(path) for path in captions] if captions else None,
    }


def plan_runs(
    name: str,
    recipe: str,
    values: dict[str, Any],
    options: argparse.Namespace,
    extra: list[str],
    train: ModuleType,
    sources: str,
) -> list[Run]:
    """The runs of a cell, one for each seed, by the values of its arguments."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{recipe}.yaml"
        path.write_text(yaml.safe_dump({"training": values | {"output_dir": folder}}), "utf-8")
        model_args, data_args, args, model_values = train.parse_arguments([str(path), *extra])
        settings = train.resolved_settings(model_args, data_args, args, model_values)
    data = settings["data"]
    # Where the data lie is no part of what they are: their fingerprint is of what lies there.
    content = {
        "model": settings["model"],
        "data": data | dict.fromkeys(["data_dir", "image_dir"]) | {"captions": bool(data["captions"])},
        "fingerprint": data_fingerprint(data),
        "sources": sources,
    }
    if data["regions"] not in ("released", "none", "drawn"):
        content["data"]["regions"] = "annotation file"
    posts = number_of_training_posts(data)
    batch = args.train_batch_size * args.gradient_accumulation_steps
    steps = args.max_steps if args.max_steps > 0 else math.ceil(math.ceil(posts / batch) * args.num_train_epochs)
    epochs = steps * batch / posts if args.max_steps > 0 else args.num_train_epochs
    runs = []
    for seed in options.seeds:
        content["training"] = settings["training"] | {"seed": seed, "output_dir": None}
        address = digest(content)
        folder = options.out.absolute() / "cells" / address
        of_seed = settings | {"training": settings["training"] | {"seed": seed, "output_dir": str(folder)}}
        runs.append(Run(name, recipe, of_seed, address, folder, posts, epochs, steps))
    return runs


def data_fingerprint(data: dict[str, Any]) -> dict[str, Any]:
    """What the data are that a run reads, wherever they lie: hashes of files; of images, the names and sizes."""
    if data["dataset"] == "synthetic":
        return {}  # made by the code, which has its own hash
    files = _index(data["data_dir"])
    texts = find_texts(files, data["data_dir"])
    paths = {"texts": texts, "captions": data["captions"]}
    if data["regions"] == "released":
        paths["boxes"] = find_box_files(files, texts, data["data_dir"])
        for key, kind in (("grounded", GROUNDED_NAME_FILES), ("detected", DETECTED_NAME_FILES)):
            paths[key] = {split: find_file(files, names(kind, split)) for split in texts}
    elif data["regions"] != "none":
        paths["boxes"] = data["regions"]
    images = _image_hash(data["image_dir"] or data["data_dir"]) if data["use_images"] else None
    return {key: _hashes(value) for key, value in paths.items()} | {"images": images}


@lru_cache
def _index(folder: str) -> dict[str, list[str]]:
    return index_files(folder)


@lru_cache
def _image_hash(folder: str) -> str:
    found = [paths for name, paths in _index(folder).items() if Path(name).suffix.lower() in IMAGE_TYPES]
    return digest(sorted((os.path.basename(path), os.path.getsize(path)) for paths in found for path in paths))


@lru_cache
def _file_hash(path: str) -> str:
    return digest(Path(path).read_bytes())


def _hashes(paths: Any) -> Any:
    """The hashes of files in the place of their paths."""
    if isinstance(paths, dict):
        return {name: _hashes(value) for name, value in paths.items()}
    if isinstance(paths, list):
        return [_hashes(value) for value in paths]
    return None if paths is None else _file_hash(paths)


def number_of_training_posts(data: dict[str, Any]) -> int:
    """How many posts a run trains on; with `samples_per_relation`, at most."""
    if data["dataset"] == "synthetic":
        number, relations = data["num_synthetic_posts"], len(SYNTHETIC_RELATIONS)
    else:
        path = find_texts(_index(data["data_dir"]), data["data_dir"]).get("train")
        if path is None:
            raise FileNotFoundError(f"{data['data_dir']} has no text file for: train.")
        number, relations = _number_of_lines(path), len(MNRE_RELATIONS)
    number = min(number, data["max_train_samples"] or number)
    if data["samples_per_relation"] is not None:
        return min(number, data["samples_per_relation"] * relations)
    return round(data["train_share"] * number)


@lru_cache
def _number_of_lines(path: str) -> int:
    return sum(bool(line.strip()) for line in Path(path).read_bytes().split(b"\n"))


def do_run(run: Run, train_script: Path, code: dict[str, str | None]) -> str:
    """Do a run in a process of its own, unless it is done; go on with it, if it was stopped.

    Args:
        run: the run. Its folder keeps the results and what repeats them, but not the weights; `cell.json` in it says
            how it ended.
        train_script: `train.py`.
        code: the version of the code, for the record.

    Returns:
        What came of it, for people.
    """
    lock_path = run.folder.with_suffix(".lock")
    lock_path.parent.mkdir(parents=True, exist_ok=True)
    with lock_path.open("w") as lock:
        try:
            # The process of the run holds it too: where only this one was killed, the run is not started twice.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return "another process is at it; left to that one"
        if run.state == "done":
            return "done before"
        recipe, text = run.folder / "recipe.yaml", yaml.safe_dump(run.settings, sort_keys=False)
        if run.folder.is_dir() and not (recipe.is_file() and recipe.read_text("utf-8") == text):
            shutil.rmtree(run.folder)  # stopped when the same data lay elsewhere: train.py would not go on with it
        run.folder.mkdir(exist_ok=True)
        recipe.write_text(text, "utf-8")
        # A checkpoint that was stopped while it was written has no state yet: train.py leaves it out, too.
        checkpoints = [path.parent.name for path in run.folder.glob("checkpoint-*/trainer_state.json")]
        last = max(checkpoints, key=lambda name: int(name.split("-")[1]), default=None)
        record = {
            "name": run.name,
            "recipe": run.recipe,
            "kind": run.kind,
            "seed": run.seed,
            "address": run.address,
            "code": code,
            "visits": run.visits,
            "resumed_from": last,
            "status": "running",
        }
        _write_record(run, record)
        command = [sys.executable, str(train_script), str(recipe)]
        command += ["--resume_from_checkpoint", "true"] if last else []
        started = time.monotonic()
        with (run.folder / "log.txt").open("ab") as log:
            start_of_log = log.tell()
            process = subprocess.Popen(command, stdout=log, stderr=log, pass_fds=[lock.fileno()])  # noqa: S603
            try:
                status = process.wait()
            except BaseException:  # stopped: the record stays "running"
                process.terminate()
                process.wait()
                raise
        record["seconds"] = round(time.monotonic() - started, 1)
        missing = [name for name in (METRICS_FILE, PREDICTIONS_FILE) if not (run.folder / name).is_file()]
        if status == 0 and not missing:
            for path in (path for pattern in WEIGHTS for path in run.folder.glob(pattern)):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            _write_record(run, record | {"status": "done"})
            return f"done in {record['seconds']:.0f} s" + (f", from {last} on" if last else "")
        if status < 0:
            record["error"] = f"killed by {signal.Signals(-status).name}"
        elif status == 0:
            record["error"] = f"train.py ended without {' and '.join(missing)}"
        else:
            lines = (run.folder / "log.txt").read_bytes()[start_of_log:].decode(errors="replace").split("\n")
            record["error"] = next((line.strip() for line in reversed(lines) if line.strip()), f"exit status {status}")
        _write_record(run, record | {"status": "failed"})
        return f"FAILED: {record['error']} (see {run.folder / 'log.txt'})"


def _write_record(run: Run, record: dict[str, Any]) -> None:
    """Write it whole or not at all: a half-written record would be taken for none."""
    path = run.folder / "cell.json"
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", "utf-8")
    draft.replace(path)


def seconds_per_visit(out: Path) -> dict[str, float]:
    """Seconds per visit of a training post that the finished runs took, on average: of each recipe and each kind."""
    seconds, visits = Counter(), Counter()
    for path in out.glob("cells/*/cell.json"):
        record = json.loads(path.read_text("utf-8"))
        if record["status"] == "done" and record["resumed_from"] is None:
            for key in (record["recipe"], record["kind"]):
                seconds[key] += record["seconds"]
                visits[key] += record["visits"]
    return {key: seconds[key] / visits[key] for key in seconds}


__all__ = [
    "Row",
    "Run",
    "code_version",
    "data_fingerprint",
    "do_run",
    "find_train_script",
    "load_script",
    "number_of_training_posts",
    "plan_rows",
    "plan_runs",
    "seconds_per_visit",
]
