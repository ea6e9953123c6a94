"""The cost of a run: parameters, time per post, and memory, as measured by the run itself."""

import re
import sys
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import nn

# A peak of Linux: `getrusage` would give that of the process that started this one, if it was larger.
PROCESS_STATUS = Path("/proc/self/status")


def count_parameters(model: nn.Module) -> dict[str, int]:
    """Count the parameters of a model.

    Args:
        model: the whole model, not a shard of it.

    Returns:
        `parameters`, all of them, and `trained_parameters`, those that a training changes. What is shared counts once.
    """
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    return {"parameters": sum(size for size, _ in sizes), "trained_parameters": sum(size for size, on in sizes if on)}


def peak_memory(device: torch.device) -> int:
    """Return the most memory that this process has used so far, in bytes.

    Args:
        device: of the model. On a GPU, it is the memory allocated there; else what the process held in main memory.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if PROCESS_STATUS.is_file():
        return 1024 * int(re.search(r"^VmHWM:\s+(\d+) kB$", PROCESS_STATUS.read_text("utf-8"), flags=re.M)[1])
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset
    import resource  # of Unix alone

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in bytes on macOS


def describe_device(device: torch.device) -> str:
    """Name what a model runs on: `"CPU, 2 threads"`, or the name of a GPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{device.type.upper()}, {threads} thread{'s' if threads > 1 else ''}"


def measure_cost(
    sizes: dict[str, int],
    device: torch.device,
    trained: tuple[float, int] | None,
    tested: tuple[float, int] | None,
) -> dict[str, Any]:
    """Sum up what a run costs, at its end.

    Args:
        sizes: from [`count_parameters`].
        device: of the model, in the main process.
        trained: seconds of the training, and posts that it saw, each as often as it saw them; if there was one.
        tested: seconds of the test, and its posts; if there was one.

    Returns:
        `sizes`; `train_seconds_per_post` and `test_seconds_per_post`, null where there was none; `peak_memory` in
        bytes, and the `device` that time and memory are of.
    """
    seconds = {
        f"{name}_seconds_per_post": measured[0] / measured[1] if measured and measured[1] else None
        for name, measured in (("train", trained), ("test", tested))
    }
    return {**sizes, **seconds, "peak_memory": peak_memory(device), "device": describe_device(device)}


__all__ = ["count_parameters", "describe_device", "measure_cost", "peak_memory"]
