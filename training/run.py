"""Train and evaluate a model of multimodal relation extraction.

    python train.py CONFIG.yaml [--any_argument value]
    accelerate launch train.py CONFIG.yaml [--any_argument value]

CONFIG.yaml has the sections `model`, `data` and `training`. Every argument of the three dataclasses below, of
transformers' `TrainingArguments`, and of the model's configuration and processor can stand there or on the command
line, which wins.
"""

import argparse
import dataclasses
import difflib
import inspect
import json
import os
import platform
import re
import shutil
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from importlib import metadata
from pathlib import Path
from typing import Any

import datasets
import psutil
import torch
import transformers
import yaml
from accelerate import DistributedType, PartialState
from huggingface_hub.errors import StrictDataclassError
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from torch.utils.data import SequentialSampler
from transformers import (
    AutoConfig,
    AutoModel,
    AutoProcessor,
    BertTokenizer,
    CLIPImageProcessorPil,
    EarlyStoppingCallback,
    HfArgumentParser,
    PreTrainedConfig,
    PreTrainedModel,
    ProcessorMixin,
    Trainer,
    TrainingArguments,
)
from transformers.integrations import TrackioCallback
from transformers.trainer_pt_utils import LengthGroupedSampler
from transformers.utils import logging

from mmre.evaluation.plots import plot_confusion_matrix, plot_learning_curve
from mmre.evaluation.protocol import describe_posts
from mmre.evaluation.run_record import write_metrics, write_predictions, write_results
from mmre.evaluation.scores import metrics_for_trainer, relation_probabilities, score_split
from mmre.inference.loading import adapter_config, load_model
from mmre.model_cards.model_card import render_model_card
from mmre.model_cards.publishing import complete, create_repository, publish
from mmre.modeling import MODELS
from mmre.posts.collator import PostCollator
from mmre.posts.protocols import (
    align_noise,
    aug_noise,
    drop_pictures,
    region_count_as_caption,
    sample_per_relation,
    sample_share,
)
from mmre.posts.sources import open_posts
from mmre.processing import PROCESSORS

logger = logging.get_logger("mmre.train")

SECTIONS = ("model", "data", "training")
# What a report of a training names, whether set or not: the defaults are those of the transformers installed.
HYPERPARAMETERS = (
    *("learning_rate", "lr_scheduler_type", "warmup_steps", "weight_decay", "optim", "max_grad_norm"),
    *("num_train_epochs", "per_device_train_batch_size", "gradient_accumulation_steps"),
)
SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


@dataclass
class ModelArguments:
    """Which model to train: a checkpoint, or new layers between two encoders, each pretrained or new."""

    model_type: str = field(default="focalmre", metadata={"help": "The system.", "choices": sorted(MODELS)})
    model_name_or_path: str | None = field(
        default=None, metadata={"help": "A checkpoint of this system to go on from, instead of two encoders."}
    )
    text_encoder: str | None = field(default=None, metadata={"help": "Name or path of the pretrained text encoder."})
    vision_encoder: str | None = field(
        default=None, metadata={"help": "Name or path of the pretrained vision encoder."}
    )
    new_text_encoder: dict | str | None = field(
        default=None,
        metadata={"help": "Configuration of a BERT to train from scratch; its vocabulary is learned from the posts."},
    )
    new_vision_encoder: dict | str | None = field(
        default=None, metadata={"help": "Configuration of a CLIP vision encoder to train from scratch."}
    )
    lora_rank: int | None = field(
        default=None, metadata={"help": "Train adapters of this rank in the encoders, and all layers between them."}
    )
    freeze_text: bool = field(default=False, metadata={"help": "Leave the text encoder as it is."})
    freeze_vision: bool = field(default=False, metadata={"help": "Leave the vision encoder as it is."})

    def __post_init__(self):
        if self.lora_rank is not None and self.lora_rank < 1:
            raise ValueError(f"`lora_rank` must be at least 1, got {self.lora_rank}.")
        if self.lora_rank is not None and self.freeze_text and self.freeze_vision:
            raise ValueError("`lora_rank` puts adapters into the encoders: it cannot stand beside both frozen.")
        for name in ("new_text_encoder", "new_vision_encoder"):
            if isinstance(getattr(self, name), str):
                setattr(self, name, json.loads(getattr(self, name)))
        for kind in ("text", "vision"):
            given = [getattr(self, f"{kind}_encoder"), getattr(self, f"new_{kind}_encoder")]
            if self.model_name_or_path is None and given.count(None) != 1:
                raise ValueError(
                    f"Set either `{kind}_encoder`, a name or path, or `new_{kind}_encoder`, a configuration "
                    f"(or `model_name_or_path`, a checkpoint); got {given[0]!r} and {given[1]!r}."
                )


@dataclass
class DataArguments:
    """Which posts to train and evaluate on."""

    dataset: str = field(
        default="mnre",
        metadata={
            "help": "'mnre', 'synthetic', 'files' (your own, see `train_file`), or a data set in the same schema: its "
            "name on the Hub or the path of its folder."
        },
    )
    data_dir: str | None = field(default=None, metadata={"help": "Folder of the MNRE files."})
    train_file: str | None = field(default=None, metadata={"help": "CSV or JSON lines to train on, with `files`."})
    validation_file: str | None = field(default=None, metadata={"help": "The same, to choose the checkpoint by."})
    test_file: str | None = field(default=None, metadata={"help": "The same, to test on at the end."})
    image_dir: str | None = field(
        default=None,
        metadata={"help": "Folder of the pictures, if not below `data_dir`, or not where the posts' own files are."},
    )
    regions: str | None = field(
        default=None,
        metadata={
            "help": "Of MNRE 'released' (the default; they leak the label), 'none', or the path of an annotation "
            "file. Of posts of your own 'as given' (the default), 'none', or the path of an annotation file."
        },
    )
    captions: list[str] | None = field(default=None, metadata={"help": "Caption files, or an annotation file."})
    on_missing_image: str = field(
        default="error", metadata={"help": "'error', or 'text_only' to use such posts without a picture."}
    )
    use_images: bool = field(
        default=True, metadata={"help": "Whether to use the pictures; if not, none is looked for or loaded."}
    )
    region_count_as_caption: bool = field(
        default=False,
        metadata={"help": "Replace pictures and regions by the number of grounded regions, as the caption."},
    )
    num_synthetic_posts: int = field(default=2000, metadata={"help": "Training posts to make, with `synthetic`."})
    align_noise: float = field(
        default=0.0, metadata={"help": "Share of the posts of every split that swap pictures; 1 shuffles all."}
    )
    aug_noise: float = field(
        default=0.0, metadata={"help": "Share of all regions of every split that are replaced or deleted."}
    )
    train_share: float = field(default=1.0, metadata={"help": "Share of the training posts to draw."})
    samples_per_relation: int | None = field(
        default=None, metadata={"help": "Training posts to draw of each relation; all, if it has fewer."}
    )
    max_train_samples: int | None = field(default=None, metadata={"help": "Use only the first training posts."})
    max_eval_samples: int | None = field(default=None, metadata={"help": "Use only the first validation posts."})
    max_predict_samples: int | None = field(default=None, metadata={"help": "Use only the first test posts."})

    def __post_init__(self):
        if self.dataset == "mnre" and self.data_dir is None:
            raise ValueError("`dataset` 'mnre' needs `data_dir`, the folder of the MNRE files.")
        if self.regions is None:
            self.regions = {"mnre": "released", "synthetic": "drawn"}.get(self.dataset, "as given")
        files = [self.train_file, self.validation_file, self.test_file]
        if self.dataset == "files" and self.train_file is None:
            raise ValueError("`dataset` 'files' needs `train_file`: its relations are the ones to know.")
        if self.dataset != "files" and any(files):
            raise ValueError(f"`train_file` and the others belong to `dataset` 'files', not {self.dataset!r}.")
        if self.is_own and self.regions in ("released", "drawn"):
            raise ValueError(
                f"`regions` of `dataset` {self.dataset!r} is 'as given', 'none' or the path of an annotation file, not "
                f"{self.regions!r}."
            )
        if self.is_own and self.captions and len(self.captions) > 1:
            raise ValueError(f"`captions` of `dataset` {self.dataset!r} is one annotation file, not {self.captions!r}.")
        if self.train_share != 1 and self.samples_per_relation is not None:
            raise ValueError("`train_share` and `samples_per_relation` are two ways to draw posts: set one.")
        if self.region_count_as_caption and (self.use_images or self.captions):
            raise ValueError(
                "`region_count_as_caption` takes the place of the rest: set `use_images` false, no `captions`."
            )
        if self.dataset == "mnre" and not (self.use_images or self.region_count_as_caption or self.regions == "none"):
            raise ValueError(
                f"Without pictures (`use_images` false) there is no use for `regions` {self.regions!r}: set 'none'."
            )

    @property
    def is_own(self) -> bool:
        """Whether the posts are a user's own."""
        return self.dataset not in ("mnre", "synthetic")


@dataclass
class RelationTrainingArguments(TrainingArguments):
    """transformers' arguments, with defaults that train, keep the best checkpoint by validation F1, and test it."""

    do_train: bool = field(default=True, metadata={"help": "Whether to train."})
    do_eval: bool = field(default=True, metadata={"help": "Whether to evaluate on the validation split."})
    do_predict: bool = field(default=True, metadata={"help": "Whether to evaluate on the test split, at the end."})
    eval_strategy: str = field(default="epoch", metadata={"help": "When to evaluate on the validation split."})
    save_strategy: str = field(default="epoch", metadata={"help": "When to save a checkpoint."})
    save_total_limit: int | None = field(default=2, metadata={"help": "The best checkpoint and the last."})
    load_best_model_at_end: bool = field(default=True, metadata={"help": "Whether to end with the best checkpoint."})
    metric_for_best_model: str | None = field(default="f1", metadata={"help": "What the best checkpoint is best by."})
    train_sampling_strategy: str = field(
        default="group_by_length", metadata={"help": "'group_by_length', 'random' or 'sequential'."}
    )
    remove_unused_columns: bool = field(default=False, metadata={"help": "The collator needs the raw posts."})
    # Without an image in a process's batch, or with a tower's unused pooler, some parameters get no gradient.
    ddp_find_unused_parameters: bool | None = field(default=True, metadata={"help": "See DistributedDataParallel."})
    weight_decay_on: str = field(
        default="non_bias",
        metadata={
            "help": "'non_bias', all parameters but biases, as in the paper; or 'all', as in the official code.",
            "choices": ["non_bias", "all"],
        },
    )
    early_stopping_patience: int | None = field(
        default=None, metadata={"help": "Stop after so many evaluations without a better validation F1."}
    )

    def __post_init__(self):
        do_eval = self.do_eval
        super().__post_init__()
        if not self.do_train:
            self.do_eval = do_eval  # transformers sets it wherever evaluation has a strategy


class EpochLengthGroupedSampler(LengthGroupedSampler):
    """Groups posts by length in an order that the seed and the epoch alone decide.

    The Trainer's own draws from the global generator: resumed within an epoch it would go on in another order.
    """

    def __init__(self, batch_size: int, lengths: list[int], seed: int):
        super().__init__(batch_size, lengths=lengths, generator=torch.Generator())
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the Trainer at the start of each epoch."""
        self.epoch = epoch

    def __iter__(self):
        self.generator.manual_seed(self.seed + self.epoch)
        return super().__iter__()


class RelationTrainer(Trainer):
    """transformers' Trainer, except where its defaults differ from what the papers say or our files need."""

    def get_decay_parameter_names(self, model: nn.Module) -> list[str]:
        names = [name for name, _ in model.named_parameters()]
        if self.args.weight_decay_on == "all":
            return names
        return [name for name in names if not name.endswith("bias")]

    def create_optimizer(self, *args, **kwargs) -> torch.optim.Optimizer:
        optimizer = super().create_optimizer(*args, **kwargs)
        optimized = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        for name, parameter in self.model.named_parameters():
            # In four published code bases the classifier was never trained.
            if parameter.requires_grad and id(parameter) not in optimized:
                raise RuntimeError(f"The trainable parameter {name} is not in the optimizer.")
        return optimizer

    def create_model_card(self, *args, **kwargs) -> None:
        """Write nothing: each `push_to_hub` would put the Trainer's draft in place of our card."""

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        super()._save(output_dir, state_dict)
        if self.args.should_save:
            complete(output_dir or self.args.output_dir)

    def _get_train_sampler(self, train_dataset: datasets.Dataset | None = None) -> torch.utils.data.Sampler:
        sampler = super()._get_train_sampler(train_dataset)
        if not isinstance(sampler, LengthGroupedSampler):
            return sampler
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        # Of the batches of all processes together: so several of them see the batches that one would.
        batch_size = sampler.batch_size * self.args.world_size
        return EpochLengthGroupedSampler(batch_size, lengths=sampler.lengths, seed=seed)

    def _get_eval_sampler(self, eval_dataset: datasets.Dataset) -> SequentialSampler:
        # Under group_by_length the Trainer reorders evaluation too: predictions would not match the posts' ids.
        return SequentialSampler(eval_dataset)


class _Loader(yaml.SafeLoader):
    """YAML in which `3e-5` is a number; YAML 1.1 takes it for a string. A name that stands twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        names = Counter(self.construct_object(key, deep=True) for key, _ in node.value)
        twice = [name for name, count in names.items() if count > 1]
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"{twice[0]!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: list(resolvers) for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def main(arguments: list[str]) -> None:
    """Run one experiment, from its configuration to its results."""
    model_args, data_args, args, model_values = parse_arguments(arguments)
    logging.set_verbosity(args.get_process_log_level())
    transformers.set_seed(args.seed)
    output_dir = Path(args.output_dir)
    settings = resolved_settings(model_args, data_args, args, model_values)
    checkpoint = find_checkpoint(output_dir, args, settings)
    check_processes()
    repo_id = prepare_repository(args) if args.push_to_hub else None
    # The whole model is published at the end. The Trainer would push checkpoints without their code, and its own card.
    args.push_to_hub = False
    try:
        with args.main_process_first(desc="loading the posts"):
            posts = load_posts(data_args, args)
        relations = next(iter(posts.values())).features["relation"].names
        with args.main_process_first(desc="building the model"):
            processor, model = build(model_args, model_values, relations, posts, output_dir)
    except (OSError, ValueError, StrictDataclassError) as error:
        raise SystemExit(f"train.py: {error}") from error
    PartialState().wait_for_everyone()
    is_main = PartialState().is_main_process
    if is_main:
        shutil.rmtree(output_dir / "new_encoders", ignore_errors=True)
        write_settings(output_dir, settings, args)
        if args.do_train and (data_args.train_share != 1 or data_args.samples_per_relation is not None):
            write_json(output_dir / "train_posts.json", {"ids": list(posts["train"]["id"])})

    reads_captions = "caption" in inspect.signature(processor.__call__).parameters and getattr(
        model.config, "use_caption", True
    )
    if data_args.captions and not reads_captions:
        raise SystemExit(f"train.py: {type(model).__name__} as configured reads no captions: leave `captions` out.")
    if reads_captions and is_main and not any(caption for rows in posts.values() for caption in rows["caption"]):
        logger.warning(f"{type(model).__name__} reads captions, but the posts have none: it works without.")

    trainer = RelationTrainer(
        model=model,
        args=args,
        train_dataset=posts.get("train"),
        eval_dataset=posts.get("validation"),
        data_collator=PostCollator(processor),
        processing_class=processor,
        compute_metrics=metrics_for_trainer(relations),
        callbacks=[EarlyStoppingCallback(args.early_stopping_patience)] if args.early_stopping_patience else None,
    )
    results = {"posts": protocol_facts(posts, data_args, reads_captions)}
    if args.do_train:
        training = trainer.train(resume_from_checkpoint=checkpoint)
        results["train"] = training.metrics | {"best_checkpoint": trainer.state.best_model_checkpoint}
        trainer.save_model()
        # trackio's run ends with the training: the figures below would open a second one.
        trainer.remove_callback(TrackioCallback)
    if args.do_eval:
        results["validation"] = score_split(
            trainer.predict(posts["validation"], metric_key_prefix="validation"), relations
        )
    if args.do_predict:
        # The only look at the test split, with the checkpoint that is best on the validation split.
        prediction = trainer.predict(posts["test"])
        results["test"] = score_split(prediction, relations)
    if trainer.is_world_process_zero():
        write_metrics(output_dir, results)
        if args.do_predict:
            probabilities = relation_probabilities(prediction)
            write_predictions(output_dir, posts["test"]["id"], relations, prediction.label_ids, probabilities)
        tables = write_results(output_dir, results)
        if args.do_predict:
            predicted = prediction.predictions.argmax(-1)
            plot_confusion_matrix(prediction.label_ids, predicted, relations, output_dir / "confusion_matrix.png")
        if args.do_train:
            plot_learning_curve(trainer.state.log_history, output_dir / "learning_curve.png")
        # A card is of the model beside it: a checkpoint that is tested into another folder gets none there.
        tested = model_args.model_name_or_path
        if args.do_train or (tested and Path(tested).resolve() == output_dir.resolve()):
            render_model_card(output_dir).save(output_dir / "README.md")
        print(f"\n{tables}\n{what_next(output_dir, model.config.model_type) if args.do_train else ''}")
        if repo_id is not None:
            print(f"Published: {publish_run(output_dir, repo_id, args)}")


def start_processes() -> None:
    """Start the processes of `accelerate launch --cpu --num_processes N`, which without MPI starts only this one.

    The launcher passes N on to nobody, but this process is its child and can read its command line. A process that
    torchrun or MPI started is the child of another.
    """
    if os.environ.get("ACCELERATE_USE_CPU") != "True" or "MASTER_ADDR" not in os.environ:
        return
    launcher = "\n".join(psutil.Process().parent().cmdline())
    processes = re.search(r"^--num[-_]processes[=\n](\d+)$", launcher, re.MULTILINE)
    if processes is None or re.search(r"^--num[-_]machines[=\n](?!1$)", launcher, re.MULTILINE):
        return
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", processes[1]]
    os.execv(sys.executable, [*command, *sys.argv])  # noqa: S606 - this interpreter, no shell


def check_processes() -> None:
    """Refuse what `accelerate launch` does not do on a CPU, and does not say.

    Raises:
        SystemExit: if it started one process where several were asked for, or does not share out parameters.
    """
    on_cpu = os.environ.get("ACCELERATE_USE_CPU") == "True"
    # The address is set for several processes, beside which each process gets its number.
    if on_cpu and "MASTER_ADDR" in os.environ and not PartialState(cpu=True).use_distributed:
        raise SystemExit(
            "train.py: accelerate started one process only: without MPI, its `--cpu` starts no others. This does:\n"
            "  accelerate launch --config_file configs/accelerate/cpu.yaml --num_processes N train.py ..."
        )
    if os.environ.get("ACCELERATE_USE_FSDP") == "true" and PartialState().distributed_type == DistributedType.MULTI_CPU:
        raise SystemExit("train.py: accelerate does not share out parameters (FSDP) over processes on a CPU.")


def prepare_repository(args: RelationTrainingArguments) -> str:
    """The repository to publish to. It is made before the training, which would be a pity to lose for a bad token.

    Raises:
        SystemExit: if the Hub refuses it, or nothing is trained that could be published.
    """
    if not args.do_train:
        raise SystemExit("train.py: `push_to_hub` publishes what was trained. Of a folder: mmre-publish FOLDER NAME")
    name = args.hub_model_id or Path(args.output_dir).absolute().name
    if not PartialState().is_main_process:
        return name
    try:
        return create_repository(name, args.hub_private_repo, args.hub_token)
    except (OSError, ValueError) as error:  # of the connection, the Hub, or the name
        raise SystemExit(f"train.py: `push_to_hub`: {error}") from error


def publish_run(output_dir: Path, repo_id: str, args: RelationTrainingArguments) -> str:
    """Publish the trained model; the address of the commit.

    Raises:
        SystemExit: if that fails, with the command that tries again.
    """
    try:
        commit = publish(output_dir, repo_id, args.hub_private_repo, args.hub_revision, args.hub_token)
    except (OSError, RuntimeError, ValueError) as error:
        raise SystemExit(
            f"train.py: the results are in {output_dir}, but publishing them failed: {error}\n"
            f"Try again: mmre-publish {output_dir} {repo_id}"
        ) from error
    return commit.commit_url


def parse_arguments(
    arguments: list[str],
) -> tuple[ModelArguments, DataArguments, RelationTrainingArguments, dict[str, Any]]:
    """Read a YAML file and the command line after it.

    Args:
        arguments: the command line: the path of a YAML file, if any, then `--name value` pairs.

    Returns:
        The arguments of the three dataclasses, and the values given for the model's configuration and processor.

    Raises:
        SystemExit: with a message, if a name is unknown or a value cannot be right.
    """
    settings = {}
    if arguments and not arguments[0].startswith("-"):
        settings = read_yaml(Path(arguments[0]))
        arguments = arguments[1:]
    parser = HfArgumentParser([ModelArguments, DataArguments, RelationTrainingArguments], allow_abbrev=False)
    parser.prog = "train.py"
    parser.usage = "train.py CONFIG.yaml [--any_argument value ...]   (--help lists all arguments)"
    model_type = _model_type(settings, arguments)
    model_names = sorted(config_names(model_type) | processor_names(model_type))
    group = parser.add_argument_group(f"the configuration and the processor of {model_type}")
    for name in model_names:
        group.add_argument(f"--{name}", type=_read_value, default=argparse.SUPPRESS)
    known = {action.dest: action for action in parser._actions}

    from_file = []
    for name, value in settings.items():
        if name not in known:
            raise SystemExit(f"train.py: {_unknown(name, known)}")
        if name in model_names or isinstance(value, dict):
            from_file.append(f"--{name}={json.dumps(value)}")
        elif value is None:
            parser.set_defaults(**{name: None})
        elif isinstance(value, list) and known[name].nargs is None:
            raise SystemExit(f"train.py: {name!r} takes one value, got {value!r}.")
        elif isinstance(value, list):
            from_file += [f"--{name}", *map(str, value)]
        else:
            from_file.append(f"--{name}={value}")
    try:
        *parsed, rest = parser.parse_args_into_dataclasses(from_file + arguments, return_remaining_strings=True)
    except (ValueError, ImportError) as error:
        raise SystemExit(f"train.py: {error}") from error
    if rest:
        raise SystemExit(f"train.py: {_unknown(rest[0].removeprefix('--').split('=')[0], known)}")
    model_values = vars(parsed.pop()) if len(parsed) == 4 else {}
    try:
        # Tried here, before any data is loaded.
        MODELS[model_type].config_class(**_only(model_values, config_names(model_type)))
        any_tokenizer = BertTokenizer(vocab={token: index for index, token in enumerate([*SPECIAL_TOKENS, "a"])})
        PROCESSORS[model_type](
            CLIPImageProcessorPil(), any_tokenizer, **_only(model_values, processor_names(model_type))
        )
    except (StrictDataclassError, ValueError, TypeError) as error:
        raise SystemExit(f"train.py: {error}") from error
    return (*parsed, model_values)


def read_yaml(path: Path) -> dict[str, Any]:
    """The values of a configuration file, of all its sections together.

    Raises:
        SystemExit: with a message, if the file is missing, is no YAML, or is not made of the three sections.
    """
    try:
        sections = yaml.load(path.read_text("utf-8"), Loader=_Loader) or {}  # noqa: S506, it is a SafeLoader
    except FileNotFoundError:
        raise SystemExit(f"train.py: there is no file {path}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SystemExit(f"train.py: {path} cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise SystemExit(f"train.py: {path} is not valid YAML: {error}") from error
    if not isinstance(sections, dict):
        raise SystemExit(f"train.py: {path} must have the sections {', '.join(SECTIONS)}.")
    settings = {}
    for section, values in sections.items():
        if section not in SECTIONS:
            raise SystemExit(f"train.py: {path}: {_unknown(section, SECTIONS)}")
        if not isinstance(values, dict):
            raise SystemExit(f"train.py: {path}: the section {section!r} must hold lines of `name: value`.")
        for name, value in values.items():
            if name in settings:
                raise SystemExit(f"train.py: {path}: {name!r} stands in two sections.")
            settings[name] = value
    return settings


def _model_type(settings: dict[str, Any], arguments: list[str]) -> str:
    """The system to train, which says what other arguments there are."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--model_type", default=settings.get("model_type"))
    parser.add_argument("--model_name_or_path", default=settings.get("model_name_or_path"))
    known, _ = parser.parse_known_args(arguments)
    path = known.model_name_or_path
    if path is not None:
        adapter = adapter_config(path)
        path = path if adapter is None else adapter.base_model_name_or_path
        return AutoConfig.from_pretrained(path).model_type
    model_type = known.model_type or ModelArguments.model_type
    if model_type not in MODELS:
        raise SystemExit(f"train.py: `model_type` must be one of {', '.join(MODELS)}, got {model_type!r}.")
    return model_type


def config_names(model_type: str) -> set[str]:
    """What can be set of a model's configuration: its own fields, without the towers' configurations."""
    config_class = MODELS[model_type].config_class
    return (
        set(config_class.__dataclass_fields__)
        - set(PreTrainedConfig.__dataclass_fields__)
        - {*config_class.sub_configs}
    )


def processor_names(model_type: str) -> set[str]:
    """What can be set of a model's processor."""
    return set(inspect.signature(PROCESSORS[model_type].__init__).parameters) - {
        "self",
        "image_processor",
        "tokenizer",
        "kwargs",
    }


def _read_value(text: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506, it is a SafeLoader
    except yaml.YAMLError as error:
        raise argparse.ArgumentTypeError(f"not a YAML value: {text!r}") from error


def _unknown(name: str, known: Iterable[str]) -> str:
    nearest = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0)
    return f"there is no argument {name!r}. The nearest name is {nearest[0]!r}."


def load_posts(data_args: DataArguments, args: RelationTrainingArguments) -> datasets.DatasetDict:
    """The posts of the splits that the run uses, after the protocol that the arguments name.

    Raises:
        FileNotFoundError: if files, a split or images are missing.
        ValueError: if the data is bad.
    """
    posts = open_posts(
        data_args.dataset,
        data_dir=data_args.data_dir,
        files={
            "train": data_args.train_file,
            "validation": data_args.validation_file,
            "test": data_args.test_file,
        },
        image_dir=data_args.image_dir,
        regions=data_args.regions,
        captions=data_args.captions,
        on_missing_image=data_args.on_missing_image,
        use_images=data_args.use_images,
        num_synthetic_posts=data_args.num_synthetic_posts,
    )
    used = {"train": args.do_train, "validation": args.do_train or args.do_eval, "test": args.do_predict}
    missing = [split for split in used if used[split] and split not in posts]
    if missing:
        if not data_args.is_own:
            raise FileNotFoundError(f"{data_args.data_dir} has no text file for: {', '.join(missing)}.")
        raise FileNotFoundError(
            f"`dataset` {data_args.dataset!r} has no posts for: {', '.join(missing)}. With 'files', give "
            f"{', '.join(f'--{split}_file' for split in missing)}. Training needs validation posts, to keep the best "
            "checkpoint by; a run does without a test by --do_predict false."
        )
    limits = {
        "train": data_args.max_train_samples,
        "validation": data_args.max_eval_samples,
        "test": data_args.max_predict_samples,
    }
    for split in list(posts):
        if not used[split]:
            del posts[split]
            continue
        if limits[split] is not None:
            posts[split] = posts[split].select(range(min(limits[split], len(posts[split]))))
        if split == "train" and data_args.train_share != 1:
            posts[split] = sample_share(posts[split], data_args.train_share, args.seed)
        if split == "train" and data_args.samples_per_relation is not None:
            posts[split] = sample_per_relation(posts[split], data_args.samples_per_relation, args.seed)
        if data_args.align_noise:
            posts[split] = align_noise(posts[split], data_args.align_noise, args.seed)
        if data_args.aug_noise:
            posts[split] = aug_noise(posts[split], data_args.aug_noise, args.seed)
        if data_args.region_count_as_caption:
            posts[split] = region_count_as_caption(posts[split])
        elif not data_args.use_images:
            posts[split] = drop_pictures(posts[split])
        # What the Trainer groups posts by.
        posts[split] = posts[split].add_column("length", [len(text.split()) for text in posts[split]["text"]])
    return posts


def build(
    model_args: ModelArguments,
    values: dict[str, Any],
    relations: list[str],
    posts: datasets.DatasetDict,
    output_dir: Path,
) -> tuple[ProcessorMixin, PreTrainedModel | PeftModel]:
    """The processor and the model to train.

    Args:
        model_args: a checkpoint, or two encoders.
        values: values of the model's configuration and of its processor.
        relations: names of the relations in the order of their ids.
        posts: the data set; the vocabulary of a new text encoder is that of its training posts.
        output_dir: where new encoders are written for all processes, to `new_encoders`, and the model that adapters
            are trained for, to `base_model`.

    Returns:
        The processor and the model, with frozen encoders or adapters if asked for.

    Raises:
        ValueError: if the values are not the checkpoint's, it knows other relations, or texts can be too long.
        OSError: if an encoder or the checkpoint cannot be found.
    """
    labels = {"id2label": dict(enumerate(relations)), "label2id": {name: i for i, name in enumerate(relations)}}
    path = model_args.model_name_or_path
    if path is not None:
        processor = AutoProcessor.from_pretrained(path)
        model = load_model(path, is_trainable=True)
        for name, value in values.items():
            for saved in (model.config, processor):
                if hasattr(saved, name) and _plain(getattr(saved, name)) != _plain(value):
                    raise ValueError(
                        f"`{name}` is {value!r} here, but the checkpoint {path} was trained with "
                        f"{getattr(saved, name)!r}: leave it out, or give the checkpoint's own configuration."
                    )
        if model.config.label2id != labels["label2id"]:
            raise ValueError(f"{path} knows other relations than the data set: {sorted(model.config.label2id)}.")
    else:
        model_type, text, vision = model_args.model_type, model_args.text_encoder, model_args.vision_encoder
        if text is None:
            texts = posts["train"]["text"]
            text = make_text_encoder(output_dir / "new_encoders" / "text", model_args.new_text_encoder, texts)
        if vision is None:
            vision = make_vision_encoder(output_dir / "new_encoders" / "vision", model_args.new_vision_encoder)
        processor = PROCESSORS[model_type].from_encoders(text, vision, **_only(values, processor_names(model_type)))
        model = MODELS[model_type].from_encoders(
            text, vision, vocab_size=len(processor.tokenizer), **labels, **_only(values, config_names(model_type))
        )
    positions = getattr(model.config.text_config, "max_position_embeddings", processor.max_length)
    if processor.max_length > min(positions, processor.tokenizer.model_max_length):
        raise ValueError(
            f"`max_length` is {processor.max_length}, but the text encoder reads at most "
            f"{min(positions, processor.tokenizer.model_max_length)} tokens."
        )
    for modality in ("text", "vision"):
        if getattr(model_args, f"freeze_{modality}"):
            for encoder in model.encoders(modality):
                encoder.requires_grad_(False)
    if model_args.lora_rank is not None:
        if isinstance(model, PeftModel):
            raise ValueError(f"{path} is an adapter already: leave `lora_rank` out to go on training it.")
        if path is None and PartialState().is_main_process:
            # An adapter is loaded on top of the model that it was trained on: here, the encoders and new layers.
            model.save_pretrained(output_dir / "base_model")
            processor.save_pretrained(output_dir / "base_model")
        model = add_adapters(model, processor, model_args, str(path or (output_dir / "base_model").absolute()))
    return processor, model


def add_adapters(
    model: PreTrainedModel, processor: ProcessorMixin, model_args: ModelArguments, base_model: str
) -> PeftModel:
    """Put LoRA adapters into the linear layers of the encoders; the layers between them are trained in full.

    Args:
        model: the model.
        processor: its processor, whose entity markers are new words of the text encoder: their embeddings are trained.
        model_args: `lora_rank`, and which encoder is frozen: it gets no adapter.
        base_model: name or path from which the model without adapters can be loaded.
    """
    frozen = [
        encoder
        for name in ("text", "vision")
        if getattr(model_args, f"freeze_{name}")
        for encoder in model.encoders(name)
    ]
    encoders = {name: module for name, module in model.named_children() if module in model.encoders()}
    linear = {
        name.rpartition(".")[2]
        for encoder in encoders.values()
        for name, module in encoder.named_modules()
        if isinstance(module, nn.Linear)
    }
    adapted = [name for name, encoder in encoders.items() if encoder not in frozen]
    in_full = []
    for name, module in model.named_children():
        if name not in encoders and any(True for _ in module.parameters()):
            # PEFT wraps modules one by one: a list of modules would no longer be one.
            in_full += [f"{name}.{i}" for i in range(len(module))] if isinstance(module, nn.ModuleList) else [name]
    markers = None
    if not model_args.freeze_text:
        embeddings = next(name for name, module in model.named_modules() if module is model.get_input_embeddings())
        markers = {embeddings: processor.tokenizer.convert_tokens_to_ids(processor.entity_markers)}
    config = LoraConfig(
        r=model_args.lora_rank,
        lora_alpha=2 * model_args.lora_rank,
        target_modules=rf"({'|'.join(adapted)})\..*\.({'|'.join(sorted(linear))})",
        modules_to_save=in_full,
        trainable_token_indices=markers,
    )
    adapted_model = get_peft_model(model, config)
    config.base_model_name_or_path = base_model
    return adapted_model


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def make_text_encoder(folder: Path, config: dict[str, Any], texts: Iterable[str]) -> Path:
    """Save a new BERT and its tokenizer; its vocabulary is the words and the characters of the texts."""
    backend = BertTokenizer().backend_tokenizer
    words = Counter(
        word
        for text in texts
        for word, _ in backend.pre_tokenizer.pre_tokenize_str(backend.normalizer.normalize_str(text))
    )
    characters = sorted({character for word in words for character in word})
    # Not with the trainers of `tokenizers`: they learn another vocabulary each time.
    vocabulary = [*SPECIAL_TOKENS, *characters, *(f"##{c}" for c in characters)]
    vocabulary += [word for word, _ in words.most_common() if len(word) > 1]
    vocabulary = vocabulary[: config.get("vocab_size", len(vocabulary))]
    tokenizer = BertTokenizer(vocab={token: index for index, token in enumerate(vocabulary)})
    tokenizer.save_pretrained(folder)
    encoder_config = AutoConfig.for_model("bert", **config | {"vocab_size": len(tokenizer)})
    AutoModel.from_config(encoder_config, dtype=torch.float32).save_pretrained(folder)
    return folder


def make_vision_encoder(folder: Path, config: dict[str, Any]) -> Path:
    """Save a new CLIP vision encoder and its image processor."""
    model = AutoModel.from_config(AutoConfig.for_model("clip_vision_model", **config), dtype=torch.float32)
    model.save_pretrained(folder)
    size = model.config.image_size
    CLIPImageProcessorPil(size={"shortest_edge": size}, crop_size={"height": size, "width": size}).save_pretrained(
        folder
    )
    return folder


def _only(values: dict[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name in names}


def protocol_facts(posts: datasets.DatasetDict, data_args: DataArguments, reads_captions: bool) -> dict[str, Any]:
    """Describe the regions, pictures and noise behind the results of these arguments."""
    return describe_posts(
        posts,
        dataset=data_args.dataset,
        reads_captions=reads_captions,
        regions=data_args.regions,
        captions=data_args.captions,
        use_images=data_args.use_images,
        region_count_as_caption=data_args.region_count_as_caption,
        align_noise=data_args.align_noise,
        aug_noise=data_args.aug_noise,
        train_share=data_args.train_share,
        samples_per_relation=data_args.samples_per_relation,
    )


def find_checkpoint(output_dir: Path, args: RelationTrainingArguments, settings: dict[str, Any]) -> str | None:
    """The checkpoint to go on from; none to start anew.

    Raises:
        SystemExit: if there is none to go on from, it belongs to another run, or a new run would mix with an old one.
    """
    asked = args.resume_from_checkpoint
    asked = None if asked is None or str(asked).lower() in ("false", "") else str(asked)
    # A checkpoint that was stopped while it was written has no state yet.
    whole = [path for path in output_dir.glob("checkpoint-*") if (path / "trainer_state.json").is_file()]
    if asked is None:
        if whole and args.do_train:
            raise SystemExit(
                f"train.py: {output_dir} holds the checkpoints of an earlier run: go on with it by "
                "--resume_from_checkpoint true, or set another --output_dir."
            )
        return None
    if asked.lower() != "true":
        return asked
    if not whole:
        raise SystemExit(f"train.py: there is no checkpoint in {output_dir} to go on from.")
    before = yaml.safe_load((output_dir / "resolved_config.yaml").read_text("utf-8"))
    now = yaml.safe_load(yaml.safe_dump(settings))
    for section in SECTIONS:
        for name in sorted({*before[section], *now[section]}):
            if before[section].get(name) != now[section].get(name):
                raise SystemExit(
                    f"train.py: the run in {output_dir} has {name}: {before[section].get(name)!r}, not "
                    f"{now[section].get(name)!r}: repeat its arguments, or set another --output_dir."
                )
    return str(max(whole, key=lambda path: int(path.name.split("-")[1])))


def resolved_settings(
    model_args: ModelArguments, data_args: DataArguments, args: RelationTrainingArguments, model_values: dict[str, Any]
) -> dict[str, Any]:
    """What repeats the run: all values of `model` and `data`, of `training` those that every report of a training names
    and those that are not the defaults."""
    training = {"output_dir": args.output_dir, "seed": args.seed}
    values = args.to_dict()
    for argument in dataclasses.fields(args):
        name, default = argument.name, argument.default
        if not argument.init or name.endswith("_token") or name == "resume_from_checkpoint":
            continue
        if argument.default_factory is not dataclasses.MISSING:
            default = argument.default_factory()
        default = default.value if isinstance(default, Enum) else default
        value = values[name]
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        # Empty values are what transformers puts in where nothing is the default.
        empty = not default or default == "none"
        filled_in = name in ("accelerator_config", "fsdp_config") or (empty and value in (False, [], {}))
        if (args.do_train and name in HYPERPARAMETERS) or (value != default and not filled_in):
            training[name] = value
    return {"model": vars(model_args) | model_values, "data": vars(data_args), "training": training}


def write_settings(output_dir: Path, settings: dict[str, Any], args: RelationTrainingArguments) -> None:
    """Write `resolved_config.yaml`, to be given to this script again, and `environment.json`."""
    output_dir.mkdir(parents=True, exist_ok=True)
    (output_dir / "resolved_config.yaml").write_text(yaml.safe_dump(settings, sort_keys=False), "utf-8")
    model = settings["model"]
    sources = [model["model_name_or_path"]] if model["model_name_or_path"] else []
    sources = sources or [model["text_encoder"], model["vision_encoder"]]
    packages = ("mmre", "torch", "transformers", "datasets", "accelerate", "evaluate", "pillow", "numpy", "tokenizers")
    write_json(
        output_dir / "environment.json",
        {
            "seed": args.seed,
            "device": str(args.device),
            "processes": args.world_size,
            "python": platform.python_version(),
            "platform": platform.platform(),
            # What is no folder came from the Hub: so `from_pretrained` takes a name.
            "base_models": [name for name in sources if name is not None and not Path(name).is_dir()],
            "packages": {name: metadata.version(name) for name in packages},
        },
    )


def write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")


def what_next(output_dir: Path, model_type: str) -> str:
    """What a user may want to do after a training."""
    return "\n".join(
        [
            f"Results are in {output_dir}: metrics.json, predictions.jsonl, results.md.",
            "What to try next:",
            "  load it:            import mmre.modeling, mmre.processing",
            f"                      model = AutoModel.from_pretrained({str(output_dir)!r})",
            f"                      processor = AutoProcessor.from_pretrained({str(output_dir)!r})",
            f"  run it again:       python train.py {output_dir / 'resolved_config.yaml'}",
            "  change one thing:   ... --seed 1 --output_dir another/folder",
            f"  train on MNRE:      python train.py configs/{model_type}_mnre.yaml --data_dir path/of/mnre",
        ]
    )


if __name__ == "__main__":
    start_processes()
    main(sys.argv[1:])
