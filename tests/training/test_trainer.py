"""The optimizer, the loss and the end of a training."""

import json

import pytest
import torch
from run_helpers import TINY, metrics, settings_of, train
from safetensors.torch import load_file

from mmre.training.encoders import build
from mmre.training.trainer import RelationTrainer

POSTS = {"train": {"text": ["a text"]}}


@pytest.mark.parametrize("weight_decay_on", ["non_bias", "all"])
def test_every_trainable_parameter_is_optimized_and_decays_as_asked(config_file, weight_decay_on, tmp_path):
    settings = settings_of([config_file(), "--weight_decay", "0.08", "--weight_decay_on", weight_decay_on])
    _, model = build(settings.model, settings.values, ["None", "couple"], POSTS, tmp_path)
    model.vision_model.requires_grad_(False)
    trainer = RelationTrainer(model=model, args=settings.training, eval_dataset=[0])
    optimizer = trainer.create_optimizer()
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        if name.startswith("vision_model."):
            assert id(parameter) not in decay
        elif weight_decay_on == "non_bias" and name.endswith("bias"):
            assert decay[id(parameter)] == 0, name
        else:
            assert decay[id(parameter)] == 0.08, name
    assert isinstance(optimizer, torch.optim.AdamW)


def test_a_parameter_left_out_of_the_optimizer_stops_the_run(config_file, tmp_path):
    settings = settings_of([config_file()])
    _, model = build(settings.model, settings.values, ["None", "couple"], POSTS, tmp_path)
    forgetful = torch.optim.AdamW([p for name, p in model.named_parameters() if "classifier" not in name])
    trainer = RelationTrainer(model=model, args=settings.training, eval_dataset=[0], optimizers=(forgetful, None))
    with pytest.raises(RuntimeError, match="classifier.0.weight is not in the optimizer"):
        trainer.create_optimizer()


@pytest.mark.slow
def test_gradient_accumulation_changes_nothing(config_file, tmp_path):
    for steps, batch, folder in ((1, 8, "one"), (4, 2, "four")):
        train(
            [
                config_file(num_synthetic_posts=18, num_train_epochs=1),
                *("--gradient_accumulation_steps", str(steps), "--per_device_train_batch_size", str(batch)),
                *(
                    "--optim",
                    "sgd",
                    "--learning_rate",
                    "0.1",
                    "--train_sampling_strategy",
                    "sequential",
                    "--output_dir",
                    str(tmp_path / folder),
                ),
                *("--focal_dropout", "0", "--new_text_encoder", json.dumps(NO_DROPOUT)),
            ]
        )
    one, four = (load_file(tmp_path / folder / "model.safetensors") for folder in ("one", "four"))
    for name, tensor in one.items():
        torch.testing.assert_close(four[name], tensor, atol=2e-5, rtol=0, msg=name)


NO_DROPOUT = TINY["model"]["new_text_encoder"] | {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def test_early_stopping_stops_early(config_file, tmp_path):
    train(
        [
            config_file(num_synthetic_posts=16),
            "--early_stopping_patience=1",
            "--num_train_epochs=9",
            "--learning_rate=0",
        ]
    )
    assert metrics(tmp_path / "run")["train"]["epoch"] == 2


def test_no_token_stands_in_what_is_saved(config_file, tmp_path):
    train([config_file(num_synthetic_posts=8, num_train_epochs=1), "--hub_token", "hf_secret_of_mine"])
    for path in (tmp_path / "run").rglob("*"):
        assert path.is_dir() or b"hf_secret_of_mine" not in path.read_bytes(), path
