"""What a run costs is what was measured."""

import sys

import pytest
import torch
from torch import nn

from mmre.evaluation.cost import count_parameters, describe_device, measure_cost, peak_memory

CPU = torch.device("cpu")


def test_shared_parameters_count_once_and_frozen_ones_are_not_trained():
    model = nn.ModuleDict({"embedding": nn.Embedding(5, 3), "linear": nn.Linear(3, 5), "frozen": nn.Linear(3, 2)})
    model["linear"].weight = model["embedding"].weight
    model["frozen"].requires_grad_(False)
    assert count_parameters(model) == {"parameters": 15 + 5 + 8, "trained_parameters": 15 + 5}


def test_times_are_per_post_and_null_where_there_was_nothing():
    cost = measure_cost({"parameters": 7, "trained_parameters": 3}, CPU, (12.0, 48), (1.0, 10))
    assert (cost["train_seconds_per_post"], cost["test_seconds_per_post"]) == (0.25, 0.1)
    assert (cost["parameters"], cost["trained_parameters"]) == (7, 3)
    assert cost["device"] == describe_device(CPU) and f"{torch.get_num_threads()} thread" in cost["device"]
    nothing = measure_cost({}, CPU, None, None)
    assert nothing["train_seconds_per_post"] is nothing["test_seconds_per_post"] is None
    assert measure_cost({}, CPU, (1.0, 0), None)["train_seconds_per_post"] is None


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of a process")
def test_the_peak_of_memory_is_of_this_process_and_stays_after_the_memory_is_freed():
    before = peak_memory(CPU)
    block = torch.ones(3 * before // 4 // 4 + 75_000_000)
    size = block.numel() * 4
    assert peak_memory(CPU) > before
    at_its_height = peak_memory(CPU)
    del block
    assert peak_memory(CPU) > 0.99 * at_its_height > size  # the kernel counts in batches of pages
