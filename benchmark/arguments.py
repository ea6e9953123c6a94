"""Arguments of a benchmark: which suite, on which posts, under which protocol, with which seeds."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from .suite import OWN_ARGUMENTS, Suite
from .suites import SUITES

ALL = "all"
SYSTEMS = "systems"
# The recipe that all systems can be trained by, of each data set that every machine can make.
SHARED_RECIPES = {"synthetic": "quickstart", "digits": "digits"}
PROTOCOLS = ("released", "detected", "label_free", "none")


@dataclass
class BenchmarkArguments:
    """The arguments of a benchmark.

    Args:
        suite: a name of `SUITES`, `"all"` of them, or `"systems"`.
        data: a folder of MNRE's files, `"synthetic"` or `"digits"`.
        seeds: a run of each cell for each.
        protocol: whose regions, of MNRE: `"released"` (the default; they leak the label), `"detected"` (the detected
            ones of these alone), `"label_free"` (those of `regions`), or `"none"`. Made posts have theirs,
            `"drawn"`.
        regions: the annotation file, with `"label_free"`.
        captions: of MNRE, the caption files of one source or of several; cells with captions are measured with each.
        config: recipes in place of the papers', at most one of each system; with `"systems"`, one that names no
            `model_type` is for all.
        systems: with `"systems"`, those to compare, see [`~mmre.benchmark.systems.systems_suite`].
        prompts: output folders of `mmre prompt` on the test posts, a row for each model in suites with chat models.
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
    systems: list[str] = field(default_factory=list)
    prompts: list[str] = field(default_factory=list)
    out: Path = Path("outputs/benchmark")
    train: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        self.out = Path(self.out)
        taken = sorted(OWN_ARGUMENTS & {*self.train})
        if taken:
            raise ValueError(
                f"--{taken[0]} is set for each run: see --data, --protocol, --regions, --captions, --seeds, --out"
            )
        if self.systems and self.suite != SYSTEMS:
            raise ValueError(f"--systems belongs to mmre benchmark {SYSTEMS}, not to {self.suite}")
        if self.prompts and not any(suite.has_chat_models for suite in self.suites.values()):
            known = ", ".join(name for name, suite in SUITES.items() if suite.has_chat_models)
            raise ValueError(f"--prompts: {self.suite} has no rows of chat models; expected {known} or {ALL}")
        if self.data in SHARED_RECIPES:
            for name in ("protocol", "regions", "captions"):
                if getattr(self, name):
                    raise ValueError(f"--{name}: {self.data} posts have their own regions and captions: leave it out")
            self.protocol = "drawn"
        else:
            self.protocol = self.protocol or PROTOCOLS[0]
            if (self.protocol == "label_free") != (self.regions is not None):
                raise ValueError("--protocol label_free and --regions FILE, an annotation file, belong together")
        if min(self.seeds, default=0) < 0:
            raise ValueError(f"--seeds: expected whole numbers, 0 or more, got {self.seeds}")
        if len({*self.seeds}) < len(self.seeds):
            raise ValueError(f"--seeds: each seed once, got {self.seeds}")

    @cached_property
    def suites(self) -> dict[str, Suite]:
        """Return the suites to measure, by name."""
        if self.suite == SYSTEMS:
            from .systems import systems_suite  # imports torch, which the help of the command does without

            return {SYSTEMS: systems_suite(self.systems)}
        return SUITES if self.suite == ALL else {self.suite: SUITES[self.suite]}

    @property
    def table_protocol(self) -> str:
        """Return the end of the names of the tables' files."""
        return f"{self.data}_{self.protocol}" if self.data == "digits" else self.protocol


def training_options() -> list[str]:
    """List the options of `mmre train`."""
    from mmre.training.settings import list_arguments  # imports torch, which the help of the command does without

    return [f"--{argument.name}" for argument in list_arguments()]


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


__all__ = [
    "ALL",
    "PROTOCOLS",
    "SHARED_RECIPES",
    "SYSTEMS",
    "BenchmarkArguments",
    "arguments_by_name",
    "training_options",
]
