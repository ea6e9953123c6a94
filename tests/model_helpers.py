"""What the tests of the two models share."""

from collections import Counter

import torch
from torch.utils._python_dispatch import TorchDispatchMode


def take(batch: dict[str, torch.Tensor], posts) -> dict[str, torch.Tensor]:
    """Some posts of a batch, by number."""
    return {name: values[posts] for name, values in batch.items()}


class CountOperations(TorchDispatchMode):
    """Counts torch's operations by name."""

    def __init__(self):
        super().__init__()
        self.counts = Counter()

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        self.counts[str(function)] += 1
        return function(*arguments, **(keywords or {}))
