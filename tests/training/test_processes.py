"""Several processes: they train as one would on the same global batch, and each sample is evaluated once."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from model_helpers import SYSTEMS, tiny_batch, tiny_model
from run_helpers import CPU, launch, predictions, train
from safetensors.torch import load_file

from mmre.posts.synthetic import make_synthetic_posts
from mmre.training import processes

ROOT = Path(__file__).resolve().parents[2]

# torch's own sharding: accelerate does none on a CPU. The gradients are those of the whole model.
FSDP = """
import sys
import traceback
from pathlib import Path
import torch
from torch import distributed
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from transformers import AutoModel
import mmre.modeling

distributed.init_process_group("gloo")
rank = distributed.get_rank()
mesh = distributed.init_device_mesh("cpu", (2,))


def compare(folder):
    whole, model = (AutoModel.from_pretrained(folder).eval() for _ in range(2))
    layers = tuple(model._no_split_modules)
    for module in list(model.modules())[1:]:  # the first is the model
        if type(module).__name__ in layers:
            fully_shard(module, mesh=mesh)
    fully_shard(model, mesh=mesh)
    batch = torch.load(folder / "batch.pt", weights_only=True)
    whole(**batch).loss.backward()
    half = {name: value[rank::2] for name, value in batch.items()}
    model(**half, num_items_in_batch=torch.tensor(len(batch["labels"]) / 2)).loss.backward()
    expected = {name: parameter.grad for name, parameter in whole.named_parameters() if parameter.grad is not None}
    sharded = 0
    for name, parameter in model.named_parameters():
        if name in expected:
            assert isinstance(parameter, DTensor), name
            sharded += parameter.to_local().numel() < parameter.numel()
            torch.testing.assert_close(parameter.grad.full_tensor(), expected[name], atol=1e-5, rtol=1e-3, msg=name)
    return sharded


for folder in map(Path, sys.argv[1:]):
    try:
        said = compare(folder)
    except Exception:
        said = traceback.format_exc()
    (folder / f"rank{rank}.txt").write_text(str(said), "utf-8")
distributed.destroy_process_group()
"""


def probabilities(folder: Path) -> dict[str, list[float]]:
    lines = [json.loads(line) for line in (folder / "predictions.jsonl").read_text("utf-8").splitlines()]
    return {line["id"]: list(line["probabilities"].values()) for line in lines}


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
    """The tiny training without dropout, whose noise no two processes share."""
    config = yaml.safe_load((ROOT / "tests" / "tiny_training.yaml").read_text("utf-8"))
    config["model"] |= {"focal_dropout": 0.0}
    config["model"]["new_text_encoder"] |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    config["training"] |= {"save_strategy": "no", "load_best_model_at_end": False}
    path = tmp_path_factory.mktemp("several") / "config.yaml"
    path.write_text(yaml.safe_dump(config), "utf-8")
    return path


@pytest.fixture(scope="module")
def one(config):
    folder = config.parent / "one"
    train([str(config), "--output_dir", str(folder)])
    return folder


@pytest.mark.parametrize(
    ("how", "script", "arguments", "tolerance"),
    [
        # accelerate starts one process, which starts both.
        pytest.param(
            ["--cpu"],
            ["-m", "mmre.cli.main", "train"],
            ["--per_device_train_batch_size", "4"],
            1e-5,
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ["--config_file", CPU],
            ["train.py"],
            ["--per_device_train_batch_size", "2", "--gradient_accumulation_steps", "2", "--bf16", "true"],
            2e-3,
            marks=pytest.mark.slow,
        ),
    ],
    ids=["float32", "accumulation-bf16"],
)
def test_two_processes_end_where_one_does(config, one, how, script, arguments, tolerance):
    folder = config.parent / f"two-{tolerance}"
    done = launch(*how, "--num_processes", 2, *script, config, "--output_dir", folder, *arguments)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads((folder / "environment.json").read_text("utf-8"))["processes"] == 2
    expected, found = probabilities(one), probabilities(folder)
    assert list(found) == list(expected) and len(found) == 24  # in order, each once, though 24 is no multiple of 2 x 7
    for post in expected:
        assert found[post] == pytest.approx(expected[post], abs=tolerance)
    first, second = (json.loads((path / "metrics.json").read_text("utf-8")) for path in (one, folder))
    for split in ("validation", "test"):
        assert second[split]["samples"] == first[split]["samples"]
        assert second[split]["loss"] == pytest.approx(first[split]["loss"], abs=tolerance)
    assert second["train"]["train_loss"] == pytest.approx(first["train"]["train_loss"], abs=tolerance)
    assert done.stdout.count("What to try next") == 1  # only the main process reports
    weights, others = load_file(one / "model.safetensors"), load_file(folder / "model.safetensors")
    assert all((weights[name] - others[name]).abs().max() < 10 * tolerance for name in weights)


@pytest.mark.parametrize("words", [["train.py", "quickstart"], ["-m", "mmre.cli.main", "train", "quickstart"]])
def test_the_processes_are_started_as_the_first_one_was(words, monkeypatch):
    started = []
    parent = SimpleNamespace(cmdline=lambda: ["accelerate", "launch", "--cpu", "--num_processes", "3", *words])
    monkeypatch.setattr(processes.psutil, "Process", lambda: SimpleNamespace(parent=lambda: parent))
    monkeypatch.setattr(
        processes.subprocess, "Popen", lambda command: started.append(command) or SimpleNamespace(wait=lambda: 7)
    )
    monkeypatch.setattr(processes.sys, "orig_argv", [sys.executable, *words])
    monkeypatch.delenv("ACCELERATE_USE_CPU", raising=False)
    processes.start_processes()
    assert not started  # nobody launched this one
    monkeypatch.setenv("ACCELERATE_USE_CPU", "True")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    with pytest.raises(SystemExit) as ended:
        processes.start_processes()
    assert ended.value.code == 7
    assert started[0][1:4] == ["-m", "torch.distributed.run", "--standalone"]
    assert started[0][5:7] == ["3", "--log_dir"] and started[0][8:] == words
    assert not Path(started[0][7]).exists()


@pytest.mark.slow
def test_processes_that_nobody_can_start_are_refused(config, tmp_path):
    """Two machines without MPI: accelerate starts one process here, and so would the other machine, each by itself."""
    address = ["--num_machines", 2, "--machine_rank", 0, "--main_process_ip", "127.0.0.1", "--main_process_port", 29500]
    done = launch("--cpu", "--num_processes", 2, *address, "train.py", config, "--output_dir", tmp_path / "run")
    assert done.returncode != 0 and "accelerate started one process only" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_sharding_that_accelerate_does_not_do_on_a_cpu_is_refused(config, tmp_path):
    fsdp = CPU.with_name("fsdp.yaml")
    done = launch(
        *("--config_file", fsdp, "--num_processes", 2, "--mixed_precision", "no"),
        *("train.py", config, "--output_dir", tmp_path / "run"),
    )
    assert done.returncode != 0 and "does not share out parameters (FSDP)" in done.stderr


@pytest.mark.slow
def test_every_system_can_be_shared_out_over_processes(tmp_path):
    for system, case in SYSTEMS.items():
        model = tiny_model(case)
        model.save_pretrained(tmp_path / system)
        torch.save(tiny_batch(case, model.config, labels=True), tmp_path / system / "batch.pt")
    (tmp_path / "fsdp.py").write_text(FSDP, "utf-8")
    folders = [tmp_path / system for system in SYSTEMS]
    done = launch("--config_file", CPU, "--num_processes", 2, tmp_path / "fsdp.py", *folders)
    assert done.returncode == 0, done.stderr[-3000:]
    said = {
        (folder.name, rank): (folder / f"rank{rank}.txt").read_text("utf-8") for folder in folders for rank in (0, 1)
    }
    assert not {path: text for path, text in said.items() if not text.isdecimal() or int(text) == 0}


@pytest.mark.parametrize("name", ["fsdp.yaml", "deepspeed.yaml", "cpu.yaml"])
def test_accelerate_reads_the_configurations(name):
    from accelerate.commands.config.config_args import load_config_from_file

    config = load_config_from_file(str(CPU.with_name(name)))
    assert config.num_processes == 2


@pytest.mark.slow
def test_two_processes_share_the_work_and_one_writes(config_file, tmp_path):
    """A real launch with new encoders; the global batch is that of one process."""
    path = config_file(num_synthetic_posts=18, num_train_epochs=1, optim="sgd", per_device_train_batch_size=4)
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--master_port=29531"]
    result = subprocess.run(
        [*launch, str(ROOT / "train.py"), path], capture_output=True, text=True, cwd=tmp_path, timeout=300
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert result.stdout.count("What to try next") == 1
    assert json.loads((tmp_path / "run" / "environment.json").read_text())["processes"] == 2
    posts = make_synthetic_posts(num_train=18)["test"].select(range(24))
    assert [row["id"] for row in predictions(tmp_path / "run")] == posts["id"]
    relations = posts.features["relation"].names
    assert [row["gold"] for row in predictions(tmp_path / "run")] == [relations[label] for label in posts["relation"]]
