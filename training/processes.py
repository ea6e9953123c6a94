"""The processes of a run: start those that `accelerate launch` does not, refuse what it does without a word."""

import os
import re
import subprocess
import sys
import tempfile

import psutil
from accelerate import DistributedType, PartialState


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
    # The launcher leaves a folder for logs behind where it is given none.
    with tempfile.TemporaryDirectory() as logs:
        # What this process was started with: a script, or `-m` and a module.
        command += ["--log_dir", logs, *sys.orig_argv[1:]]
        launched = subprocess.Popen(command)  # noqa: S603 - this interpreter, no shell
        while True:
            try:
                status = launched.wait()
                break
            except KeyboardInterrupt:  # the processes have heard it too, and end
                continue
    sys.exit(status)


def check_processes() -> None:
    """Refuse what `accelerate launch` does not do on a CPU, and does not say.

    Raises:
        ValueError: if it started one process where several were asked for, or does not share out parameters.
    """
    on_cpu = os.environ.get("ACCELERATE_USE_CPU") == "True"
    # The address is set for several processes, beside which each process gets its number.
    if on_cpu and "MASTER_ADDR" in os.environ and not PartialState(cpu=True).use_distributed:
        raise ValueError(
            "accelerate started one process only: without MPI, its `--cpu` starts no others; this does: accelerate "
            "launch --config_file configs/accelerate/cpu.yaml --num_processes N train.py CONFIG"
        )
    if os.environ.get("ACCELERATE_USE_FSDP") == "true" and PartialState().distributed_type == DistributedType.MULTI_CPU:
        raise ValueError("accelerate does not share out parameters (FSDP) over processes on a CPU")


__all__ = ["check_processes", "start_processes"]
