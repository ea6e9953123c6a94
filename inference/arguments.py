"""Arguments of a prediction: what to read, what to look for, what to write. Free of torch, so that help is quick."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mmre.annotation.arguments import PictureArguments, RayArguments, check_option

DECISIONS = ("post", "pair")
EXPLAIN_METHODS = ("occlusion", "integrated_gradients", "attention")
TRIPLE_FORMATS = ("jsonl", "csv", "parquet", "nt", "ttl", "neo4j")
# Fields of posts and of triples that mean something.
RESERVED = (
    *("id", "text", "tokens", "head", "tail", "image", "relation", "grounded_regions", "detected_regions", "caption"),
    *("pairs", "entities", "score", "ruled_out", "fusion", "head_start", "head_end", "tail_start", "tail_end"),
    *("head_type", "tail_type"),
)
NEO4J_PROPERTIES = ("post", "model", "revision")
IRI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\x00-\x20<>\"{}|^`\\]*")


@dataclass(kw_only=True)
class DecisionArguments(PictureArguments):
    """Arguments of what is said about posts: those of the look at pictures, and how it is decided what they state."""

    decision: Literal["post", "pair"] = field(
        default="post",
        metadata={
            "help": "Decide once for all pairs of entities of a post, by their types and directions; or for each pair "
            "alone, as the model says."
        },
    )
    schema: str | None = field(
        default=None,
        metadata={
            "metavar": "FILE",
            "help": "JSON lines with the types and the symmetry of relations, as `mmre schema` writes; by default the "
            "types in names such as /per/loc/place_of_birth.",
        },
    )
    both_directions: bool = field(
        default=False,
        metadata={"help": "Keep a relation that a post states of A to B and of B to A, unless it is symmetric."},
    )
    min_score: float = field(default=0.0, metadata={"help": "Lowest score of a relation; those below are left out."})
    thresholds: str | None = field(
        default=None,
        metadata={
            "metavar": "FILE",
            "help": "Lowest score of each relation, a file of `mmre thresholds`; relations below are left out.",
        },
    )
    output_fusion: bool = field(
        default=False, metadata={"help": "Also say how text and picture were fused; in JSON alone."}
    )
    revision: str | None = field(default=None, metadata={"help": "Revision of MODEL on the Hub."})
    tasks: list[Literal["grounding", "detection", "captions"]] = field(
        default_factory=list, metadata={"help": "Find these in the pictures where the posts do not have them."}
    )

    def __post_init__(self):
        super().__post_init__()
        if not 0 <= self.min_score <= 1:
            raise ValueError(f"--min_score {self.min_score}; expected a number from 0 to 1")
        check_option("--decision", self.decision, DECISIONS)
        if self.decision == "pair" and (self.schema is not None or self.both_directions):
            name = "both_directions" if self.schema is None else "schema"
            raise ValueError(f"--{name}; --decision pair takes each pair as the model says, leave one of them out")


@dataclass(kw_only=True)
class PredictionArguments(RayArguments, DecisionArguments):
    """Arguments of a prediction: those of what is said about posts, of workers, and what is read and written."""

    out: str = field(metadata={"metavar": "FILE", "help": "The file to write."})
    format: Literal["jsonl", "csv", "parquet", "nt", "ttl", "neo4j"] | None = field(
        default=None,
        metadata={
            "help": "JSON lines, CSV, parquet, N-Triples, Turtle, or CSV that Neo4j imports, a second file with the "
            "nodes; the ending of --out by default."
        },
    )
    triples_per_file: int | None = field(
        default=None,
        metadata={"help": "Write a folder of files with so many triples each, --out is its name; one file by default."},
    )
    base_iri: str = field(
        default="http://example.org/",
        metadata={"metavar": "IRI", "help": "Graphs: beginning of the names of entities, relations, posts."},
    )
    link: str | None = field(
        default=None,
        metadata={
            "metavar": "FILE",
            "help": "Graphs: CSV with the columns name, identifier and, if need be, type; entities have these "
            "identifiers, for example Wikidata's.",
        },
    )
    explain: str | None = field(
        default=None,
        metadata={
            "metavar": "FOLDER",
            "help": "Also explain what the model says: a page of all posts in this new folder, errors first where "
            "posts have their true `relation`. Of the test posts of a run of mmre train: mmre explain.",
        },
    )
    explain_method: Literal["occlusion", "integrated_gradients", "attention"] = field(
        default="occlusion",
        metadata={
            "help": "Of --explain: take parts of the post away in turn (many runs of the model), gradients (needs "
            "mmre[explain]), or the model's own attention (one run, of the systems that have one)."
        },
    )
    relations: str | None = field(
        default=None,
        metadata={
            "help": "MODEL is a chat model, asked in words for these: a file with a relation on each line, and after a "
            "tab what it means, if need be."
        },
    )
    onnx: str | None = field(
        default=None,
        metadata={
            "metavar": "FILE",
            "help": "Compute with this program, exported from MODEL, by ONNX Runtime, on the CPU (needs mmre[onnx]).",
        },
    )
    image_dir: str | None = field(
        default=None,
        metadata={"metavar": "FOLDER", "help": "Folder that the paths of images start from, if not that of POSTS."},
    )
    picture_cache: str | None = field(
        default=None,
        metadata={
            "metavar": "FOLDER",
            "help": "Folder to keep decoded, scaled pictures in, for this run and others; results stay the same.",
        },
    )
    regions: str | None = field(
        default=None,
        metadata={"metavar": "FILE", "help": "Annotation file with the regions, in the order of the posts."},
    )
    captions: str | None = field(
        default=None,
        metadata={"metavar": "FILE", "help": "Annotation file with the captions, in the order of the posts."},
    )
    keep: list[str] = field(
        default_factory=list, metadata={"help": "Further fields of posts that are handed on to their triples."}
    )
    ignore_unknown: bool = field(
        default=False, metadata={"help": "Pass over further fields of posts, and name them in the report."}
    )

    def __post_init__(self):
        super().__post_init__()
        if self.format is None:
            self.format = Path(self.out).suffix.removeprefix(".").lower()
            if self.format not in TRIPLE_FORMATS or self.format == "neo4j":
                raise ValueError(
                    f"--out {self.out} does not end in one of {', '.join(TRIPLE_FORMATS[:-1])}; say which with --format"
                )
        check_option("--format", self.format, TRIPLE_FORMATS)
        if self.triples_per_file is not None and self.triples_per_file < 1:
            raise ValueError(f"--triples_per_file {self.triples_per_file}; expected at least 1")
        if self.picture_cache is not None and (self.tasks or self.relations is not None):
            raise ValueError(
                "--picture_cache keeps pictures at the size of MODEL; --tasks and --relations look at them in full: "
                "leave one out"
            )
        if not IRI.fullmatch(self.base_iri):
            raise ValueError(f"--base_iri {self.base_iri}; expected an IRI, as http://example.org/")
        taken = [name for name in self.keep if name in RESERVED]
        if taken:
            raise ValueError(f"--keep {taken[0]}: it has a meaning of its own; expected other fields of the posts")
        for name in self.keep if self.format == "neo4j" else ():
            if ":" in name or name in NEO4J_PROPERTIES:
                meaning = "what follows a colon is a type" if ":" in name else "there is a property of that name"
                raise ValueError(f"--keep {name}: {meaning} in Neo4j's import; expected another name, rename the field")
        if self.link is not None and self.format not in ("nt", "ttl", "neo4j"):
            raise ValueError(f"--link; the format {self.format} has no identifiers, expected nt, ttl or neo4j")
        if self.thresholds is not None and self.relations is not None:
            raise ValueError("--thresholds: they are of a trained model, not of a chat model; leave it out")
        if self.output_fusion and self.relations is not None:
            raise ValueError("--output_fusion: a chat model, asked for --relations, does not tell; leave it out")
        self._check_onnx()
        self.check_workers()
        if self.ray is not None and self.explain is not None:
            raise ValueError("--explain; workers of --ray explain nothing, leave one of them out")
        check_option("--explain_method", self.explain_method, EXPLAIN_METHODS)
        if self.explain is not None and self.relations is not None:
            raise ValueError("--explain: a chat model, asked for --relations, is not explained; leave it out")
        if self.output_fusion and self.format != "jsonl":
            raise ValueError(f"--output_fusion; the format {self.format} has no room for it, expected jsonl")

    def _check_onnx(self) -> None:
        if self.onnx is None:
            return
        if self.dtype != "auto":
            raise ValueError(
                f"--dtype {self.dtype}; the program of --onnx has a type of its own, leave one of them out"
            )
        others = {
            "relations": "asks a chat model in words, of which there is no program",
            "explain": "looks into MODEL, and a program gives its logits alone",
            "output_fusion": "looks into MODEL, and a program gives its logits alone",
        }
        for name, why in others.items():
            if getattr(self, name):
                raise ValueError(f"--{name} {why}; leave it or --onnx out")


__all__ = ["DecisionArguments", "PredictionArguments"]
