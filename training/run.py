"""One run: posts, model, training, test, and the record of it."""

import shutil
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import transformers
from accelerate import PartialState
from peft import PeftModel
from safetensors import SafetensorError
from transformers import EarlyStoppingCallback, PreTrainedModel, ProcessorMixin
from transformers.integrations import TrackioCallback
from transformers.trainer_utils import PredictionOutput
from transformers.utils import logging

from mmre.evaluation.cost import count_parameters, measure_cost
from mmre.evaluation.output_lock import only_run
from mmre.evaluation.plots import plot_confusion_matrix, plot_learning_curve, plot_reliability
from mmre.evaluation.protocol import describe_posts
from mmre.evaluation.run_record import (
    PREDICTIONS_FILE,
    VALIDATION_FILE,
    posts_in_short,
    write_metrics,
    write_predictions,
    write_results,
)
from mmre.evaluation.scores import (
    NotFiniteError,
    check_finite_metrics,
    heads_first,
    metrics_for_trainer,
    relation_probabilities,
    score_split,
)
from mmre.inference.loading import relations_of_model
from mmre.model_cards.model_card import render_model_card
from mmre.posts.collator import PostCollator
from mmre.posts.dependencies import with_dependencies
from mmre.posts.fingerprint import posts_fingerprint
from mmre.posts.full_disk import full_disk, is_full, naming_full_disk
from mmre.posts.whole_file import whole_file
from mmre.processing.picture_cache import PictureCache
from mmre.processing.picture_files import MAX_PIXELS

from .arguments import DataArguments
from .checkpoints import check_posts, find_checkpoint
from .earlier_results import add_facts, earlier_results
from .encoders import build
from .processes import check_processes
from .publishing import prepare_repository
from .record import sections_of, write_settings, write_train_posts
from .score_values import add_calibration, begin_scores, finish_scores
from .settings import Settings
from .splits import open_splits, with_lengths
from .trainer import RelationTrainer

# Arguments of the posts that a result is told with.
PROTOCOL_ARGUMENTS = (
    *("dataset", "regions", "captions", "use_images", "region_count_as_caption", "align_noise", "aug_noise"),
    *("train_share", "samples_per_relation"),
)

logger = logging.get_logger("mmre.train")


class RunReport(NamedTuple):
    """Report of a finished run.

    Args:
        output_dir: where all of it is.
        tables: the results, in Markdown.
        model_type: the system.
        repo_id: the repository that the model is to be published to, see [`~mmre.training.publishing.publish_run`];
            None if it stays here.
    """

    output_dir: Path
    tables: str
    model_type: str
    repo_id: str | None


def run_experiment(settings: Settings) -> RunReport | None:
    """Run one experiment, from its settings to its results.

    Args:
        settings: see [`~mmre.training.settings.resolve`].

    Returns:
        What there is to say; None in all processes but the main one.

    Raises:
        OSError: files, posts, pictures, an encoder or a checkpoint are missing, or the Hub refuses a repository.
        ValueError: the posts are bad or do not fit the model, or the output folder is that of another run.
        RuntimeError: the training itself fails.
    """
    training = settings.training
    logging.set_verbosity(training.get_process_log_level())
    transformers.set_seed(training.seed)
    output_dir, sections = Path(training.output_dir), sections_of(settings)
    checkpoint = find_checkpoint(output_dir, training, sections)
    check_processes()
    repo_id = prepare_repository(training) if training.push_to_hub else None
    # The whole model is published at the end. The Trainer would push checkpoints without their code, and its own card.
    training.push_to_hub = False

    if not (training.do_train or settings.model.model_name_or_path):
        raise ValueError("`do_train` is false, and there is no model to test: give `model_name_or_path`.")
    when = "while the model was made or its results were written"
    lock = only_run(output_dir) if PartialState().is_main_process else nullcontext()
    with lock, naming_full_disk(output_dir, _stopped(when)):
        return _train_and_test(settings, sections, checkpoint, repo_id)


def _train_and_test(
    settings: Settings, sections: dict[str, dict[str, Any]], checkpoint: str | None, repo_id: str | None
) -> RunReport | None:
    data, training, output_dir = settings.data, settings.training, Path(settings.training.output_dir)
    earlier = earlier_results(settings, output_dir)
    posts, processor, model = _prepare(settings, output_dir)
    facts = protocol_facts(posts, data, processor.inputs, processor.markers_in_text_order)
    results, predictions = add_facts(earlier, facts, output_dir), {}
    fingerprint = posts_fingerprint(posts)
    if checkpoint is not None:
        check_posts(output_dir, fingerprint)
    if PartialState().is_main_process and not earlier:
        write_settings(output_dir, sections, training, fingerprint)
        if training.do_train and (data.train_share != 1 or data.samples_per_relation is not None):
            write_train_posts(output_dir, list(posts["train"]["id"]))

    if "structure" in processor.inputs:
        # After the fingerprint, which is of the posts alone: the same for each system.
        with training.main_process_first(desc="finding the dependency trees"):
            posts = with_dependencies(posts, processor.spacy_model)
    posts = with_lengths(posts, processor)
    relations, sizes, trained = _relations(posts), count_parameters(model), None
    stopping = [EarlyStoppingCallback(training.early_stopping_patience)] if training.early_stopping_patience else None
    trainer = RelationTrainer(
        model=model,
        args=training,
        train_dataset=posts.get("train"),
        eval_dataset=posts.get("validation"),
        data_collator=PostCollator(processor),
        processing_class=processor,
        compute_metrics=metrics_for_trainer(relations),
        callbacks=stopping,
    )
    try:
        if training.do_train:
            begin_scores(model, posts["train"])
            metrics = trainer.train(resume_from_checkpoint=checkpoint).metrics
            check_finite_metrics(metrics)
            if training.load_best_model_at_end and trainer.state.best_model_checkpoint is None:
                logger.warning("No checkpoint was evaluated: the model is that of the last step, not the best one.")
            results["train"] = metrics | {"best_checkpoint": trainer.state.best_model_checkpoint}
            trained = metrics["train_runtime"] - trainer.seconds_aside, trainer.posts_trained
            trainer.save_model()
            # trackio's run ends with the training: the figures below would open a second one.
            trainer.remove_callback(TrackioCallback)
        if training.do_eval:
            predictions["validation"] = trainer.predict(posts["validation"], metric_key_prefix="validation")
        if training.do_train:
            finish_scores(model, predictions.get("validation"), output_dir)
        if training.do_predict:
            # The only look at the test split, with the checkpoint that is best on the validation split.
            predictions["test"] = trainer.predict(posts["test"])
        for split, prediction in predictions.items():
            results[split] = score_split(prediction, relations, heads_first(posts[split]))
    except NotFiniteError as error:
        raise NotFiniteError(
            f"the run in {output_dir} failed after {trainer.state.global_step} steps: {error}"
        ) from error
    except (OSError, SafetensorError, RuntimeError) as error:
        if is_full(error):
            raise full_disk(error, output_dir, _stopped(f"after {trainer.state.global_step} steps")) from error
        if isinstance(error, RuntimeError):  # a bug, or the processes' end
            raise
        raise RuntimeError(
            f"the run in {output_dir} failed after {trainer.state.global_step} steps: {error}"
        ) from error
    except ValueError as error:
        # Not an error of the user's that one line explains: with its traceback.
        raise RuntimeError(
            f"the run in {output_dir} failed after {trainer.state.global_step} steps: {error}"
        ) from error
    if not trainer.is_world_process_zero():
        return None

    prediction = predictions.get("test")
    tested = None if prediction is None else (prediction.metrics["test_runtime"], len(posts["test"]))
    # A test of a checkpoint takes nothing from the record of its training.
    results.setdefault("cost", measure_cost(sizes, training.device, trained, tested))
    add_calibration(results, model, predictions)
    tables = _write_results(output_dir, results, posts, predictions)
    _draw(output_dir, trainer, results, posts, prediction)
    # A card is of the model beside it: a checkpoint that is tested into another folder gets none there.
    tested = settings.model.model_name_or_path
    if training.do_train or (tested and Path(tested).resolve() == output_dir.resolve()):
        card = render_model_card(output_dir)
        with whole_file(output_dir / "README.md") as file:
            file.write(str(card))
    return RunReport(output_dir, tables, settings.model.model_type, repo_id)


def _stopped(when: str) -> str:
    """Say of a full disk when the run stopped, and how to go on."""
    return f"the run stopped {when}. Make room, and go on by --resume_from_checkpoint true"


def _prepare(
    settings: Settings, output_dir: Path
) -> tuple[datasets.DatasetDict, ProcessorMixin, PreTrainedModel | PeftModel]:
    """Open the posts, and build the processor and the model; the main process first, which writes new encoders."""
    with settings.training.main_process_first(desc="opening the posts"):
        path = settings.model.model_name_or_path
        known = None if path is None or settings.model.new_classifier else relations_of_model(path)
        posts = open_splits(
            settings.data, settings.training, known, settings.values.get("max_image_pixels", MAX_PIXELS)
        )
    with settings.training.main_process_first(desc="building the model"):
        processor, model = build(settings.model, settings.values, _relations(posts), posts, output_dir)
    PartialState().wait_for_everyone()
    if PartialState().is_main_process:
        shutil.rmtree(output_dir / "new_encoders", ignore_errors=True)
    _check_captions(settings, posts, processor, type(model).__name__)
    _keep_pictures(settings, processor, type(model).__name__)
    return posts, processor, model


def protocol_facts(
    posts: datasets.DatasetDict, data: DataArguments, inputs: Sequence[str], markers_in_text_order: bool = False
) -> dict[str, Any]:
    """Describe the regions, pictures, markers and noise behind the results of a run.

    Args:
        posts: see [`~mmre.training.splits.open_splits`].
        data: the arguments that they were opened by.
        inputs: what the model reads of a post.
        markers_in_text_order: whether it is not told which entity is the head.
    """
    named = {name: getattr(data, name) for name in PROTOCOL_ARGUMENTS}
    return describe_posts(posts, inputs=inputs, markers_in_text_order=markers_in_text_order, **named)


def _relations(posts: datasets.DatasetDict) -> list[str]:
    return next(iter(posts.values())).features["relation"].names


def _check_captions(settings: Settings, posts: datasets.DatasetDict, processor: ProcessorMixin, model: str) -> None:
    """Refuse captions that the model does not read; warn of a model that reads captions where there are none."""
    reads_captions = "caption" in processor.inputs
    if settings.data.captions and not reads_captions:
        raise ValueError(f"{model} as configured reads no captions: leave `captions` out.")
    has_captions = any(caption for rows in posts.values() for caption in rows["caption"])
    if reads_captions and not has_captions and PartialState().is_main_process:
        logger.warning(f"{model} reads captions, but the posts have none: it works without.")


def _keep_pictures(settings: Settings, processor: ProcessorMixin, model: str) -> None:
    """Have each picture decoded and scaled once; refuse a folder for those of a model that reads none."""
    folder = settings.data.picture_cache
    if processor.picture_input_names:
        processor.picture_cache = PictureCache(folder)
    elif folder is not None:
        raise ValueError(f"{model} as configured reads no pictures: leave `picture_cache` out.")


def _write_results(
    output_dir: Path, results: dict, posts: datasets.DatasetDict, predictions: dict[str, PredictionOutput]
) -> str:
    """Write scores, predictions and tables of a run, and return the tables."""
    write_metrics(output_dir, results)
    for split, prediction in predictions.items():
        rows = posts[split]
        write_predictions(
            output_dir,
            rows["id"],
            _relations(posts),
            prediction.label_ids,
            relation_probabilities(prediction, results["calibration"]["temperature"]),
            heads_first(rows),
            posts_in_short(rows),
            file_name={"validation": VALIDATION_FILE, "test": PREDICTIONS_FILE}[split],
        )
    return write_results(output_dir, results)


def _draw(output_dir: Path, trainer: RelationTrainer, results: dict, posts: datasets.DatasetDict, prediction) -> None:
    """Draw the figures of a run; its results are written before."""
    if results["calibration"]["splits"]:
        plot_reliability(results["calibration"], output_dir / "reliability.png")
    if trainer.args.do_train:
        plot_learning_curve(trainer.state.log_history, output_dir / "learning_curve.png")
    if prediction is not None:
        predicted, title = prediction.predictions.argmax(-1), f"test F1 {100 * results['test']['f1']:.2f} %"
        path = output_dir / "confusion_matrix.png"
        plot_confusion_matrix(prediction.label_ids, predicted, _relations(posts), path, title)


__all__ = ["RunReport", "run_experiment"]
