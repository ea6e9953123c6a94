"""One run of a prediction: raw posts, batch by batch, to triples.

All posts are checked before a model is loaded. Then they are read a second time, some batches at once, in which posts
of one picture stand together. What is found is appended to `OUT.part`, so that a killed run goes on where it was, with
the same batches and therefore the same numbers. At the end that becomes OUT, in the order of the posts: JSON lines, CSV
or a graph.
"""

import os
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path

import transformers
from transformers import Pipeline
from transformers.utils import logging

from mmre.annotation.annotator import picture_settings
from mmre.annotation.model_files import files_fingerprint
from mmre.annotation.ray_workers import check_cluster, work_on_ray
from mmre.annotation.unfinished import append_line, read_batches
from mmre.evaluation.output_lock import only_writer
from mmre.evaluation.thresholds import check_model, read_thresholds
from mmre.posts.checks import Problems, some
from mmre.posts.picture_order import together
from mmre.posts.post_files import ADDRESS, name_of_posts, shown_address
from mmre.posts.schema import NEGATIVE_RELATION
from mmre.processing import load_spacy
from mmre.processing.picture_cache import PictureCache

from .arguments import DecisionArguments, PredictionArguments
from .cards import CardMaker
from .entity_links import read_links
from .error_page import PAGE_FILE, write_error_page
from .in_context import InContextRelationClassifier
from .loading import load_pipeline
from .neo4j import nodes_path
from .onnx_programs import program_fingerprint, use_program
from .predictor import Predictor
from .raw_posts import Survey, read_raw_posts, survey_raw_posts
from .rdf import RDF_FORMATS, load_rdflib
from .relation_lists import read_relations
from .relation_schema import RelationSchema, read_schema
from .triples import PredictionReport, errors_path, in_order, write_triples

PREDICTION_VERSION = 3
# So many are in memory together, and are ordered among themselves.
BATCHES_AT_ONCE = 8
NEVER_SAW_NONE = (
    f"warning: no pair of this model's training had the relation {NEGATIVE_RELATION}, so that it names one for almost "
    "every pair of entities that is found; train it with posts whose entities are not related"
)
# Each task, and each annotation file: which input of a model it gives, and that input's plural.
TASK_INPUTS = {"grounding": "regions", "detection": "regions", "captions": "caption"}
FILE_INPUTS = {"regions": "regions", "captions": "caption"}
PLURALS = {"regions": "regions", "caption": "captions"}


def predict(model: str, posts: str, args: PredictionArguments) -> PredictionReport:
    """Write the triples of posts, or go on writing them.

    Args:
        model: folder of a model or of a LoRA adapter, or its name on the Hub; of a chat model with `args.relations`.
        posts: a file of JSON lines, CSV or parquet, a folder of such files of one kind, or an address of either; or a
            folder of texts and images.
        args: what to look for and what to write.

    Returns:
        What was written and how fast, in a few lines; and how many of the posts failed.

    Raises:
        OutputFileError: an unfinished file is there and was made with other settings or of other posts.
        ImportError: spaCy or ONNX Runtime is needed and not installed.
        OSError: a model or a file is not there, or the output is there already.
        ValueError: another run is writing the output. Or the posts are bad; one report names the bad places. Or the
            model is none for relations, or does not read what is to be found.
    """
    beside = [errors_path(args.out)] + ([nodes_path(args.out)] if args.format == "neo4j" else [])
    with only_writer(args.out, *beside):
        return _predict(model, posts, args)


def _predict(model: str, posts: str, args: PredictionArguments) -> PredictionReport:
    out, part = Path(args.out), Path(f"{args.out}.part")
    if out.exists() and not part.exists():
        raise FileExistsError(f"{out} is there already; give another --out, or delete it")
    page = None if args.explain is None else Path(args.explain) / PAGE_FILE
    if page is not None and page.exists() and not part.exists():
        raise FileExistsError(f"{page} is there already; give another --explain, or delete it")
    check_graph(args)
    thresholds = None if args.thresholds is None else read_thresholds(args.thresholds)
    survey = survey_raw_posts(posts, args)
    needs_spacy = "grounding" in args.tasks or not survey.has_all_entities
    if args.ray is not None:
        check_cluster(args.ray)
    predictor = open_predictor(model, posts, args, needs_spacy)
    if thresholds is not None:
        config = predictor.extract.model.config
        check_model(args.thresholds, thresholds, config.id2label.values(), config.score_temperature)
    header = prediction_header(model, predictor, survey, args)
    is_trained = survey.asks_all_pairs and args.relations is None
    never_saw_none = is_trained and predictor.extract.model.config.trained_without_none
    done, initial, end = set(), 0, 0
    if part.exists():
        for number, rows, end in read_batches(part, header):  # noqa: B007, the last end counts
            done.add(number)
            initial += len(rows)
    all_batches = enumerate(batches(posts, args))
    todo = (((number, places), batch) for number, (places, batch) in all_batches if number not in done)
    start = time.perf_counter()
    bar = logging.tqdm(total=survey.count, initial=initial, desc="Predicting", unit="post")
    with open(part, "ab", buffering=0) as file, ThreadPoolExecutor() as pool, bar:
        file.truncate(end)
        if not end:
            append_line(file, header)
        if args.ray is None:
            found = ((name, predictor(batch, pool)) for name, batch in todo)
        else:
            del predictor  # this process has told what it is; the workers have their own
            found = work_on_ray(partial(open_predictor, model, posts, args, needs_spacy), todo, args.ray, args.workers)
        for (number, places), rows in found:
            append_line(file, {"batch": number, "rows": [{"place": place, **row} for place, row in zip(places, rows)]})
            bar.update(len(rows))
    seconds, count = time.perf_counter() - start, survey.count - initial
    report = write_triples(part, header, args, thresholds)
    lines = [report.text]
    if args.explain is not None:
        cards = (card for row in in_order(part, header) for card in row.get("cards", ()))
        # A name on the Hub as it is; of a folder its name, for a page is handed around.
        title = f"{Path(model).name if os.path.isdir(model) else model} on {name_of_posts(posts)}"
        lines.append(f"explained: {write_error_page(args.explain, title, args.explain_method, cards)}")
    part.unlink()
    if never_saw_none:
        lines.append(NEVER_SAW_NONE)
    if survey.ignored:
        lines.append(f"ignored: the fields {some(survey.ignored)}")
    if count:
        lines.append(f"{count} posts in {seconds:.1f} s, {count / seconds:.1f} a second")
    return report._replace(text="\n".join(lines))


def open_predictor(model: str, posts: str, args: PredictionArguments, needs_spacy: bool) -> Predictor:
    """Load all models of a prediction.

    Raises:
        ImportError, OSError, ValueError: as of [`predict`], for what is not there or does not fit.
    """
    nlp = load_spacy(args.spacy_model) if needs_spacy else None
    if args.relations is None:
        files = {f"--{option}": what for option, what in FILE_INPUTS.items() if getattr(args, option) is not None}
        extract = open_pipeline(model, args, files)
        if args.onnx is not None:
            use_program(extract, model, args.onnx)
    else:
        extract = open_chat_model(model, args)
    if args.picture_cache is not None:
        keep_pictures(extract, model, args.picture_cache)
    folder = args.image_dir or (posts if os.path.isdir(posts) or ADDRESS.match(posts) else os.path.dirname(posts))
    make_card = None
    if args.explain is not None:
        make_card = CardMaker(extract.model, extract.processor, args.explain, args.explain_method)
    return Predictor(extract, args, picture_settings(args, nlp), nlp, folder, open_schema(extract, args), make_card)


def check_graph(args: PredictionArguments) -> None:
    """Refuse, before the work begins, a graph that could not be written at its end.

    Raises:
        FileExistsError: the file of nodes is there already.
        ImportError: rdflib is needed and not installed.
        OSError, ValueError: the table of links is not there, or bad.
    """
    if args.format in RDF_FORMATS:
        load_rdflib()
    # Of a run that was killed while it wrote, both files may be there.
    if args.format == "neo4j" and nodes_path(args.out).exists() and not Path(f"{args.out}.part").exists():
        raise FileExistsError(f"{nodes_path(args.out)} is there already; give another --out, or delete it")
    if args.link is not None:
        read_links(args.link)


def open_pipeline(model: str, args: DecisionArguments, given: Mapping[str, str] | None = None) -> Pipeline:
    """Load a model into a pipeline, and refuse what does not go with the model.

    Args:
        model: folder of a model or of a LoRA adapter, or its name on the Hub.
        args: which revision, and what is looked for in pictures.
        given: further inputs of the model, by the options that give them.

    Raises:
        OSError: the model is not there.
        ValueError: the model is none for relations, or does not read or show what the arguments ask for.
    """
    extract = load_pipeline(model, args.revision, dtype=args.dtype, output_fusion=args.output_fusion)
    name = type(extract.model).__name__
    wanted = {f"--tasks {task}": TASK_INPUTS[task] for task in args.tasks} | dict(given or {})
    reads = {*extract.processor.inputs} & {*extract.model.config.reads()}
    for option, what in wanted.items():
        if what not in reads:
            raise ValueError(f"{option}: {model} ({name}) reads no {PLURALS[what]}; leave it out")
    return extract


def keep_pictures(extract: Pipeline, model: str, folder: str) -> None:
    """Have a pipeline keep scaled pictures in a folder.

    Raises:
        ValueError: the model reads no pictures.
    """
    if not extract.processor.picture_input_names:
        raise ValueError(f"--picture_cache: {model} ({type(extract.model).__name__}) reads no pictures; leave it out")
    # In memory nothing: a picture comes once, or in one batch.
    extract.processor.picture_cache = PictureCache(folder, memory=0)


def open_chat_model(model: str, args: PredictionArguments) -> InContextRelationClassifier:
    """Load a chat model that is asked for the relations of a list, and refuse what it does not read.

    Raises:
        OSError: the model or the list is not there.
        ValueError: it is no chat model, or no list, or regions are given or looked for.
    """
    relations = read_relations(args.relations)
    meanings = {name: meaning for name, meaning in relations.items() if meaning}
    wanted = {f"--tasks {task}": TASK_INPUTS[task] for task in args.tasks}
    wanted |= {"--regions": "regions"} if args.regions is not None else {}
    for option, what in wanted.items():
        if what == "regions":
            raise ValueError(f"{option}: {model}, asked for --relations, reads no regions; leave it out")
    return InContextRelationClassifier.from_pretrained(
        model, relations, descriptions=meanings, revision=args.revision, dtype=args.dtype
    )


def open_schema(extract: Pipeline | InContextRelationClassifier, args: DecisionArguments) -> RelationSchema | None:
    """Return the schema by which posts are decided; None where each pair is taken as the model says.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is bad, or names relations that the model does not have.
    """
    if args.decision == "pair":
        return None
    is_chat = isinstance(extract, InContextRelationClassifier)
    relations = extract.options.relations if is_chat else list(extract.model.config.id2label.values())
    return RelationSchema.from_names(relations) if args.schema is None else read_schema(args.schema, relations)


def prediction_header(
    model: str,
    predictor: Predictor,
    survey: Survey,
    args: PredictionArguments,
) -> dict:
    """Describe what a prediction is made with: everything that decides what is in it."""
    extract, nlp, schema = predictor.extract, predictor.nlp, predictor.schema
    is_chat = isinstance(extract, InContextRelationClassifier)
    config = extract.chat.model.config if is_chat else extract.model.config
    return {
        "mmre_predictions": PREDICTION_VERSION,
        "posts": survey.count,
        "posts_sha256": survey.fingerprint,
        "model": model,
        "revision": getattr(config, "_commit_hash", None) or args.revision,
        "files_sha256": files_fingerprint(model),
        "transformers": transformers.__version__,
        "batch_size": args.batch_size,
        "dtype": args.dtype,
        "onnx_sha256": None if args.onnx is None else program_fingerprint(args.onnx),
        "output_fusion": args.output_fusion,
        "keep": args.keep,
        "explain": None if args.explain is None else [args.explain, args.explain_method],
        "relations": read_relations(args.relations) if is_chat else None,
        "spacy": {"model": args.spacy_model, "version": nlp.meta["version"]} if nlp else None,
        **predictor.settings,
        "schema": None if schema is None else schema.as_rows(),
        "both_directions": args.both_directions,
    }


def batches(posts: str, args: PredictionArguments) -> Iterator[tuple[list[int], list[dict]]]:
    """Read checked posts batch by batch, those of one picture together, as [`together`] orders some batches.

    Yields:
        The places of the posts among all of them, and the posts.

    Raises:
        ValueError: the posts are bad, so that they were changed since they were checked.
    """
    problems, start = Problems(), 0
    stream = read_raw_posts(posts, args, problems)
    while read := list(islice(stream, args.batch_size * BATCHES_AT_ONCE)):
        order = together([post["image"] for post in read], [len(post["text"]) for post in read])
        for first in range(0, len(read), args.batch_size):
            chosen = order[first : first + args.batch_size]
            yield [start + number for number in chosen], [read[number] for number in chosen]
        start += len(read)
    if problems:
        raise ValueError(f"{shown_address(posts)} was changed while it was read. {problems.report()}")


__all__ = ["predict"]
