"""The orders in which posts are trained on and evaluated."""

from collections.abc import Hashable, Iterator, Sequence

import torch
from torch.utils.data import Sampler
from transformers.trainer_pt_utils import LengthGroupedSampler

from mmre.posts.picture_order import picture_groups, together

# Batches that are drawn at random together, and ordered among themselves; as many as transformers takes.
BATCHES_IN_A_DRAW = 50


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


class PictureGroupedSampler(EpochLengthGroupedSampler):
    """Puts posts of one picture into one batch, beside others of their length; the seed and the epoch decide the rest.

    Pictures are drawn at random, for some batches at once, and these are ordered by [`together`].

    Args:
        batch_size: number of posts of a step, of all processes.
        lengths: of the text of each post.
        keys: of the picture of each post, see [`~mmre.posts.fingerprint.picture_keys`].
        seed: of the order.
    """

    def __init__(self, batch_size: int, lengths: list[int], keys: Sequence[Hashable | None], seed: int):
        super().__init__(batch_size, lengths, seed)
        self.keys = keys

    def __iter__(self) -> Iterator[int]:
        self.generator.manual_seed(self.seed + self.epoch)
        drawn, groups = [], picture_groups(self.keys)
        for index in torch.randperm(len(groups), generator=self.generator).tolist():
            drawn += groups[index]
        size = self.batch_size * BATCHES_IN_A_DRAW
        for start in range(0, len(drawn), size):
            part = drawn[start : start + size]
            order = together([self.keys[number] for number in part], [self.lengths[number] for number in part])
            yield from (part[place] for place in order)


class OrderSampler(Sampler):
    """Gives the numbers of an order one by one."""

    def __init__(self, order: Sequence[int]):
        self.order = order

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[int]:
        return iter(self.order)


__all__ = ["EpochLengthGroupedSampler", "OrderSampler", "PictureGroupedSampler"]
