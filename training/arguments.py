"""Arguments of a run: which model, which posts, and how to train."""

import json
import math
import operator
from dataclasses import dataclass, field
from typing import Any

import torch
from accelerate.utils import TorchDynamoPlugin
from transformers import PreTrainedConfig, Trainer, TrainingArguments, get_scheduler
from transformers.integrations import get_available_reporting_integrations

from mmre.modeling import MODELS
from mmre.posts.sources import MADE_DATA, REGION_SOURCES, kind_of_data
from mmre.processing.suggestions import unknown

MODALITIES = ("text", "vision")
# Optimizers that are made of the model: without it, only whether their package is there can be told.
OF_THE_MODEL = ("galore", "apollo", "lomo", "adalomo")
SAMPLING_STRATEGIES = ("group_by_length", "random", "sequential", "group_by_picture")
SELECTION_METRICS = ("f1", "accuracy", "precision", "recall", "loss")


def encoders_of(config_class: type[PreTrainedConfig]) -> list[str]:
    """Return the modalities of the pretrained encoders that a system has: of `"text"` and `"vision"`."""
    return [modality for modality in MODALITIES if f"{modality}_config" in config_class.sub_configs]


@dataclass
class ModelArguments:
    """Arguments of the model: a checkpoint, or new layers on encoders, each pretrained or new."""

    model_type: str = field(default="focalmre", metadata={"help": f"System: {', '.join(sorted(MODELS))}."})
    model_name_or_path: str | None = field(
        default=None, metadata={"help": "Checkpoint of a system to go on from, instead of encoders."}
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
        default=None,
        metadata={
            "help": "Configuration of a vision encoder to train from scratch: a CLIP, or a ResNet for systems that "
            "read feature maps."
        },
    )
    word_vectors: str | None = field(
        default=None,
        metadata={
            "help": "File of word vectors in GloVe's text format, for systems without a text encoder; the words of the "
            "training posts get new vectors if not given."
        },
    )
    max_words: int | None = field(
        default=None, metadata={"help": "Use only the first words of `word_vectors`, in GloVe's files the most usual."}
    )
    new_classifier: bool = field(
        default=False,
        metadata={
            "help": "Throw the classifier of `model_name_or_path` away, and train a new one for the posts' relations."
        },
    )
    lora_rank: int | None = field(
        default=None, metadata={"help": "Train adapters of this rank in the encoders, and all layers between them."}
    )
    freeze_text: bool = field(default=False, metadata={"help": "Leave the text encoder as it is."})
    freeze_vision: bool = field(default=False, metadata={"help": "Leave the vision encoder as it is."})
    feature_cache: str | None = field(
        default=None, metadata={"help": "Folder to keep what a frozen vision encoder makes of each picture."}
    )

    def __post_init__(self):
        if self.model_type not in MODELS:
            raise ValueError(unknown("model_type", self.model_type, MODELS))
        encoders = encoders_of(MODELS[self.model_type].config_class)
        for modality in MODALITIES:
            self._check_encoder(modality, modality in encoders)
        if self.word_vectors is not None and ("text" in encoders or self.model_name_or_path is not None):
            reason = f"{self.model_type} has a text encoder" if "text" in encoders else "a checkpoint has its own words"
            raise ValueError(f"`word_vectors`: {reason}: leave it out.")
        if self.max_words is not None and self.word_vectors is None:
            raise ValueError("`max_words` is of `word_vectors`: leave it out.")
        if self.lora_rank is not None and not encoders:
            raise ValueError(f"`lora_rank`: {self.model_type} has no pretrained encoder for adapters: leave it out.")
        check_numbers(self, least={"lora_rank": 1, "max_words": 1})
        if self.feature_cache is not None and not self.freeze_vision:
            raise ValueError("`feature_cache` is for those of a frozen vision encoder: set `freeze_vision` true.")
        if self.new_classifier and self.model_name_or_path is None:
            raise ValueError("`new_classifier` is for `model_name_or_path`: on encoders, every classifier is new.")
        if self.lora_rank is not None and all(getattr(self, f"freeze_{modality}") for modality in encoders):
            raise ValueError("`lora_rank` puts adapters into the encoders: it cannot stand beside all of them frozen.")

    def _check_encoder(self, modality: str, has_encoder: bool) -> None:
        pretrained, new, freeze = encoder_arguments(modality)
        if isinstance(getattr(self, new), str):
            try:
                setattr(self, new, json.loads(getattr(self, new)))
            except json.JSONDecodeError as error:
                raise ValueError(f"`{new}` must be JSON, got {getattr(self, new)!r}: {error}") from error
        given = [getattr(self, pretrained), getattr(self, new)]
        if not has_encoder:
            for name in (pretrained, new, freeze):
                if getattr(self, name) not in (None, False):
                    raise ValueError(f"{self.model_type} has no {modality} encoder: leave `{name}` out.")
        elif self.model_name_or_path is None and given.count(None) != 1:
            raise ValueError(
                f"Set either `{pretrained}`, a name or path, or `{new}`, a configuration "
                f"(or `model_name_or_path`, a checkpoint); got {given[0]!r} and {given[1]!r}."
            )


def encoder_arguments(modality: str) -> tuple[str, str, str]:
    """Return the names of the arguments about the encoder of a modality: pretrained, new, frozen."""
    return f"{modality}_encoder", f"new_{modality}_encoder", f"freeze_{modality}"


@dataclass
class DataArguments:
    """Arguments of the posts to train and evaluate on."""

    dataset: str = field(
        default="mnre",
        metadata={
            "help": "'mnre', 'synthetic', 'digits', 'files' (your own, see `train_file`), a folder of such files, as "
            "`mmre import` writes it, or a data set in the same schema: its name on the Hub or the path of its folder."
        },
    )
    data_dir: str | None = field(default=None, metadata={"help": "Folder of the MNRE files."})
    train_file: str | None = field(default=None, metadata={"help": "CSV or JSON lines to train on, with 'files'."})
    validation_file: str | None = field(
        default=None, metadata={"help": "CSV or JSON lines to choose the checkpoint by, with 'files'."}
    )
    test_file: str | None = field(
        default=None, metadata={"help": "CSV or JSON lines to test on at the end, with 'files'."}
    )
    image_dir: str | None = field(
        default=None,
        metadata={"help": "Folder of the pictures, if not below `data_dir`, or not where the posts' own files are."},
    )
    regions: str | None = field(
        default=None,
        metadata={
            "help": "Of MNRE 'released' (the default; they leak the label), 'detected' (the detected ones of these, "
            "which do not), 'none', or the path of an annotation file. Of posts of your own 'as given' (the default), "
            "'none', or the path of an annotation file."
        },
    )
    captions: list[str] | None = field(default=None, metadata={"help": "Caption files, or an annotation file."})
    picture_cache: str | None = field(
        default=None,
        metadata={
            "help": "Folder to keep decoded, scaled pictures in, for this run and others; their values stay the same."
        },
    )
    on_missing_image: str = field(
        default="error", metadata={"help": "'error', or 'text_only' to use such posts without a picture."}
    )
    use_images: bool = field(default=True, metadata={"help": "Use the pictures; if not, none is looked for or loaded."})
    region_count_as_caption: bool = field(
        default=False,
        metadata={"help": "Replace pictures and regions by the number of grounded regions, as the caption."},
    )
    num_synthetic_posts: int = field(
        default=2000, metadata={"help": "Training posts to make, with 'synthetic' or 'digits'."}
    )
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
            self.regions = REGION_SOURCES[self.kind][0]
        files = [self.train_file, self.validation_file, self.test_file]
        if self.dataset != "files" and any(files):
            raise ValueError(f"`train_file` and the others belong to `dataset` 'files', not {self.dataset!r}.")
        if self.is_own and self.regions in ("released", "detected", "drawn"):
            raise ValueError(
                f"`regions` of `dataset` {self.dataset!r} is 'as given', 'none' or the path of an annotation file, not "
                f"{self.regions!r}."
            )
        if self.is_own and self.captions and len(self.captions) > 1:
            raise ValueError(f"`captions` of `dataset` {self.dataset!r} is one annotation file, not {self.captions!r}.")
        if self.picture_cache is not None and not self.use_images:
            raise ValueError("`picture_cache` keeps pictures, and `use_images` is false: leave it out.")
        counts = ("num_synthetic_posts", "samples_per_relation", "max_train_samples", "max_eval_samples")
        check_numbers(self, least=dict.fromkeys((*counts, "max_predict_samples"), 1))
        shares = ("align_noise", "aug_noise", "train_share")
        check_numbers(self, least=dict.fromkeys(shares, 0), most=dict.fromkeys(shares, 1))
        if self.train_share != 1 and self.samples_per_relation is not None:
            raise ValueError("`train_share` and `samples_per_relation` are two ways to draw posts: set one.")
        if self.region_count_as_caption and (self.use_images or self.captions):
            raise ValueError(
                "`region_count_as_caption` takes the place of the rest: set `use_images` false, no `captions`."
            )
        if self.kind == "mnre" and self.region_count_as_caption and self.regions == "detected":
            raise ValueError(
                "`region_count_as_caption` counts grounded regions, and `regions` 'detected' has none: set 'released', "
                "or the path of an annotation file."
            )
        if self.kind == "mnre" and not (self.use_images or self.region_count_as_caption or self.regions == "none"):
            raise ValueError(
                f"Without pictures (`use_images` false) there is no use for `regions` {self.regions!r}: set 'none'."
            )

    @property
    def places(self) -> dict[str, Any]:
        """Return where the posts are, as [`~mmre.posts.sources.check_places`] takes it."""
        return {
            "data": self.dataset,
            "data_dir": self.data_dir,
            "files": {"train": self.train_file, "validation": self.validation_file, "test": self.test_file},
            "image_dir": self.image_dir,
            "regions": self.regions,
            "captions": self.captions,
            "on_missing_image": self.on_missing_image,
        }

    @property
    def kind(self) -> str:
        """Return the kind of data, see [`~mmre.posts.sources.kind_of_data`]."""
        return kind_of_data(self.dataset)

    @property
    def is_own(self) -> bool:
        """Return whether the posts are a user's own."""
        return self.kind not in ("mnre", *MADE_DATA)


@dataclass
class RelationTrainingArguments(TrainingArguments):
    """transformers' arguments, with defaults that train, keep the best checkpoint by validation F1, and test it."""

    do_train: bool = field(default=True, metadata={"help": "Train."})
    do_eval: bool = field(default=True, metadata={"help": "Evaluate on the validation split."})
    do_predict: bool = field(default=True, metadata={"help": "Evaluate on the test split, at the end."})
    eval_strategy: str = field(
        default="epoch",
        metadata={"help": "When to evaluate on the validation split.", "choices": ["no", "steps", "epoch"]},
    )
    save_strategy: str = field(
        default="epoch",
        metadata={"help": "When to save a checkpoint.", "choices": ["no", "steps", "epoch", "best"]},
    )
    save_total_limit: int | None = field(
        default=2, metadata={"help": "Checkpoints to keep: with two, the best and the last."}
    )
    load_best_model_at_end: bool = field(default=True, metadata={"help": "End with the best checkpoint."})
    metric_for_best_model: str | None = field(default="f1", metadata={"help": "What the best checkpoint is best by."})
    train_sampling_strategy: str = field(
        default="group_by_length",
        metadata={
            "help": "'group_by_length', 'random', 'sequential', or 'group_by_picture', which puts posts of one picture "
            "into one batch, where it is encoded once.",
            "choices": [*SAMPLING_STRATEGIES],
        },
    )
    remove_unused_columns: bool = field(
        default=False, metadata={"help": "Leave it false: the collator needs the raw posts."}
    )
    # Without an image in a process's batch, or with an encoder's unused pooler, some parameters get no gradient.
    ddp_find_unused_parameters: bool | None = field(default=True, metadata={"help": "See DistributedDataParallel."})
    weight_decay: float = field(
        default=0.0, metadata={"help": "Weight decay of the parameters that `weight_decay_on` names."}
    )
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
        self._check_numbers()
        self._refuse_what_nothing_comes_of()
        do_eval = self.do_eval
        if not do_eval:
            # Without evaluation there is no best checkpoint: the last one is the model.
            if self.early_stopping_patience is not None:
                raise ValueError("`early_stopping_patience` needs an evaluation: leave `do_eval` true.")
            self.eval_strategy, self.load_best_model_at_end, self.metric_for_best_model = "no", False, None
        super().__post_init__()
        self._try_what_the_trainer_makes()
        self.do_eval = do_eval  # transformers sets it wherever evaluation has a strategy

    def _check_numbers(self) -> None:
        """Refuse numbers with which nothing is trained, or no training is possible."""
        batches = ("per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps")
        check_numbers(
            self,
            above={
                "num_train_epochs": 0 if self.max_steps <= 0 else -1,
                **dict.fromkeys(("logging_steps", "eval_steps", "save_steps"), 0),
            },
            below=dict.fromkeys(("label_smoothing_factor", "adam_beta1", "adam_beta2"), 1),
            least=dict.fromkeys((*batches, "early_stopping_patience", "eval_accumulation_steps", "save_total_limit"), 1)
            | {"eval_delay": 0}
            | dict.fromkeys(("label_smoothing_factor", "adam_beta1", "adam_beta2", "adam_epsilon"), 0)
            | dict.fromkeys(
                ("learning_rate", "warmup_steps", "weight_decay", "max_grad_norm", "dataloader_num_workers", "seed"), 0
            )
            | {"max_steps": 1 if self.max_steps != -1 else -1},
        )

        by_epochs = self.do_eval and self.eval_strategy == "epoch" and self.max_steps <= 0
        if by_epochs and self.load_best_model_at_end and self.eval_delay > self.num_train_epochs:
            raise ValueError(
                f"`eval_delay` is {self.eval_delay}, but there are {self.num_train_epochs:g} epochs: no checkpoint "
                "would be chosen; set a smaller one, or `do_eval` false to keep the last."
            )

    def _try_what_the_trainer_makes(self) -> None:
        """Refuse an optimizer, a schedule or a compiler that the Trainer cannot make, or whose package is missing."""
        optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        steps = {"num_warmup_steps": 0, "num_training_steps": 1, "scheduler_specific_kwargs": self.lr_scheduler_kwargs}
        makes = {
            "optim": lambda: Trainer.get_optimizer_cls_and_kwargs(self),
            "lr_scheduler_type": lambda: get_scheduler(self.lr_scheduler_type, optimizer, **steps),
            "torch_compile_backend": lambda: TorchDynamoPlugin(self.torch_compile_backend, self.torch_compile_mode),
        }
        for name, make in makes.items():
            try:
                make()
            except (ImportError, ValueError, TypeError) as error:
                of_the_model = name == "optim" and self.optim.value.startswith(OF_THE_MODEL)
                if isinstance(error, ImportError) or not of_the_model:
                    value = getattr(self, name)
                    reason = " ".join(str(error).split())
                    raise ValueError(f"`{name}` {getattr(value, 'value', value)!r}: {reason}") from error

    def _refuse_what_nothing_comes_of(self) -> None:
        """Refuse arguments of the Trainer that end without a result, or with an error after the posts were read."""
        reentrant = [
            name
            for name in ("gradient_checkpointing_kwargs", "activation_checkpointing_kwargs")
            if _read_json(getattr(self, name, None)).get("use_reentrant")
        ]
        refused = {
            "eval_do_concat_batches": (not self.eval_do_concat_batches, "F1 is that of all posts together"),
            "prediction_loss_only": (self.prediction_loss_only, "F1 needs the predictions"),
            "batch_eval_metrics": (self.batch_eval_metrics, "F1 is that of all posts together"),
            "remove_unused_columns": (self.remove_unused_columns, "the collator reads the posts as they are"),
            "label_names": (self.label_names not in (None, ["labels"]), "the models call them `labels`"),
            "use_liger_kernel": (self.use_liger_kernel, "there are no such kernels for these systems"),
            "length_column_name": (self.length_column_name != "length", "the posts' lengths are in `length`"),
            "debug": (
                "underflow_overflow" in str(self.debug),
                "it cannot look at masks",
            ),
            "dataloader_persistent_workers": (
                self.dataloader_persistent_workers and not self.dataloader_num_workers,
                "`dataloader_num_workers` is 0",
            ),
            **dict.fromkeys(reentrant, (True, "reentrant checkpointing loses gradients where an encoder is frozen")),
        }
        for name, (is_set, reason) in refused.items():
            if is_set:
                raise ValueError(f"`{name}` is {getattr(self, name)!r}, but {reason}: leave it out.")
        if self.train_sampling_strategy not in SAMPLING_STRATEGIES:
            raise ValueError(unknown("train_sampling_strategy", self.train_sampling_strategy, SAMPLING_STRATEGIES))
        metric = self.metric_for_best_model
        if metric is not None and metric.removeprefix("eval_") not in SELECTION_METRICS:
            raise ValueError(unknown("metric_for_best_model", metric, SELECTION_METRICS))
        reports = [self.report_to] if isinstance(self.report_to, str) else self.report_to or []
        available = get_available_reporting_integrations()
        for name in reports:
            if name not in ("all", "none", *available):
                raise ValueError(f"`report_to` {name!r} is not installed; here are: {', '.join(['none', *available])}.")


def _read_json(value: dict | str | None) -> dict:
    return json.loads(value) if isinstance(value, str) else value or {}


def check_numbers(
    arguments: Any,
    least: dict[str, float] | None = None,
    above: dict[str, float] | None = None,
    most: dict[str, float] | None = None,
    below: dict[str, float] | None = None,
) -> None:
    """Check that numbers are finite and within bounds; those that are not set are left alone.

    Args:
        arguments: an object with the numbers.
        least: the least value of each, by name.
        above: what each must be above, by name.
        most: the largest value of each, by name.
        below: what each must be below, by name.

    Raises:
        ValueError: a number is too small, too large, infinite, or NaN.
    """
    checks = (
        (least, operator.ge, "at least"),
        (above, operator.gt, "more than"),
        (most, operator.le, "at most"),
        (below, operator.lt, "less than"),
    )
    for bounds, is_good, words in checks:
        for name, bound in (bounds or {}).items():
            value = getattr(arguments, name)
            if value is not None and not (is_good(value, bound) and math.isfinite(value)):
                raise ValueError(f"`{name}` is {value}; expected {words} {bound}.")


__all__ = ["DataArguments", "ModelArguments", "RelationTrainingArguments", "encoders_of"]
