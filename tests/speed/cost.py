"""How many seconds of one processor 1,000 posts take in training and evaluation, of the systems of a benchmark.

    python tests/speed/cost.py outputs/benchmark            # the folder of `mmre benchmark --out`; or several

The times in a benchmark's own tables are those of a clock, and grow with whatever else a machine does. Here each system
is built anew from the configuration that its run has saved, with random weights, and all are timed in turns on the same
test posts of their data. Counted is the time that this process has a processor: reading of the posts, forward and
backward pass, clipping and optimizer in training; reading and forward pass in evaluation. Medians of the rounds.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import datasets
import torch
from transformers import AutoConfig, AutoModel, AutoProcessor
from transformers.utils import logging

from mmre.posts.collator import PostCollator
from mmre.posts.dependencies import with_dependencies
from mmre.training.settings import read_config, resolve
from mmre.training.splits import open_splits

EVALUATION_BATCH = 64


def find_runs(folders: list[Path]) -> dict[tuple[str, str, str], Path]:
    """Return one finished run of each system, by data, regions and name."""
    runs = {}
    for file in sorted(path for folder in folders for path in folder.glob("cells/*/metrics.json")):
        posts = json.loads(file.read_text("utf-8"))["posts"]
        cell = json.loads(file.with_name("cell.json").read_text("utf-8"))
        if not (posts["align_noise"] or posts["aug_noise"]):
            runs.setdefault((posts["dataset"], posts["regions"] or "none", cell["name"]), file.parent)
    return runs


class Timed:
    """A system with new weights, its optimizer, and the posts that it is timed on."""

    def __init__(self, folder: Path, num_posts: int, opened: dict[str, datasets.DatasetDict]):
        self.settings = resolve(read_config(str(folder / "recipe.yaml")), {"report_to": "none"})
        data = repr(self.settings.data)
        if data not in opened:
            posts = open_splits(self.settings.data, self.settings.training)["test"].shuffle(seed=0)
            opened[data] = datasets.DatasetDict(test=posts.select(range(min(num_posts, len(posts)))))
        posts = opened[data]
        processor = AutoProcessor.from_pretrained(folder)
        if "structure" in processor.inputs:
            posts = with_dependencies(posts, processor.spacy_model)
        self.rows, self.collator = posts["test"].to_list(), PostCollator(processor)
        self.model = AutoModel.from_config(AutoConfig.from_pretrained(folder))
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4, fused=True)
        self.seconds = {"training": [], "evaluation": []}
        self.precision = torch.autocast("cpu", torch.bfloat16, enabled=self.settings.training.bf16)

    def batches(self, size: int):
        """Read the posts, batch by batch."""
        return (self.collator(self.rows[start : start + size]) for start in range(0, len(self.rows), size))

    def train(self) -> None:
        """Train on all posts once."""
        self.model.train()
        for batch in self.batches(self.settings.training.per_device_train_batch_size):
            self.optimizer.zero_grad()
            with self.precision:
                loss = self.model(**batch).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()

    @torch.inference_mode()
    def evaluate(self) -> None:
        """Predict all posts once."""
        self.model.eval()
        for batch in self.batches(EVALUATION_BATCH):
            with self.precision:
                self.model(**batch)

    def time(self) -> None:
        """Note the seconds of both per 1,000 posts."""
        for name, work in (("training", self.train), ("evaluation", self.evaluate)):
            start = time.process_time()
            work()
            self.seconds[name].append(1000 * (time.process_time() - start) / len(self.rows))


def main() -> None:
    """Print a table, a row for each system."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--data", choices=["synthetic", "digits", "mnre"], help="only of these posts")
    parser.add_argument("--posts", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    datasets.disable_progress_bars()
    logging.disable_progress_bar()
    runs = {key: path for key, path in find_runs(args.folders).items() if args.data in (None, key[0])}
    if not runs:
        parser.error(
            f"no finished run in {', '.join(map(str, args.folders))}: give the folder of `mmre benchmark --out`"
        )
    opened = {}
    systems = {key: Timed(path, args.posts, opened) for key, path in runs.items()}
    for system in systems.values():  # warm up
        system.train()
        system.evaluate()
    for _ in range(args.rounds):
        for system in systems.values():
            system.time()
    print("| data | regions | system | parameters | training, s per 1,000 posts | evaluation, s per 1,000 posts |")
    print("|---|---|---|--:|--:|--:|")
    for key, system in sorted(systems.items()):
        size = sum(parameter.numel() for parameter in system.model.parameters())
        medians = (f"{statistics.median(seconds):.1f}" for seconds in system.seconds.values())
        print(f"| {' | '.join(key)} | {size:,} | {' | '.join(medians)} |")


if __name__ == "__main__":
    main()
