"""Arguments of a benchmark: which suite, on which posts, under which protocol, with which seeds."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .suites import SUITES, Suite

ALL = "all"
PROTOCOLS = ("released", "label_free", "none")
# Set by a cell, by a seed, or by the fields of `BenchmarkArguments`.
OWN_ARGUMENTS = {"model_type", "dataset", "data_dir", "regions", "captions", "seed", "output_dir", "push_to_hub"}
OWN_ARGUMENTS |= {"resume_from_checkpoint", "do_train", "do_eval", "do_predict"}


@dataclass
class BenchmarkArguments:
    """The arguments of a benchmark.

    Args:
        suite: a name of `SUITES`, or `"all"`.
        data: a folder of MNRE's files, `"synthetic"`, or `"digits"`.
        seeds: a run of each cell for each.
        protocol: whose regions, of MNRE: `"released"` (the default; they leak the label), `"label_free"` (those of
            `regions`), or `"none"`. Made posts have theirs, `"drawn"`.
        regions: the annotation file, with `"label_free"`.
        captions: of MNRE, the caption files of one source or of several; cells with captions are measured with each.
        config: recipes in place of the papers', at most one of each system.
        out: the folder of the tables and of the runs.
        train: arguments of `mmre train` in each run, by name.

    Raises:
        ValueError: if arguments do not fit together.
    """

    suite: str
    data: str
    seeds: list[int] = field(default_factory=lambda: [1, 2, 3])
    protocol: str | None = None
    regions: str | None = None
    captions: list[list[str]] = field(default_factory=list)
    config: list[str] = field(default_factory=list)
    out: Path = Path("outputs/benchmark")
    train: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        from mmre.posts.sources import MADE_DATA  # here: help is shown without torch

        self.out = Path(self.out)
        taken = sorted(OWN_ARGUMENTS & {*self.train})
        if taken:
            raise ValueError(
                f"--{taken[0]} is set for each run: see --data, --protocol, --regions, --captions, --seeds, --out"
            )
        if self.data in MADE_DATA:
            for name in ("protocol", "regions", "captions"):
                if getattr(self, name):
                    raise ValueError(f"--{name}: {self.data} posts have their own regions and captions: leave it out")
            self.protocol = "drawn"
        else:
            self.protocol = self.protocol or PROTOCOLS[0]
            if (self.protocol == "label_free") != (self.regions is not None):
                raise ValueError("--protocol label_free and --regions FILE, an annotation file, belong together")
        if len({*self.seeds}) < len(self.seeds):
            raise ValueError(f"--seeds: each seed once, got {self.seeds}")

    @property
    def suites(self) -> dict[str, Suite]:
        """Return the suites to measure, by name."""
        return SUITES if self.suite == ALL else {self.suite: SUITES[self.suite]}


def arguments_by_name(words: list[str]) -> dict[str, Any]:
    """Read `--name value`, `--name=value`, `--name value value` and `--name` from words of a command line.

    Raises:
        ValueError: if a word belongs to no name.
    """
    found = {}
    name = None
    for word in words:
        if word.startswith("--"):
            name, is_given, value = word[2:].partition("=")
            found[name] = [value] if is_given else []
        elif name is None:
            raise ValueError(f"unexpected {word!r}; expected an argument of mmre train, as --name value")
        else:
            found[name].append(word)
    values = {name: given or "true" for name, given in found.items()}
    return {name: value[0] if len(value) == 1 else value for name, value in values.items()}


__all__ = ["ALL", "PROTOCOLS", "BenchmarkArguments", "arguments_by_name"]
