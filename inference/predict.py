"""Relations of raw posts, as triples: the command `mmre-predict`.

All posts are checked before a model is loaded. Then they are read a second time, a batch at once, and what is found is
appended to `FILE.part`, so that a killed run goes on where it was, with the same batches and therefore the same
numbers. At the end that becomes FILE: JSON lines, CSV or N-Triples.
"""

import csv
import hashlib
import html
import json
import os
import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice, permutations
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import quote

import transformers
from PIL import Image
from transformers import HfArgumentParser, pipeline
from transformers.utils import logging

from mmre.annotation.annotator import Annotator, naming, picture_settings, read_image
from mmre.annotation.arguments import PictureArguments
from mmre.annotation.keywords import find_keywords
from mmre.annotation.unfinished import append_line, only_run, read_batches
from mmre.modeling import MODELS
from mmre.posts.annotation_file import check_annotation_file, read_annotation_rows
from mmre.posts.checks import NAMES_IN_REPORT, Problems, show
from mmre.posts.row_checks import Check, check_columns, check_entity, check_regions_have_image, check_text, checker
from mmre.posts.row_readers import JSON_FIELDS, SPAN_COLUMNS, check_file, read_csv, read_json_lines
from mmre.posts.schema import NEGATIVE_RELATION, REGION_COLUMNS
from mmre.posts.words import Span, join_words
from mmre.processing import find_entities, load_spacy
from mmre.processing.pipeline_relation_extraction import TASK

logger = logging.get_logger(__name__)

PREDICTION_VERSION = 1
FORMATS = ("jsonl", "csv", "nt")
PREDICTION_FIELDS = (*JSON_FIELDS, "pairs", "entities")
SCORE_DECIMALS = 6
GATE_DECIMALS = 4

RDFS_LABEL = "http://www.w3.org/2000/01/rdf-schema#label"
IRI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\x00-\x20<>\"{}|^`\\]*")


@dataclass(kw_only=True)
class PredictionArguments(PictureArguments):
    """What to read, what to look for, and what to write."""

    out: str = field(metadata={"help": "The file to write."})
    format: str | None = field(
        default=None, metadata={"help": "jsonl, csv or nt (N-Triples); by default what the name of the file ends in."}
    )
    min_score: float = field(default=0.0, metadata={"help": "Relations with a lower score are left out."})
    base_iri: str = field(
        default="http://example.org/",
        metadata={"help": "N-Triples: what the names of entities and relations begin with."},
    )
    output_fusion: bool = field(
        default=False, metadata={"help": "JSON lines: also write the gates, how text and picture were fused."}
    )
    revision: str | None = field(default=None, metadata={"help": "Revision of MODEL on the Hub."})
    image_dir: str | None = field(
        default=None, metadata={"help": "Folder that the paths of images start from, if not that of POSTS."}
    )
    regions: str | None = field(
        default=None, metadata={"help": "Annotation file with the regions, in the order of the posts."}
    )
    captions: str | None = field(
        default=None, metadata={"help": "Annotation file with the captions, in the order of the posts."}
    )
    tasks: list[str] = field(
        default_factory=list,
        metadata={"help": "What to find where the posts do not have it: grounding, detection, captions."},
    )

    def __post_init__(self):
        super().__post_init__()
        if self.format is None:
            self.format = Path(self.out).suffix.removeprefix(".").lower()
        if self.format not in FORMATS:
            raise ValueError(f"--out {self.out} does not end in one of {', '.join(FORMATS)}; say which with --format")
        if not 0 <= self.min_score <= 1:
            raise ValueError(f"--min_score {self.min_score}; expected a number from 0 to 1")
        if not IRI.fullmatch(self.base_iri):
            raise ValueError(f"--base_iri {self.base_iri}; expected an IRI, as http://example.org/")
        if self.output_fusion and self.format != "jsonl":
            raise ValueError(f"--output_fusion; the format {self.format} has no room for gates, expected jsonl")


def read_posts(posts: str, args: PredictionArguments, problems: Problems) -> Iterator[dict]:
    """Read posts one by one, and check them.

    Args:
        posts: a file of JSON lines or CSV, or a folder of texts and images.
        args: where annotation files are.
        problems: gets what is wrong with the posts.

    Yields:
        The good posts: `id`, `text`, `pairs` (of spans; None if the entities have
        to be found), `image` (a path), `grounded_regions`, `detected_regions` and `caption` (None if not given).
    """
    is_folder = os.path.isdir(posts)
    is_csv = not is_folder and Path(posts).suffix.lower() == ".csv"
    if is_folder:
        rows = read_folder(posts, problems)
    elif is_csv:
        rows = read_csv(posts, problems, needed=("text",))
    else:
        rows = read_json_lines(posts, problems, fields=PREDICTION_FIELDS)
    annotations = []
    if args.regions is not None:
        annotations.append(AnnotationRows(args.regions, REGION_COLUMNS))
    if args.captions is not None:
        annotations.append(AnnotationRows(args.captions, ("caption",)))
    for number, (where, row) in enumerate(rows):
        if row is None:
            continue
        key = row.get("id") or f"{Path(posts).stem}-{number}"
        for annotation in annotations:
            row |= annotation.find(key, posts, where, problems)
        post = check_row(row, posts, where, problems, is_csv)
        if post is not None:
            yield {"id": key} | post


def read_folder(folder: str, problems: Problems) -> Iterator[tuple[str, dict | None]]:
    """Where each text of a folder stands, and the post it makes with the image beside it."""
    opened = {ending for ending, name in Image.registered_extensions().items() if name in Image.OPEN}
    images = defaultdict(list)
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if entry.is_file() and not entry.name.startswith("."))
    texts = {Path(name).stem for name in names if Path(name).suffix.lower() == ".txt"}
    for name in names:
        if Path(name).suffix.lower() in opened:
            images[Path(name).stem].append(name)
            if Path(name).stem not in texts:
                expected = f"{Path(name).stem}.txt beside it"
                problems.add(folder, os.path.join(folder, name), "text", "nothing", expected)
    if not texts:
        problems.add(folder, folder, "content", "no texts", "a.txt beside a.jpg for each post")
    for name in (name for name in names if Path(name).suffix.lower() == ".txt"):
        where, stem = os.path.join(folder, name), Path(name).stem
        if len(images[stem]) > 1:
            problems.add(folder, where, "image", ", ".join(images[stem]), "one image of this name")
        try:
            text = Path(where).read_bytes().decode("utf-8-sig").strip()
        except UnicodeDecodeError as error:
            problems.add(folder, where, "text", str(error), "text in UTF-8")
            continue
        yield where, {"id": stem, "text": text, "image": next(iter(images[stem]), None)}


class AnnotationRows:
    """The rows of an annotation file, asked for in their order, so that none has to be kept.

    Args:
        path: of the file.
        columns: what to take from it.
    """

    def __init__(self, path: str, columns: Iterable[str]):
        self.path, self.columns = path, columns
        self.rows, self.row, self.is_lost = read_annotation_rows(path), {}, False

    def find(self, key: str, file: str, where: str, problems: Problems) -> dict:
        """The columns of the post with this id, empty if there is no row for it."""
        while not self.is_lost and self.row.get("id") != key:
            _, row = next(self.rows, (None, None))
            self.is_lost = row is None
            self.row = row if isinstance(row, dict) else {}
            if self.is_lost:
                expected = f"a row for it in {self.path}, after those of the posts before it"
                problems.add(file, where, "id", show(key), expected)
        return {column: self.row[column] for column in self.columns if column in self.row}


def check_row(row: dict, file: str, where: str, problems: Problems, is_csv: bool) -> dict | None:
    """A post as `read_posts` gives it, without its id; None if it is bad."""
    faults = Problems()
    check = checker(file, where, faults)
    words, unit = check_text(row, check)
    pairs = check_pairs(row, words, unit, check, is_csv)
    columns = check_columns(row, check)
    if row.get("image") is None:
        check_regions_have_image(columns, file, where, faults)
    if faults.lines:
        for place, lines in faults.lines.items():
            problems.lines[place] += lines
        return None
    # Regions that were not given may be looked for; an empty list says that there are none.
    found = {column: None if row.get(column) is None else columns[column] for column in REGION_COLUMNS}
    if unit == "words":
        given = [] if pairs is None else [span for pair in pairs for span in pair]
        words, spans = join_words(words, given)
        pairs = pairs and list(zip(spans[::2], spans[1::2]))
    return {"text": words} | {"pairs": pairs, "image": columns["image"], "caption": columns["caption"]} | found


def check_pairs(
    row: dict, words: str | list[str] | None, unit: str, check: Check, is_csv: bool
) -> list[tuple[Span | None, Span | None]] | None:
    """The pairs of entities that a row gives; None if it gives none."""
    spans = {name: None if is_csv and row[name] == [None, None] else row.get(name) for name in SPAN_COLUMNS}
    pairs, entities = row.get("pairs"), row.get("entities")
    given = [name for name in ("pairs", "entities") if row.get(name) is not None]
    given += ["head, tail"] if any(span is not None for span in spans.values()) else []
    if len(given) > 1:
        check(False, "; ".join(given), [row.get(name) for name in given], "one of them")
    elif pairs is not None:
        good = isinstance(pairs, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in pairs)
        check(good, "pairs", pairs, "a list of pairs [head, tail]")
        return [
            tuple(check_entity(span, name, f"pairs[{number}]", words, unit, check) for name, span in zip(spans, pair))
            for number, pair in enumerate(pairs if good else ())
        ]
    elif entities is not None:
        good = check(isinstance(entities, list), "entities", entities, "a list of spans")
        checked = [
            check_entity(span, "entity", f"entities[{number}]", words, unit, check)
            for number, span in enumerate(entities if good else ())
        ]
        return list(permutations(checked, 2))
    elif given:
        fields = SPAN_COLUMNS if is_csv else {name: (name,) for name in spans}
        return [
            tuple(check_entity(span, name, ", ".join(fields[name]), words, unit, check) for name, span in spans.items())
        ]
    return None


@dataclass
class Survey:
    """What a first look at all posts tells."""

    count: int = 0
    has_all_entities: bool = True
    fingerprint: str = ""


def survey_posts(posts: str, args: PredictionArguments) -> Survey:
    """Check all posts, and count them.

    Args:
        posts: a file of JSON lines or CSV, or a folder of texts and images.
        args: where images and annotation files are.

    Returns:
        The number of posts, whether all come with their entities, and the SHA-256 of all that they hold.

    Raises:
        FileNotFoundError: there is no such file or folder.
        ValueError: the posts are bad; one report names the bad places.
    """
    if not os.path.isdir(posts):
        check_file(posts)
    if args.image_dir is not None and not os.path.isdir(args.image_dir):
        raise FileNotFoundError(f"{args.image_dir} is not a folder")
    for path in {args.regions, args.captions} - {None}:
        check_annotation_file(path)
    problems, survey, fingerprint = Problems(), Survey(), hashlib.sha256()
    for post in read_posts(posts, args, problems):
        survey.count += 1
        survey.has_all_entities &= post["pairs"] is not None
        fingerprint.update(json.dumps(post).encode())
    if not survey.count and not problems.lines:
        problems.add(posts, posts, "content", "no posts", "at least one")
    if problems.lines:
        raise ValueError(problems.report())
    survey.fingerprint = fingerprint.hexdigest()
    return survey


class Predictor:
    """Finds the relations of posts, batch by batch.

    Args:
        extract: the pipeline.
        args: where the images are, what to look for in them.
        settings: of the models that do, from [`picture_settings`].
        nlp: a spaCy model, if posts come without entities or regions are grounded.
        folder: that paths of images start from.
    """

    def __init__(self, extract: Callable, args: PredictionArguments, settings: dict, nlp: Any, folder: str):
        self.extract, self.args, self.nlp, self.folder = extract, args, nlp, folder
        self.annotator = Annotator(args, settings, nlp, extract.device)

    def __call__(self, posts: list[dict], pool: ThreadPoolExecutor) -> list[dict]:
        """Predict the relations of a batch of posts.

        Args:
            posts: from [`read_posts`].
            pool: where images are decoded.

        Returns:
            For each post its `id`, and its `relations` (a list of `head`, `tail`, `label` and `score`, one for each
            pair of entities) or the `error` for which there are none.
        """
        try:
            return self._predict(posts, pool)
        except ValueError as error:  # spaCy refuses huge texts, Grounding DINO pictures of hardly any height, ...
            if len(posts) > 1:
                return [row for post in posts for row in self([post], pool)]
            logger.warning(f"No relations of {posts[0]['id']!r}: {error}")
            return [{"id": posts[0]["id"], "error": f"the models do not take the post or its picture: {error}"}]

    def _predict(self, posts: list[dict], pool: ThreadPoolExecutor) -> list[dict]:
        errors, posts = {}, [dict(post) for post in posts]
        for post in posts:
            if post["pairs"] is None:
                entities = [(entity["start"], entity["end"]) for entity in find_entities(self.nlp, post["text"])]
                post["pairs"] = list(permutations(entities, 2))
        # A post without a pair asks for nothing: what its picture shows does not matter.
        asked = [index for index, post in enumerate(posts) if post["pairs"]]
        paths = dict.fromkeys(posts[index]["image"] for index in asked if posts[index]["image"] is not None)
        files = [{"bytes": None, "path": os.path.join(self.folder, path)} for path in paths]
        images = dict(zip(paths, pool.map(read_image, files)))
        for index in asked:
            image, reason = images.get(posts[index]["image"], (None, None))
            if reason is not None:
                errors[index] = f"image {posts[index]['image']}: {reason}"
        asked = [index for index in asked if index not in errors]
        self._look_at_pictures([posts[index] for index in asked], {path: image for path, (image, _) in images.items()})
        for index in asked:
            posts[index]["image"] = images.get(posts[index]["image"], (None, None))[0]
        self.extract.call_count = 0  # it warns of being called post by post; this calls it batch by batch
        options = {"batch_size": self.args.batch_size, "output_fusion": self.args.output_fusion}
        results = dict(zip(asked, tidy(self.extract([posts[index] for index in asked], **options))))
        rows = []
        for index, post in enumerate(posts):
            result = errors.get(index, results.get(index, []))
            rows.append({"id": post["id"], "error" if isinstance(result, str) else "relations": result})
        return rows

    def _look_at_pictures(self, posts: list[dict], images: dict[str, Image.Image]) -> None:
        """Add the regions and captions that posts do not have; a picture of several posts is looked at once."""

        def without(column: str) -> list[dict]:
            return [post for post in posts if post["image"] is not None and post[column] is None]

        models = {"detected_regions": self.annotator.detector, "caption": self.annotator.captioner}
        for column, model in models.items():
            wanted = without(column) if model else []
            paths = list(dict.fromkeys(post["image"] for post in wanted))
            found = dict(zip(paths, model([images[path] for path in paths]) if paths else ()))
            for post in wanted:
                post[column] = found[post["image"]]
        if self.annotator.grounder:
            wanted = without("grounded_regions")
            keywords = [find_keywords(self.nlp, *text_and_names(post)) for post in wanted]
            pictures = [images[post["image"]] for post in wanted]
            for post, boxes in zip(wanted, self.annotator.grounder(pictures, keywords, self.args.batch_size)):
                post["grounded_regions"] = boxes


def text_and_names(post: dict) -> tuple[str, list[str]]:
    """The text of a post, and the names of its entities."""
    spans = dict.fromkeys(span for pair in post["pairs"] for span in pair)
    return post["text"], [post["text"][start:end] for start, end in spans]


def tidy(value: Any, decimals: int = GATE_DECIMALS) -> Any:
    """A result with its numbers rounded to what they are worth."""
    if isinstance(value, dict):
        return {name: tidy(inner, SCORE_DECIMALS if name == "score" else decimals) for name, inner in value.items()}
    if isinstance(value, list):
        return [tidy(inner, decimals) for inner in value]
    return round(value, decimals) if isinstance(value, float) else value


def predict(model: str, posts: str, args: PredictionArguments) -> None:
    """Write the triples of posts, or go on writing them.

    Args:
        model: folder of a model, or its name on the Hub.
        posts: a file of JSON lines or CSV, or a folder of texts and images.
        args: what to look for and what to write.

    Raises:
        AnnotationFileError: an unfinished file is there and was made with other settings or of other posts, or another
            run is writing it.
        ImportError: spaCy is needed and not installed.
        OSError: a model or a file is not there, or the output is there already.
        ValueError: the posts are bad; one report names the bad places. Or the model reads no captions.
    """
    with only_run(args.out):
        _predict(model, posts, args)


def _predict(model: str, posts: str, args: PredictionArguments) -> None:
    out, part = Path(args.out), Path(f"{args.out}.part")
    if out.exists() and not part.exists():
        raise FileExistsError(f"{out} is there already; give another --out, or delete it")
    survey = survey_posts(posts, args)
    needs_spacy = "grounding" in args.tasks or not survey.has_all_entities
    nlp = load_spacy(args.spacy_model) if needs_spacy else None
    with naming(f"MODEL {model}"):
        extract = pipeline(TASK, model=model, revision=args.revision, dtype=args.dtype)
    if extract.model.config.model_type not in MODELS:
        kind = extract.model.config.model_type
        raise ValueError(f"MODEL {model} is a {kind!r}, which extracts no relations; expected {' or '.join(MODELS)}")
    if ("captions" in args.tasks or args.captions) and not reads_captions(extract.processor):
        raise ValueError(f"captions: {model} reads none ({type(extract.model).__name__})")
    settings = picture_settings(args, nlp)
    header = {
        "mmre_predictions": PREDICTION_VERSION,
        "posts": survey.count,
        "posts_sha256": survey.fingerprint,
        "model": model,
        "revision": getattr(extract.model.config, "_commit_hash", None) or args.revision,
        "transformers": transformers.__version__,
        "batch_size": args.batch_size,
        "dtype": args.dtype,
        "output_fusion": args.output_fusion,
        "spacy": {"model": args.spacy_model, "version": nlp.meta["version"]} if nlp else None,
        **settings,
    }
    done = end = 0
    if part.exists():
        for number, _, end in read_batches(part, header):  # noqa: B007, the last one counts
            done = 0 if number is None else number + 1
    folder = args.image_dir or (posts if os.path.isdir(posts) else os.path.dirname(posts))
    predictor = Predictor(extract, args, settings, nlp, folder)
    start, initial = time.perf_counter(), min(done * args.batch_size, survey.count)
    bar = logging.tqdm(total=survey.count, initial=initial, desc="Predicting", unit="post")
    with open(part, "ab") as file, ThreadPoolExecutor() as pool, bar:
        file.truncate(end)
        if not end:
            append_line(file, header)
        for number, batch in enumerate(batches(posts, args)):
            if number >= done:
                append_line(file, {"batch": number, "rows": predictor(batch, pool)})
                bar.update(len(batch))
    seconds = time.perf_counter() - start
    report = write_triples(part, header, args)
    part.unlink()
    print(report)
    if survey.count > initial:
        print(f"{survey.count - initial} posts in {seconds:.1f} s, {(survey.count - initial) / seconds:.1f} a second")


def reads_captions(processor: Any) -> bool:
    return "caption" in processor.inputs


def batches(posts: str, args: PredictionArguments) -> Iterator[list[dict]]:
    problems = Problems()
    stream = read_posts(posts, args, problems)
    while batch := list(islice(stream, args.batch_size)):
        yield batch
    if problems.lines:
        raise ValueError(f"{posts} was changed while it was read. {problems.report()}")


def write_triples(part: Path, header: dict, args: PredictionArguments) -> str:
    """Turn an unfinished file into the output, and the posts that failed into a file beside it.

    Args:
        part: the unfinished file, with all batches in it.
        header: its header.
        args: name and format of the output, and the lowest score.

    Returns:
        What there was, in a few lines.
    """
    out = Path(args.out)
    failed = Path(f"{out}.errors.jsonl")
    unfinished, unfinished_failed = Path(f"{out}.unfinished"), Path(f"{failed}.unfinished")
    counts, named = Counter(), []
    with open(unfinished_failed, "w", encoding="utf-8", newline="\n") as errors:

        def triples() -> Iterator[dict]:
            for _, rows, _ in read_batches(part, header):
                for row in rows:
                    if "error" in row:
                        counts["failed"] += 1
                        named.extend([f"{row['id']} ({row['error']})"] if len(named) < NAMES_IN_REPORT else ())
                        errors.write(json.dumps(row, ensure_ascii=False) + "\n")
                        continue
                    counts["without"] += not row["relations"]
                    for found in row["relations"]:
                        if found["label"] == NEGATIVE_RELATION:
                            counts["none"] += 1
                        elif found["score"] < args.min_score:
                            counts["low"] += 1
                        else:
                            counts["triples"] += 1
                            yield {"id": row["id"], **found}

        with open(unfinished, "w", encoding="utf-8", newline="") as file:
            if args.format == "nt":
                file.writelines(line for triple in triples() for line in ntriples(triple, args.base_iri))
            else:
                {"jsonl": write_jsonl, "csv": write_csv}[args.format](triples(), file)
            file.flush()
            os.fsync(file.fileno())
    if counts["failed"]:
        os.replace(unfinished_failed, failed)
    else:
        unfinished_failed.unlink()
        failed.unlink(missing_ok=True)  # of an output that was deleted
    os.replace(unfinished, out)
    report = [f"{out}: {counts['triples']} triples of {header['posts']} posts"]
    report.append(
        f"left out: {counts['none']} pairs of entities without a relation, {counts['low']} relations with a score "
        f"below {args.min_score:g}; {counts['without']} posts have no pair of entities"
    )
    if counts["failed"]:
        more = counts["failed"] - len(named)
        named.extend([f"and {more} more"] if more else ())
        report.append(f"failed: {counts['failed']} posts, all of them in {failed}: {', '.join(named)}")
    return "\n".join(report)


def write_jsonl(triples: Iterable[dict], file: TextIO) -> None:
    for triple in triples:
        line = {name: triple[name] for name in ("id", "head")} | {"relation": triple["label"]}
        line |= {name: triple[name] for name in ("tail", "score", "fusion") if name in triple}
        file.write(json.dumps(line, ensure_ascii=False) + "\n")


def write_csv(triples: Iterable[dict], file: TextIO) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["id", "head", "relation", "tail", "score"])
    for triple in triples:
        head, tail = graph_name(triple["head"]), graph_name(triple["tail"])
        writer.writerow([triple["id"], head, triple["label"], tail, triple["score"]])


def graph_name(entity: dict) -> str:
    """What an entity is called in a knowledge graph: without line breaks and HTML's `&amp;`."""
    return " ".join(html.unescape(entity["text"]).split())


def ntriples(triple: dict, base_iri: str) -> list[str]:
    """Say a triple in N-Triples.

    Args:
        triple: `head` and `tail` with their `text`, and the `label` of the relation.
        base_iri: what the names begin with.

    Returns:
        Three lines: the relation between `{base_iri}entity/...` and another such name, by `{base_iri}relation/...`; and
        the `rdfs:label` of both entities.
    """
    names = [graph_name(triple[entity]) for entity in ("head", "tail")]
    head, tail = (f"<{base_iri}entity/{quote(name, safe='')}>" for name in names)
    relation = f"<{base_iri}relation/{quote(triple['label'].removeprefix('/'), safe='/')}>"
    labels = [f"{node} <{RDFS_LABEL}> {literal(name)} .\n" for node, name in zip((head, tail), names)]
    return [f"{head} {relation} {tail} .\n", *labels]


def literal(text: str) -> str:
    """A string of N-Triples (W3C, section 2.4)."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return '"' + re.sub("[\x00-\x1f\x7f]", lambda match: f"\\u{ord(match[0]):04X}", escaped) + '"'


def main() -> None:
    """The command `mmre-predict`."""
    parser = HfArgumentParser(
        PredictionArguments, prog="mmre-predict", description=__doc__.split("\n\n")[0], allow_abbrev=False
    )
    parser.add_argument("model", help="folder of a model, or its name on the Hub")
    parser.add_argument("posts", help="posts: .jsonl, .csv, or a folder with a.txt beside a.jpg")
    try:
        args, positional = parser.parse_args_into_dataclasses()
        predict(positional.model, positional.posts, args)
    except (ValueError, ImportError, OSError) as error:
        parser.exit(1, f"{parser.prog}: error: {error}\n")


if __name__ == "__main__":
    main()
