"""The order in which posts are trained on."""

import torch
from transformers.trainer_pt_utils import LengthGroupedSampler


class EpochLengthGroupedSampler(LengthGroupedSampler):
    """Groups posts by length in an order that the seed and the epoch alone decide.

    The Trainer's own draws from the global generator: resumed within an epoch it would go on in another order.
    """

    def __init__(self, batch_size: int, lengths: list[int], seed: int):
        super().__init__(batch_size, lengths=lengths, generator=torch.Generator())
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Take the epoch's number, which the Trainer gives at its start."""
        self.epoch = epoch

    def __iter__(self):
        self.generator.manual_seed(self.seed + self.epoch)
        return super().__iter__()


__all__ = ["EpochLengthGroupedSampler"]
