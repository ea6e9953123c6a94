"""Runs that go on where they were stopped."""

import copy
import shutil

import pytest
import torch
import yaml
from run_helpers import TINY, metrics, train
from safetensors.torch import load_file
from transformers import TrainerCallback

from mmre.training.trainer import RelationTrainer


@pytest.mark.parametrize(
    ("stop_after", "strategy"),
    [(3, "group_by_picture"), *(pytest.param(n, "group_by_length", marks=pytest.mark.slow) for n in (3, 6, 8))],
)
def test_a_resumed_run_ends_in_the_weights_of_an_uninterrupted_one(run, config_file, tmp_path, stop_after, strategy):
    """Six steps are an epoch: stopped within one, at its end, and within the second."""

    class Stop(Exception):
        pass

    class StopAfter(TrainerCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            if state.global_step == stop_after:
                raise Stop

    steps = {
        "save_strategy": "steps",
        "eval_strategy": "steps",
        "save_steps": 1,
        "eval_steps": 1,
        "save_total_limit": 99,
        "train_sampling_strategy": strategy,
    }
    whole, parted = ({"output_dir": str(tmp_path / name)} | steps for name in ("whole", "parted"))
    train([config_file(**whole)])
    path = config_file(**parted)
    init = RelationTrainer.__init__

    def interrupted(self, *args, **kwargs):
        init(self, *args, **kwargs)
        self.add_callback(StopAfter())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RelationTrainer, "__init__", interrupted)
        with pytest.raises(Stop):
            train([path])
    assert len(list((tmp_path / "parted").glob("checkpoint-*"))) == stop_after
    # Stopped while it was written, as by Ctrl-C.
    (tmp_path / "parted" / "checkpoint-99").mkdir()
    train([path, "--resume_from_checkpoint", "True"])
    for name in ("checkpoint-12/model.safetensors", "model.safetensors"):
        resumed, uninterrupted = (load_file(tmp_path / folder / name) for folder in ("parted", "whole"))
        for key, tensor in uninterrupted.items():
            assert torch.equal(tensor, resumed[key]), key
    assert metrics(tmp_path / "parted")["test"] == metrics(tmp_path / "whole")["test"]


def test_a_run_is_neither_mixed_with_another_nor_resumed_as_another(run, config_file, tmp_path):
    path = config_file(output_dir=str(run))
    with pytest.raises((OSError, ValueError), match="earlier run"):
        train([path])
    with pytest.raises((OSError, ValueError), match="seed: 3, not 4"):
        train([path, "--resume_from_checkpoint=true", "--seed=4"])
    with pytest.raises((OSError, ValueError), match="no whole checkpoint in .*nothing"):
        train([path, "--resume_from_checkpoint=true", f"--output_dir={tmp_path / 'nothing'}"])


@pytest.fixture(scope="module")
def one_epoch(tmp_path_factory):
    """The output folder of a run that was stopped after one of two epochs."""
    folder = tmp_path_factory.mktemp("stopped")
    config = copy.deepcopy(TINY)
    config["data"]["num_synthetic_posts"] = 16
    config["training"]["output_dir"] = str(folder / "run")
    (folder / "config.yaml").write_text(yaml.safe_dump(config), "utf-8")
    train([str(folder / "config.yaml")])
    for name in ("model.safetensors", "metrics.json"):
        (folder / "run" / name).unlink()
    shutil.rmtree(folder / "run" / "checkpoint-4")
    return folder / "run"


@pytest.fixture
def stopped(one_epoch, config_file, tmp_path):
    """The configuration of a run that was stopped after one of two epochs, and its folder."""
    shutil.copytree(one_epoch, tmp_path / "run")
    return config_file(num_synthetic_posts=16), tmp_path / "run"


RESUME = ["--resume_from_checkpoint", "true"]


def test_a_run_goes_on_wherever_its_folder_is_and_however_that_is_spelled(stopped, tmp_path):
    path, folder = stopped
    moved = tmp_path / "elsewhere" / "moved"
    moved.parent.mkdir()
    folder.rename(moved)
    spelled = f"{tmp_path}/elsewhere/../elsewhere/moved/"
    train([path, *RESUME, "--output_dir", spelled, "--disable_tqdm", "false", "--logging_steps", "1"])
    assert metrics(moved)["train"]["epoch"] == 2 and (moved / "checkpoint-4").is_dir()


def test_a_run_does_not_go_on_with_other_posts(stopped, own_files, tmp_path, config_file):
    path, folder = stopped
    train([path, *own_files, "--output_dir", str(tmp_path / "own")])
    shutil.rmtree(tmp_path / "own" / "checkpoint-4")
    file = tmp_path / "train.csv"
    file.write_text(file.read_text("utf-8").replace(",None,", ",/per/per/couple,", 1), "utf-8")
    with pytest.raises(ValueError, match="was on other posts: their content is not that of its start"):
        train([path, *own_files, *RESUME, "--output_dir", str(tmp_path / "own")])


@pytest.mark.parametrize(
    "name, part",
    [
        ("optimizer.pt", "the optimizer"),
        ("scheduler.pt", "the scheduler"),
        ("rng_state.pth", "the state of the random numbers"),
        ("trainer_state.json", "the state of the training"),
    ],
)
def test_a_checkpoint_that_lacks_a_part_is_refused_by_name(stopped, name, part):
    path, folder = stopped
    (folder / "checkpoint-2" / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"no whole checkpoint in .*checkpoint-2 lacks {part}"):
        train([path, *RESUME])
    with pytest.raises(FileNotFoundError, match=f"checkpoint-2 cannot be gone on from: it lacks {part}"):
        train([path, "--resume_from_checkpoint", str(folder / "checkpoint-2")])


def test_a_checkpoint_whose_state_is_cut_is_passed_over(stopped, tmp_path):
    path, folder = stopped
    shutil.copytree(folder / "checkpoint-2", folder / "checkpoint-3")
    state = folder / "checkpoint-3" / "trainer_state.json"
    state.write_text(state.read_text("utf-8")[:-20], "utf-8")
    train([path, *RESUME])
    assert metrics(folder)["train"]["epoch"] == 2
