"""Runs that go on where they were stopped."""

import pytest
import torch
from run_helpers import metrics, train
from safetensors.torch import load_file
from transformers import TrainerCallback

from mmre.training.trainer import RelationTrainer


@pytest.mark.parametrize("stop_after", [3, 6, 8])
def test_a_resumed_run_ends_in_the_weights_of_an_uninterrupted_one(run, config_file, tmp_path, stop_after):
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
    with pytest.raises((OSError, ValueError), match="no checkpoint in .*nothing"):
        train([path, "--resume_from_checkpoint=true", f"--output_dir={tmp_path / 'nothing'}"])
