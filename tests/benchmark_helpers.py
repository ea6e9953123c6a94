"""What tests of the benchmark share: a suite of two cells, a training that is there at once, and files of MNRE."""

import json
from pathlib import Path

from mmre.benchmark.arguments import BenchmarkArguments
from mmre.benchmark.plan import Row, plan_rows, read_recipes
from mmre.benchmark.suite import Cell, Suite

TINY = Path(__file__).with_name("tiny_training.yaml")
RELATIONS = ["None", "couple", "peer"]

# In place of a training: known figures at once, or a failure.
FAKE = """
import json, pathlib, sys
import yaml
recipe = yaml.safe_load(open(sys.argv[1]))
seed, folder = recipe["training"]["seed"], pathlib.Path(recipe["training"]["output_dir"])
with open({folder!r} + "/started", "a") as file:
    print(" ".join(sys.argv[2:]) or "anew", file=file)
if recipe["model"].get("use_gate") is False and seed == 2:
    raise SystemExit("CUDA out of memory")
known = json.load(open({folder!r} + "/known.json"))
scores = dict.fromkeys(["accuracy", "precision", "recall", "f1"], known["f1"][seed - 1])
per_relation = {{name: scores | {{"support": n}} for name, n in known["support"].items()}}
posts = {{"samples": {{"test": len(known["gold"])}}, "samples_without_image": {{"test": 0}}, "images": "used"}}
cost = {{"parameters": 1000, "trained_parameters": 900, "peak_memory": 2**20, "device": "CPU, 1 thread"}}
cost |= {{"train_seconds_per_post": 0.25, "test_seconds_per_post": None}}
metrics = {{"posts": posts, "test": scores | {{"per_relation": per_relation}}, "cost": cost}}
(folder / "metrics.json").write_text(json.dumps(metrics))
(folder / "model.safetensors").touch()
with open(folder / "predictions.jsonl", "w") as file:
    for index, (gold, predicted) in enumerate(zip(known["gold"], known["predicted"][seed - 1])):
        line = {{"id": str(index), "gold": gold, "predicted": predicted, "probabilities": known["support"]}}
        print(json.dumps(line), file=file)
"""

ABLATION = Suite(
    title="an ablation",
    source="A paper, Table 9",
    cells=(
        Cell("whole", "focalmre", {}, (80.0, 60.0, 68.57)),
        Cell("w/o gate", "focalmre", {"use_gate": False}),
    ),
)
WHOLE = ABLATION._replace(cells=ABLATION.cells[:1])
# One that reads text alone, one that reads pictures, and one that reads captions too.
THREE = Suite(
    title="three systems",
    cells=(
        Cell("text only", "mtb", recipe="text_only_mnre"),
        Cell("FocalMRE", "focalmre"),
        Cell("TGDI", "tgdi"),
    ),
)


def table(tmp_path: Path, name: str = "tiny_drawn") -> dict:
    """Return a table that was written to `out`."""
    return json.loads((tmp_path / f"out/{name}.json").read_text("utf-8"))


def plan(suite: str | Suite, data: str | Path = "synthetic", **options) -> dict[str, Row]:
    """Return the rows of a suite by name, with one seed."""
    args = BenchmarkArguments(suite if isinstance(suite, str) else None, str(data), seeds=[1], **options)
    recipes = read_recipes(args.config, suite == "systems")
    suite = args.suites[suite] if isinstance(suite, str) else suite
    return {row.name: row for row in plan_rows(suite, args, recipes)}


def captions(folder: Path, source: str = "blip2") -> list[str]:
    """Return caption files of the fixture `mnre`."""
    return [str(folder / f"{source}_{split}.txt") for split in ("train", "val", "test")]
