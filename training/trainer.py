"""The Trainer, where its defaults differ from what the papers say or our files need."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import datasets
import torch
from torch import nn
from torch.utils.data import DataLoader, SequentialSampler
from transformers import Trainer
from transformers.trainer_pt_utils import LengthGroupedSampler
from transformers.trainer_utils import EvalLoopOutput

from mmre.evaluation.scores import check_finite_weights
from mmre.model_cards.publishing import complete
from mmre.posts.fingerprint import picture_keys
from mmre.posts.picture_order import together

from .sampler import EpochLengthGroupedSampler, OrderSampler, PictureGroupedSampler


class RelationTrainer(Trainer):
    """transformers' Trainer with the papers' weight decay, resumable batches, and checkpoints that load anywhere.

    `posts_trained` counts the posts of all steps, each as often as it was seen, and `seconds_aside` the seconds between
    the steps for logs, evaluations and checkpoints: `train_runtime` holds them, too.
    """

    posts_trained = 0
    seconds_aside = 0.0

    def __init__(self, *args, **kwargs):
        self._orders = {}
        super().__init__(*args, **kwargs)

    def get_decay_parameter_names(self, model: nn.Module) -> list[str]:
        """Return the names of the parameters that decay, by `weight_decay_on`."""
        names = [name for name, _ in model.named_parameters()]
        if self.args.weight_decay_on == "all":
            return names
        return [name for name in names if not name.endswith("bias")]

    def create_optimizer(self, *args, **kwargs) -> torch.optim.Optimizer:
        """Make the optimizer.

        Raises:
            RuntimeError: if a trainable parameter is not in it. In four published code bases the classifier was never
                trained.
        """
        optimizer = super().create_optimizer(*args, **kwargs)
        optimized = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad and id(parameter) not in optimized:
                raise RuntimeError(f"The trainable parameter {name} is not in the optimizer.")
        return optimizer

    def training_step(self, model: nn.Module, inputs: Mapping[str, Any], *args, **kwargs) -> torch.Tensor:
        """Take a step on a batch of each process, and count its posts."""
        self.posts_trained += len(inputs["labels"]) * self.args.world_size
        return super().training_step(model, inputs, *args, **kwargs)

    def _maybe_log_save_evaluate(self, *args, **kwargs) -> None:
        started = time.perf_counter()
        super()._maybe_log_save_evaluate(*args, **kwargs)
        self.seconds_aside += time.perf_counter() - started

    def create_model_card(self, *args, **kwargs) -> None:
        """Write nothing: each `push_to_hub` would put the Trainer's draft in place of our card."""

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        # Here, for neither the loss says it, of which the Trainer logs no NaN, nor an evaluation where there is none.
        check_finite_weights(self.model.state_dict() if state_dict is None else state_dict, "the model")
        token, self.args.hub_token = self.args.hub_token, None  # `training_args.bin` holds all arguments
        try:
            super()._save(output_dir, state_dict)
        finally:
            self.args.hub_token = token
        if self.args.should_save:
            complete(output_dir or self.args.output_dir)

    def _get_train_sampler(self, train_dataset: datasets.Dataset | None = None) -> torch.utils.data.Sampler:
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        # Of the batches of all processes together: so several of them see the batches that one would.
        batch_size = self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
        if self.args.train_sampling_strategy == "group_by_picture":
            rows = self.train_dataset if train_dataset is None else train_dataset
            return PictureGroupedSampler(batch_size, rows["length"][:], picture_keys(rows), seed)
        sampler = super()._get_train_sampler(train_dataset)
        if not isinstance(sampler, LengthGroupedSampler):
            return sampler
        return EpochLengthGroupedSampler(batch_size, lengths=sampler.lengths, seed=seed)

    def get_eval_dataloader(self, *args, **kwargs) -> DataLoader:
        """Return the batches to evaluate on: all posts, also where `dataloader_drop_last` trains on whole batches."""
        with self._all_batches():
            return super().get_eval_dataloader(*args, **kwargs)

    def get_test_dataloader(self, *args, **kwargs) -> DataLoader:
        """Return the batches to predict: all posts."""
        with self._all_batches():
            return super().get_test_dataloader(*args, **kwargs)

    @contextmanager
    def _all_batches(self) -> Iterator[None]:
        drop_last, self.args.dataloader_drop_last = self.args.dataloader_drop_last, False
        try:
            yield
        finally:
            self.args.dataloader_drop_last = drop_last

    def _get_eval_sampler(self, eval_dataset: datasets.Dataset) -> torch.utils.data.Sampler:
        # Under group_by_length the Trainer reorders evaluation too: predictions would not match the posts' ids.
        order = self._evaluation_order(eval_dataset)
        return SequentialSampler(eval_dataset) if order is None else OrderSampler(order)

    def evaluation_loop(self, dataloader: DataLoader, *args, **kwargs) -> EvalLoopOutput:
        """Evaluate, and return predictions and labels in the order of the posts."""
        output, order = super().evaluation_loop(dataloader, *args, **kwargs), self._evaluation_order(dataloader.dataset)
        if order is None:
            return output
        places = torch.tensor(order).argsort().numpy()
        values = {name: getattr(output, name) for name in ("predictions", "label_ids")}
        return output._replace(**{name: value if value is None else value[places] for name, value in values.items()})

    def _evaluation_order(self, rows: Any) -> list[int] | None:
        """Return the order to evaluate posts in, see [`together`]; none for what is no data set of posts."""
        if not isinstance(rows, datasets.Dataset) or not {"length", "image"} <= {*rows.column_names}:
            return None
        if rows._fingerprint not in self._orders:
            shows_pictures = bool(getattr(self.processing_class, "picture_input_names", ()))
            keys = picture_keys(rows) if shows_pictures else [None] * len(rows)
            self._orders[rows._fingerprint] = together(keys, rows["length"][:])
        return self._orders[rows._fingerprint]


__all__ = ["RelationTrainer"]
