"""What must not pass as a result: numbers that are not finite, less than all posts, arguments that nothing comes of."""

import json
import math
import shutil

import numpy as np
import pytest
import torch
from run_helpers import metrics, predictions, settings_of, train
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel, EvalPrediction

from mmre.evaluation.scores import NotFiniteError, check_finite_metrics, metrics_for_trainer
from mmre.posts.synthetic import make_synthetic_posts
from mmre.training import run as module


def copy_of(run, folder):
    """A checkpoint alone: what a run wrote beside it is left out."""
    kept = ("config.json", "model.safetensors", "processor_config.json", "tokenizer.json", "tokenizer_config.json")
    folder.mkdir()
    for name in kept:
        shutil.copy(run / name, folder / name)
    return folder


def test_a_training_that_diverges_fails_at_its_first_evaluation(config_file, tmp_path):
    path = config_file(num_synthetic_posts=16, num_train_epochs=9)
    with pytest.raises(NotFiniteError, match="run failed after 2 steps: the logits of 16 of 16 posts are not finite"):
        train([path, "--learning_rate", "1e38", "--max_grad_norm", "0"])
    assert not (tmp_path / "run" / "metrics.json").exists()


@pytest.mark.parametrize("others", [[], ["--do_predict=false", "--save_strategy=no"]])
def test_a_training_that_diverges_without_evaluation_leaves_no_model(config_file, tmp_path, others):
    path = config_file(num_synthetic_posts=16, num_train_epochs=2, learning_rate=1e38, max_grad_norm=0)
    with pytest.raises(NotFiniteError, match="run failed after . steps: the model: .* weights are not finite, first "):
        train([path, "--do_eval=false", *others])
    assert not list((tmp_path / "run").rglob("*.safetensors")) and not (tmp_path / "run" / "metrics.json").exists()


def test_a_checkpoint_with_a_weight_that_is_not_finite_has_no_result(run, config_file, tmp_path):
    folder = copy_of(run, tmp_path / "broken")
    weights = load_file(folder / "model.safetensors")
    weights[next(name for name in weights if name.startswith("classifier"))][0] = math.nan
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    tested = ["--model_name_or_path", str(folder), "--do_train", "false", "--output_dir", str(tmp_path / "test")]
    with pytest.raises(NotFiniteError, match="the logits of 16 of 16 posts are not finite"):
        train([config_file(), *tested])
    assert not (tmp_path / "test" / "metrics.json").exists()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_one_number_that_is_not_finite_is_enough(value):
    logits = np.zeros((3, 2))
    logits[1, 0] = value
    with pytest.raises(NotFiniteError, match="of 1 of 3 posts"):
        metrics_for_trainer(["None", "couple"])(EvalPrediction(predictions=logits, label_ids=np.zeros(3, dtype=int)))
    with pytest.raises(NotFiniteError, match="train_loss is"):
        check_finite_metrics({"train_loss": value, "epoch": 1.0})


def test_dropping_the_last_batch_of_a_training_drops_no_post_of_an_evaluation(config_file, tmp_path):
    # 16 validation and 24 test posts in batches of 7; 48 training posts in batches of 32.
    path = config_file(num_train_epochs=1)
    train([path, "--dataloader_drop_last", "true", "--per_device_train_batch_size", "32"])
    result = metrics(tmp_path / "run")
    assert (result["validation"]["samples"], result["test"]["samples"]) == (16, 24)
    assert sum(row["support"] for row in result["validation"]["per_relation"].values()) == 16
    assert len(predictions(tmp_path / "run")) == 24
    state = json.loads((tmp_path / "run" / "checkpoint-1" / "trainer_state.json").read_text())
    assert state["global_step"] == 1  # training does drop


WRONG = {
    ("num_train_epochs", "-1"): "`num_train_epochs` is -1.0; expected more than 0",
    ("num_train_epochs", "inf"): "`num_train_epochs` is inf; expected more than 0",
    ("eval_accumulation_steps", "0"): "`eval_accumulation_steps` is 0; expected at least 1",
    ("save_total_limit", "0"): "`save_total_limit` is 0; expected at least 1",
    ("eval_steps", "-1"): "`eval_steps` is -1.0; expected more than 0",
    ("label_smoothing_factor", "3"): "`label_smoothing_factor` is 3.0; expected less than 1",
    ("adam_beta1", "2"): "`adam_beta1` is 2.0; expected less than 1",
    ("align_noise", "2"): "`align_noise` is 2.0; expected at most 1",
    ("train_share", "nan"): "`train_share` is nan; expected at least 0",
    ("label_names", "foo"): "`label_names` is ['foo'], but the models call them `labels`: leave it out",
    ("num_train_epochs", "0"): "`num_train_epochs` is 0.0; expected more than 0",
    ("num_train_epochs", "nan"): "`num_train_epochs` is nan",
    ("max_steps", "0"): "`max_steps` is 0; expected at least 1",
    ("max_steps", "-2"): "`max_steps` is -2; expected at least 1",
    ("per_device_train_batch_size", "0"): "`per_device_train_batch_size` is 0; expected at least 1",
    ("per_device_eval_batch_size", "-3"): "`per_device_eval_batch_size` is -3; expected at least 1",
    ("gradient_accumulation_steps", "0"): "`gradient_accumulation_steps` is 0; expected at least 1",
    ("learning_rate", "-1e-5"): "`learning_rate` is -1e-05; expected at least 0",
    ("learning_rate", "nan"): "`learning_rate` is nan",
    ("warmup_steps", "-0.1"): "`warmup_steps` is -0.1; expected at least 0",
    ("weight_decay", "-1"): "`weight_decay` is -1.0; expected at least 0",
    ("early_stopping_patience", "0"): "`early_stopping_patience` is 0; expected at least 1",
    ("num_synthetic_posts", "0"): "`num_synthetic_posts` is 0; expected at least 1",
    ("num_synthetic_posts", "-5"): "`num_synthetic_posts` is -5; expected at least 1",
    ("max_train_samples", "0"): "`max_train_samples` is 0; expected at least 1",
    ("max_eval_samples", "-1"): "`max_eval_samples` is -1; expected at least 1",
    ("max_predict_samples", "0"): "`max_predict_samples` is 0; expected at least 1",
    ("samples_per_relation", "0"): "`samples_per_relation` is 0; expected at least 1",
    ("lora_rank", "0"): "`lora_rank` is 0; expected at least 1",
    ("eval_do_concat_batches", "false"): "`eval_do_concat_batches` is False, but F1 is that of all posts together",
    ("prediction_loss_only", "true"): "`prediction_loss_only` is True, but F1 needs the predictions",
    ("batch_eval_metrics", "true"): "`batch_eval_metrics` is True, but F1 is that of all posts together",
    ("remove_unused_columns", "true"): "`remove_unused_columns` is True, but the collator reads the posts",
    ("use_liger_kernel", "true"): "`use_liger_kernel` is True, but there are no such kernels",
    ("gradient_checkpointing_kwargs", '{"use_reentrant": true}'): "reentrant checkpointing loses gradients",
    ("report_to", "wandb"): "`report_to` 'wandb' is not installed; here are: none",
    ("optim", "adamw_bnb_8bit"): "`optim` 'adamw_bnb_8bit': You need to install `bitsandbytes`",
    ("optim", "galore_adamw"): "`optim` 'galore_adamw': You need to install `galore_torch`",
    ("optim", "grokadamw"): "`optim` 'grokadamw': Please install grokadamw",
    ("optim_args", "momentum"): "`optim` 'adamw_torch_fused': not enough values to unpack",
    ("lr_scheduler_type", "cosine_with_min_lr"): "`lr_scheduler_type` 'cosine_with_min_lr': One of min_lr",
    ("lr_scheduler_kwargs", '{"foo": 1}'): "`lr_scheduler_type` 'linear': get_linear_schedule_with_warmup() got an un",
    ("torch_compile_backend", "foo"): "`torch_compile_backend` 'foo': 'FOO' is not a valid",
    (
        "train_sampling_strategy",
        "foo",
    ): "unknown train_sampling_strategy 'foo'; expected 'group_by_length', 'random', ",
    ("length_column_name", "foo"): "`length_column_name` is 'foo', but the posts' lengths are in `length`: leave it",
    ("debug", "underflow_overflow"): "but it cannot look at masks: leave it out",
    ("dataloader_persistent_workers", "true"): "is True, but `dataloader_num_workers` is 0: leave it out",
    ("metric_for_best_model", "acuracy"): "unknown metric_for_best_model 'acuracy'; did you mean 'accuracy'?",
    ("metric_for_best_model", "eval_foo"): "unknown metric_for_best_model 'eval_foo'; expected 'f1', 'accuracy', ",
    ("eval_delay", "-1"): "`eval_delay` is -1.0; expected at least 0",
    ("eval_delay", "2.5"): "`eval_delay` is 2.5, but there are 2 epochs: no checkpoint would be chosen",
    ("new_classifier", "true"): "`new_classifier` is for `model_name_or_path`",
}


@pytest.mark.parametrize("name, value", WRONG)
def test_what_no_result_comes_of_is_refused_in_one_line_before_the_posts_are_read(config_file, name, value):
    with pytest.raises(ValueError) as error:
        settings_of([config_file(), f"--{name}={value}"])
    assert WRONG[name, value] in str(error.value) and "\n" not in str(error.value)


def test_metrics_to_choose_by_have_their_name_with_and_without_the_trainer_s_prefix(config_file):
    for name in ("eval_f1", "recall", "loss"):
        assert settings_of([config_file(), "--metric_for_best_model", name]).training.metric_for_best_model == name


def test_a_training_that_ends_before_its_first_evaluation_says_that_no_checkpoint_was_chosen(config_file, monkeypatch):
    warnings = []
    monkeypatch.setattr(module.logger, "warning", warnings.append)
    path = config_file(num_synthetic_posts=16, max_steps=2, eval_delay=9, do_predict=False)
    train([path])
    warnings = [
        each for each in warnings if not each.startswith("The scores are the model's own")
    ]  # it learned nothing
    assert warnings == ["No checkpoint was evaluated: the model is that of the last step, not the best one."]


def test_a_test_without_a_checkpoint_is_refused_before_the_posts_are_read(config_file, tmp_path):
    with pytest.raises(ValueError, match="`do_train` is false, and there is no model to test: give `model_name_or_pa"):
        train([config_file(), "--do_train", "false"])
    assert not (tmp_path / "run" / "metrics.json").exists()


def test_steps_take_the_place_of_epochs(config_file):
    assert settings_of([config_file(), "--max_steps", "3"]).training.max_steps == 3


def test_a_training_without_evaluation_keeps_its_last_checkpoint(config_file, tmp_path):
    train([config_file(num_synthetic_posts=16), "--do_eval", "false"])
    result = metrics(tmp_path / "run")
    assert (
        set(result) == {"posts", "train", "test", "calibration", "cost"} and result["train"]["best_checkpoint"] is None
    )
    assert "validation" not in result["posts"]["samples"] and "validation" not in result["calibration"]["splits"]
    last, whole = (load_file(tmp_path / "run" / name / "model.safetensors") for name in ("checkpoint-4", "."))
    assert all(torch.equal(weight, whole[name]) for name, weight in last.items())
    with pytest.raises(ValueError, match="`early_stopping_patience` needs an evaluation"):
        settings_of([config_file(), "--do_eval", "false", "--early_stopping_patience", "2"])


# Relations of a checkpoint, and those of the posts


def shuffled(names: list[str]) -> list[str]:
    return ["None", *sorted(set(names) - {"None"}, reverse=True)]


@pytest.fixture
def in_another_order(run, tmp_path):
    """The posts of the run's test, saved with their relations in another order."""
    posts = make_synthetic_posts(num_train=48)
    names = posts["test"].features["relation"].names
    features = posts["test"].features.copy()
    features["relation"] = type(features["relation"])(names=shuffled(names))
    for split, rows in posts.items():
        rows = rows.select(range(min(24, len(rows))))
        posts[split] = rows.map(
            lambda row: {"relation": shuffled(names).index(names[row["relation"]])}, features=features
        )
    posts.save_to_disk(tmp_path / "posts")
    return str(tmp_path / "posts")


def test_a_checkpoint_reads_posts_whose_relations_stand_in_another_order(run, in_another_order, config_file, tmp_path):
    tested = ["--model_name_or_path", str(run), "--do_train=false", "--do_eval=false", "--dataset", in_another_order]
    train([config_file(), *tested, "--output_dir", str(tmp_path / "test")])
    before, after = predictions(run), predictions(tmp_path / "test")
    assert [row["gold"] for row in after] == [row["gold"] for row in before]
    assert [row["predicted"] for row in after] == [row["predicted"] for row in before]
    for name in ("f1", "accuracy", "per_relation"):
        assert metrics(tmp_path / "test")["test"][name] == metrics(run)["test"][name]


def test_a_file_of_test_posts_alone_is_tested(run, own_files, config_file, tmp_path):
    tested = ["--model_name_or_path", str(run), "--do_train=false", "--do_eval=false", "--dataset=files"]
    train([config_file(), *tested, *own_files[-2:], "--output_dir", str(tmp_path / "test")])
    assert metrics(tmp_path / "test")["test"]["samples"] == 5
    names = AutoConfig.from_pretrained(run).id2label
    assert list(predictions(tmp_path / "test")[0]["probabilities"]) == [names[number] for number in range(len(names))]
    with pytest.raises(ValueError, match="there is no model to test: give `model_name_or_path`"):
        train([config_file(), "--dataset=files", *own_files[-2:], "--do_train=false", "--do_eval=false"])
    with pytest.raises(ValueError, match="`dataset` 'files' needs `train_file`.*or `model_name_or_path`"):
        train([config_file(), "--dataset=files", *own_files[-2:], "--do_eval=false"])


def test_relations_that_are_new_are_named_and_a_new_classifier_is_asked_for(run, own_files, config_file, tmp_path):
    for split in ("train", "validation"):
        file = tmp_path / f"{split}.csv"
        file.write_text(file.read_text("utf-8").replace("/per/per/couple", "/per/per/rival"), "utf-8")
    arguments = [config_file(num_train_epochs=1), *own_files, "--model_name_or_path", str(run)]
    with pytest.raises(ValueError) as error:
        train(arguments)
    assert "unknown relation '/per/per/rival'; did you mean '/per/per/" in str(error.value)
    assert "couple'" not in str(error.value).splitlines()[-1] and "--new_classifier true" in str(error.value)
    train([*arguments, "--new_classifier", "true", "--learning_rate", "0", "--output_dir", str(tmp_path / "new")])
    old, new = AutoModel.from_pretrained(run), AutoModel.from_pretrained(tmp_path / "new")
    assert "/per/per/rival" in new.config.label2id and "/per/per/couple" not in new.config.label2id
    body = {name: weight for name, weight in old.state_dict().items() if not name.startswith("classifier.")}
    assert body and all(torch.equal(weight, new.state_dict()[name]) for name, weight in body.items())
    assert not any(
        torch.equal(weight, new.state_dict()[name])
        for name, weight in old.state_dict().items()
        if name.startswith("classifier.") and name.endswith("weight")
    )


# Results that are there already


def test_a_test_into_the_checkpoint_s_own_folder_adds_its_result_and_takes_nothing_away(config_file, tmp_path):
    path, folder = config_file(num_synthetic_posts=16), tmp_path / "run"
    train([path, "--do_predict=false"])
    before = {name.name: name.read_bytes() for name in folder.iterdir() if name.is_file()}
    record = metrics(folder)
    tested = ["--model_name_or_path", str(folder), "--do_train=false", "--do_eval=false"]
    train([path, *tested])
    result = metrics(folder)
    assert result["train"] == record["train"] and result["validation"] == record["validation"]
    assert result["test"]["samples"] == 24
    assert result["posts"]["samples"] == {"train": 16, "validation": 16, "test": 24}
    changed = {name for name, content in before.items() if (folder / name).read_bytes() != content}
    assert changed == {"metrics.json", "results.md", "README.md", "reliability.png"}
    assert result["calibration"]["splits"].items() > record["calibration"]["splits"].items()
    card = (folder / "README.md").read_text("utf-8")
    assert "Trained on" in card and "| test |" in card and "| validation |" in card
    with pytest.raises(ValueError, match="holds results with samples .*'test': 24.*, not {'test': 5}: set another"):
        train([path, *tested, "--max_predict_samples=5"])
    with pytest.raises(ValueError, match="holds results with align_noise 0.0, not 1.0: set another --output_dir"):
        train([path, *tested, "--align_noise=1"])
    assert metrics(folder) == result


def test_a_test_does_not_write_into_the_folder_of_another_run(run, config_file, tmp_path):
    copy = copy_of(run, tmp_path / "copy")
    with pytest.raises(ValueError, match="holds the results of another run: set another --output_dir"):
        train([config_file(), "--model_name_or_path", str(copy), "--do_train=false", "--output_dir", str(run)])
