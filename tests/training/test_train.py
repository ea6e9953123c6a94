"""The training command: its configuration files, its optimizer, and what it writes."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import datasets
import pytest
import torch
import yaml
from safetensors.torch import load_file
from transformers import AutoModel, AutoProcessor

from mmre.posts import PostCollator, make_synthetic_posts
from mmre.training import run as train

ROOT = Path(__file__).resolve().parents[2]
TINY = yaml.safe_load((ROOT / "tests/tiny_training.yaml").read_text("utf-8"))
POSTS = {"train": {"tokens": [["a", "text"]]}}
TOWERS = "data: {dataset: synthetic}\nmodel: {text_encoder: a, vision_encoder: b"


@pytest.fixture
def config_file(tmp_path):
    """Writes a configuration file: the tiny one, with other values in place."""

    def write(text: str | None = None, **changes) -> str:
        path = tmp_path / "config.yaml"
        if text is None:
            config = json.loads(json.dumps(TINY))
            config["training"]["output_dir"] = str(tmp_path / "run")
            for name, value in changes.items():
                section = next((s for s, values in config.items() if name in values), "training")
                config[section][name] = value
            text = yaml.safe_dump(config)
        path.write_text(text, "utf-8")
        return str(path)

    return write


def predictions(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "predictions.jsonl").read_text("utf-8").splitlines()]


def metrics(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text("utf-8"))


@pytest.mark.parametrize("path", sorted(ROOT.glob("configs/*.yaml")), ids=lambda path: path.name)
def test_every_configuration_in_the_repository_is_understood(path):
    files = ["--train_file", "train.csv"] if path.stem == "own_posts" else []
    model_args, data_args, args, _ = train.parse_arguments([str(path), *files])
    assert args.output_dir == f"outputs/{path.stem}"
    assert model_args.model_type in train.MODELS


@pytest.mark.parametrize(
    ("text", "value"), [("3e-5", 3e-5), ("1E-4", 1e-4), ("2e5", 2e5), ("1.5e-3", 1.5e-3), (".5e1", 5)]
)
def test_a_number_with_an_exponent_is_a_number(config_file, text, value):
    path = config_file(
        "model: {new_text_encoder: {}, new_vision_encoder: {}, focal_dropout: 1e-1}\n"
        f"data: {{dataset: synthetic}}\ntraining: {{learning_rate: {text}}}"
    )
    *_, args, model_values = train.parse_arguments([path])
    assert args.learning_rate == value
    assert model_values == {"focal_dropout": 0.1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("training: {learning_rat: 1e-5}", "'learning_rat'.*'learning_rate'"),
        ("model: {use_gat: false}", "'use_gat'.*'use_gate'"),
        ("model: {input_mod: cropped}", "'input_mod'.*'input_mode'"),
        ("data: {region: none}", "'region'.*'regions'"),
        ("trainin: {seed: 1}", "'trainin'.*'training'"),
        ("data: {seed: 1}\ntraining: {seed: 2}", "'seed' stands in two sections"),
        ("training: 3", "section 'training'"),
        ("- 1", "must have the sections"),
        ("training: {seed: 1, seed: 2}", "'seed' stands twice"),
        ("data: {regions: none}\ndata: {regions: none}", "'data' stands twice"),
        ("training: {", "not valid YAML"),
        (f"{TOWERS}, use_gate: 3}}", "use_gate"),
        (f"{TOWERS}, region_weighting: soft}}", "region_weighting"),
        (f"{TOWERS}, num_grounded_regions: -1}}", "num_grounded_regions"),
        (f"{TOWERS}, input_mode: croped}}", "input_mode.*croped"),
        (f"{TOWERS}, max_length: abc}}", "str"),
        (f"{TOWERS}, max_length: 5}}", "max_length.*at least"),
        ("model: {text_encoder: null}", "text_encoder"),
        ("model: {text_encoder: a, vision_encoder: b}\ndata: {dataset: mnre}", "data_dir"),
    ],
)
def test_a_mistake_in_a_file_is_an_error_that_names_it(config_file, text, message):
    with pytest.raises(SystemExit) as error:
        train.parse_arguments([config_file(text)])
    assert re.search(message, str(error.value)), error.value


def test_a_value_of_the_wrong_type_is_an_error(config_file, capsys):
    with pytest.raises(SystemExit):
        train.parse_arguments([config_file(num_train_epochs="abc")])
    error = capsys.readouterr().err
    assert "num_train_epochs" in error and "invalid float value: 'abc'" in error
    with pytest.raises(SystemExit, match=r"'num_train_epochs' takes one value, got \[1, 2\]"):
        train.parse_arguments([config_file(num_train_epochs=[1, 2])])


def test_a_missing_file_and_an_unknown_argument_on_the_command_line_are_errors(config_file):
    with pytest.raises(SystemExit, match="there is no file nowhere.yaml"):
        train.parse_arguments(["nowhere.yaml"])
    with pytest.raises(SystemExit, match="'learning_rte'.*'learning_rate'"):
        train.parse_arguments([config_file(), "--learning_rte", "1e-5"])


def test_data_that_cannot_be_loaded_is_an_error_without_a_traceback(config_file, tmp_path):
    nowhere = ["--dataset", "mnre", "--data_dir", str(tmp_path / "nowhere")]
    with pytest.raises(SystemExit, match="train.py: .*nowhere"):
        train.main([config_file(), *nowhere])
    line = {"token": ["a", "b"], "h": {"name": "a", "pos": [0, 1]}, "t": {"name": "b", "pos": [1, 2]}}
    line |= {"img_id": "a.jpg", "relation": "None"}
    (tmp_path / "mnre_train.txt").write_text(f"{line}\n", "utf-8")
    only_train = ["--dataset", "mnre", "--data_dir", str(tmp_path), "--on_missing_image", "text_only"]
    with pytest.raises(SystemExit, match="no text file for: validation, test"):
        train.main([config_file(), *only_train, "--regions", "none"])


def test_the_command_line_wins_over_the_file(config_file):
    model_args, data_args, args, model_values = train.parse_arguments(
        [
            config_file(),
            "--learning_rate",
            "5e-4",
            "--use_gate=false",
            "--num_detected_regions",
            "2",
            "--regions",
            "none",
        ]
    )
    assert (args.learning_rate, data_args.regions) == (5e-4, "none")
    assert model_values["use_gate"] is False
    assert model_values["num_detected_regions"] == 2
    assert model_values["num_grounded_regions"] == 2
    assert model_args.new_text_encoder["hidden_size"] == 16


def test_values_reach_both_the_model_and_the_processor(config_file, tmp_path):
    model_args, data_args, _, values = train.parse_arguments([config_file(), "--num_grounded_regions", "1"])
    processor, model = train.build(model_args, values, ["None", "couple"], POSTS, tmp_path)
    assert model.config.num_grounded_regions == processor.num_grounded_regions == 1
    assert model.config.id2label == {0: "None", 1: "couple"}
    assert processor.max_length == 64
    assert model.get_input_embeddings().num_embeddings >= len(processor.tokenizer)


@pytest.mark.parametrize("weight_decay_on", ["non_bias", "all"])
def test_every_trainable_parameter_is_optimized_and_decays_as_asked(config_file, weight_decay_on, tmp_path):
    model_args, _, args, values = train.parse_arguments(
        [config_file(), "--weight_decay", "0.08", "--weight_decay_on", weight_decay_on]
    )
    _, model = train.build(model_args, values, ["None", "couple"], POSTS, tmp_path)
    model.vision_model.requires_grad_(False)
    trainer = train.RelationTrainer(model=model, args=args, eval_dataset=[0])
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
    model_args, _, args, values = train.parse_arguments([config_file()])
    _, model = train.build(model_args, values, ["None", "couple"], POSTS, tmp_path)
    forgetful = torch.optim.AdamW([p for name, p in model.named_parameters() if "classifier" not in name])
    trainer = train.RelationTrainer(model=model, args=args, eval_dataset=[0], optimizers=(forgetful, None))
    with pytest.raises(RuntimeError, match="classifier.0.weight is not in the optimizer"):
        trainer.create_optimizer()


def test_a_run_leaves_all_its_results(run):
    names = {path.name for path in run.iterdir()}
    assert names >= {
        "config.json",
        "model.safetensors",
        "processor_config.json",
        "tokenizer.json",
        "resolved_config.yaml",
        "environment.json",
        "metrics.json",
        "predictions.jsonl",
        "results.md",
    }
    result = metrics(run)
    assert result["posts"]["regions"] == "drawn"
    assert result["posts"]["samples"] == {"train": 48, "validation": 16, "test": 24}
    assert set(result["test"]) >= {"accuracy", "precision", "recall", "f1", "per_relation", "loss"}
    environment = json.loads((run / "environment.json").read_text())
    assert environment["seed"] == 3
    assert environment["packages"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert environment["processes"] == 1
    assert "| /per/per/couple |" in (run / "results.md").read_text()


def test_predictions_belong_to_the_posts_they_name(run):
    """The Trainer's own sampler reorders the test split when it groups by length."""
    posts = make_synthetic_posts(num_train=48)["test"].select(range(24))
    rows = predictions(run)
    relations = posts.features["relation"].names
    assert [row["id"] for row in rows] == posts["id"]
    assert [row["gold"] for row in rows] == [relations[label] for label in posts["relation"]]
    processor, model = AutoProcessor.from_pretrained(run), AutoModel.from_pretrained(run)
    for post, row in zip(posts, rows):
        inputs = PostCollator(processor)([post])
        inputs.pop("labels")
        with torch.no_grad():
            probabilities = model(**inputs).logits.softmax(-1)[0]
        assert list(row["probabilities"]) == relations
        torch.testing.assert_close(torch.tensor(list(row["probabilities"].values())), probabilities, atol=1e-5, rtol=0)
        assert row["predicted"] == max(row["probabilities"], key=row["probabilities"].get)


def test_the_saved_model_is_the_best_checkpoint_by_validation_f1(run):
    result = metrics(run)
    states = [json.loads(path.read_text()) for path in run.glob("checkpoint-*/trainer_state.json")]
    history = max(states, key=lambda state: state["global_step"])["log_history"]
    best = max(entry["eval_f1"] for entry in history if "eval_f1" in entry)
    assert result["validation"]["f1"] == best
    weights = load_file(run / "model.safetensors")
    for name, tensor in load_file(Path(result["train"]["best_checkpoint"]) / "model.safetensors").items():
        assert torch.equal(tensor, weights[name]), name


def test_the_test_split_is_seen_once(config_file, monkeypatch):
    seen = []
    predict, evaluate = train.RelationTrainer.predict, train.RelationTrainer.evaluate
    monkeypatch.setattr(
        train.RelationTrainer,
        "predict",
        lambda self, posts, **k: seen.append(posts["id"][0]) or predict(self, posts, **k),
    )
    monkeypatch.setattr(
        train.RelationTrainer,
        "evaluate",
        lambda self, eval_dataset=None, **k: (
            seen.append((eval_dataset or self.eval_dataset)["id"][0]) or evaluate(self, eval_dataset, **k)
        ),
    )
    train.main([config_file(num_synthetic_posts=16)])
    assert seen == ["validation-0", "validation-0", "validation-0", "test-0"]


@pytest.mark.parametrize("stop_after", [3, 6, 8])
def test_a_resumed_run_ends_in_the_weights_of_an_uninterrupted_one(run, config_file, tmp_path, stop_after):
    """Six steps are an epoch: stopped within one, at its end, and within the second."""

    class Stop(Exception):
        pass

    class StopAfter(train.transformers.TrainerCallback):
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
    train.main([config_file(**whole)])
    path = config_file(**parted)
    init = train.RelationTrainer.__init__

    def interrupted(self, *args, **kwargs):
        init(self, *args, **kwargs)
        self.add_callback(StopAfter())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train.RelationTrainer, "__init__", interrupted)
        with pytest.raises(Stop):
            train.main([path])
    assert len(list((tmp_path / "parted").glob("checkpoint-*"))) == stop_after
    # Stopped while it was written, as by Ctrl-C.
    (tmp_path / "parted" / "checkpoint-99").mkdir()
    train.main([path, "--resume_from_checkpoint", "True"])
    for name in ("checkpoint-12/model.safetensors", "model.safetensors"):
        resumed, uninterrupted = (load_file(tmp_path / folder / name) for folder in ("parted", "whole"))
        for key, tensor in uninterrupted.items():
            assert torch.equal(tensor, resumed[key]), key
    assert metrics(tmp_path / "parted")["test"] == metrics(tmp_path / "whole")["test"]


def test_a_run_is_neither_mixed_with_another_nor_resumed_as_another(run, config_file, tmp_path):
    path = config_file(output_dir=str(run))
    with pytest.raises(SystemExit, match="earlier run"):
        train.main([path])
    with pytest.raises(SystemExit, match="seed: 3, not 4"):
        train.main([path, "--resume_from_checkpoint=true", "--seed=4"])
    with pytest.raises(SystemExit, match="no checkpoint in .*nothing"):
        train.main([path, "--resume_from_checkpoint=true", f"--output_dir={tmp_path / 'nothing'}"])


@pytest.mark.parametrize("argument", ["--use_gate=false", "--num_grounded_regions=1", "--input_mode=cropped"])
def test_a_checkpoint_keeps_the_values_it_was_trained_with(run, config_file, tmp_path, argument):
    name = argument.split("=")[0].removeprefix("--")
    with pytest.raises(SystemExit, match=f"`{name}` is .* but the checkpoint"):
        train.main([config_file(), "--model_name_or_path", str(run), "--do_train=false", argument])


def test_texts_longer_than_the_encoder_reads_are_refused_at_the_start(config_file, tmp_path):
    with pytest.raises(SystemExit, match="`max_length` is 65, but the text encoder reads at most 64"):
        train.main([config_file(max_length=65)])


def test_a_run_needs_only_the_splits_it_uses(run, config_file, tmp_path):
    line = {"token": ["a", "b"], "h": {"name": "a", "pos": [0, 1]}, "t": {"name": "b", "pos": [1, 2]}}
    line |= {"img_id": "a.jpg", "relation": "None"}
    (tmp_path / "mnre_test.txt").write_text(f"{line}\n", "utf-8")
    arguments = ["--dataset=mnre", f"--data_dir={tmp_path}", "--on_missing_image=text_only", "--regions=none"]
    _, data_args, args, _ = train.parse_arguments([config_file(), *arguments, "--do_train=false", "--do_eval=false"])
    assert list(train.load_posts(data_args, args)) == ["test"]


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


def test_a_checkpoint_is_evaluated_without_training(run, config_file, tmp_path):
    path = config_file()
    train.main([path, "--model_name_or_path", str(run), "--do_train", "false", "--output_dir", str(tmp_path / "again")])
    again = metrics(tmp_path / "again")
    assert "train" not in again
    assert again["test"]["f1"] == metrics(run)["test"]["f1"]
    assert again["test"]["loss"] == pytest.approx(metrics(run)["test"]["loss"], abs=1e-6)


def test_a_checkpoint_of_other_relations_is_refused(run, config_file):
    model_args, _, _, values = train.parse_arguments([config_file(), "--model_name_or_path", str(run)])
    with pytest.raises(ValueError, match="other relations"):
        train.build(model_args, values, ["None", "couple"], POSTS, run)


def test_the_resolved_configuration_repeats_the_run(run, tmp_path):
    train.main([str(run / "resolved_config.yaml"), "--output_dir", str(tmp_path / "again")])
    assert predictions(tmp_path / "again") == predictions(run)


def test_what_was_set_for_the_scheduler_is_in_the_resolved_configuration(config_file):
    arguments = [config_file(), "--lr_scheduler_type=cosine_with_restarts", '--lr_scheduler_kwargs={"num_cycles": 2}']
    model_args, data_args, args, values = train.parse_arguments(arguments)
    training = train.resolved_settings(model_args, data_args, args, values)["training"]
    assert training["lr_scheduler_kwargs"] == {"num_cycles": 2}
    assert training["lr_scheduler_type"] == "cosine_with_restarts"


@pytest.fixture
def own_files(tmp_path):
    """Synthetic posts as a user's own CSV files, with their pictures beside them; the arguments that name them."""
    arguments = []
    for split, posts in make_synthetic_posts(16, 6, 5).items():
        relations = posts.features["relation"].names
        rows = []
        for post in posts:
            lengths = [len(word) + 1 for word in post["tokens"]]
            post["image"].save(tmp_path / f"{post['id']}.png")
            row = {"text": " ".join(post["tokens"]), "image": f"{post['id']}.png"}
            for name in ("head", "tail"):
                start, end = post[name]["start"], post[name]["end"]
                row |= {f"{name}_start": sum(lengths[:start]), f"{name}_end": sum(lengths[:end]) - 1}
            row["relation"] = relations[post["relation"]] if split == "train" else "None"
            rows.append(row | {"id": post["id"], "grounded_regions": json.dumps(post["grounded_regions"])})
        with open(tmp_path / f"{split}.csv", "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        arguments += [f"--{split}_file", str(tmp_path / f"{split}.csv")]
    return ["--dataset", "files", *arguments]


def test_posts_of_a_user_in_csv_files_are_trained_on(config_file, own_files, tmp_path):
    train.main([config_file(num_train_epochs=1), *own_files])
    result = metrics(tmp_path / "run")
    assert result["posts"]["dataset"] == "files"
    assert (result["posts"]["regions"], result["posts"]["captions"]) == ("as given", None)
    assert result["posts"]["samples"] == {"train": 16, "validation": 6, "test": 5}
    assert "without a look at the label, the data does not say" in (tmp_path / "run" / "results.md").read_text()
    posts = make_synthetic_posts(16, 6, 5)
    names = {posts["train"].features["relation"].names[label] for label in posts["train"]["relation"]} - {"None"}
    model = AutoModel.from_pretrained(tmp_path / "run")
    assert model.config.id2label == dict(enumerate(["None", *sorted(names)]))
    assert [row["id"] for row in predictions(tmp_path / "run")] == posts["test"]["id"]
    # The words are those that the texts were joined of: so are the inputs.
    _, data_args, args, _ = train.parse_arguments([config_file(), *own_files])
    read = train.load_posts(data_args, args)["train"]
    for name in ("tokens", "head", "tail", "grounded_regions"):
        assert read[name] == posts["train"][name]
    _, data_args, args, _ = train.parse_arguments([config_file(), *own_files, "--regions", "none"])
    read = train.load_posts(data_args, args)
    assert read["train"]["grounded_regions"] == [[]] * 16
    assert train.protocol_facts(read, data_args, True)["regions"] == "none"


def test_posts_of_a_user_take_what_was_found_in_their_pictures(config_file, own_files, tmp_path):
    _, data_args, args, _ = train.parse_arguments([config_file(), *own_files])
    ids = [key for rows in train.load_posts(data_args, args).values() for key in rows["id"]]
    found = {"grounded_regions": [[0.1, 0.2, 0.3, 0.4]], "detected_regions": [], "caption": "two people"}
    lines = [{"mmre_annotation": 1}, *({"id": key, **found} for key in ids)]
    path = tmp_path / "found.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    arguments = [config_file(), *own_files, "--regions", str(path), "--captions", str(path)]
    _, data_args, args, _ = train.parse_arguments(arguments)
    posts = train.load_posts(data_args, args)
    for rows in posts.values():
        assert all(boxes == [pytest.approx(found["grounded_regions"][0])] for boxes in rows["grounded_regions"])
        assert set(rows["caption"]) == {"two people"}
    description = train.protocol_facts(posts, data_args, True)
    assert (description["regions"], description["captions"]) == (str(path), [str(path)])
    path.write_text("".join(json.dumps(line) + "\n" for line in lines[:-1]), "utf-8")
    with pytest.raises(SystemExit, match="1 of .* posts missing: test-"):
        train.main(arguments)


def test_a_bad_file_of_a_user_stops_the_run_with_its_row_and_field(config_file, own_files, tmp_path):
    lines = (tmp_path / "validation.csv").read_text("utf-8").splitlines()
    (tmp_path / "validation.csv").write_text("\n".join([lines[0], lines[1].replace(",None,", ",nobody,")]), "utf-8")
    with pytest.raises(SystemExit, match=r"(?s)1 problem.*validation.csv:2: relation: 'nobody'; expected one of the "):
        train.main([config_file(), *own_files])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset=files"], "needs `train_file`"),
        (["--train_file=a.csv"], "belong to `dataset` 'files', not 'synthetic'"),
        (["--dataset=files", "--train_file=a.csv", "--regions=released"], "path of an annotation file, not 'released'"),
        (["--dataset=org/posts", "--captions", "a.txt", "b.txt"], "one annotation file, not"),
    ],
)
def test_arguments_of_posts_of_a_user_must_fit_each_other(config_file, arguments, message):
    with pytest.raises(SystemExit, match=message):
        train.parse_arguments([config_file(), *arguments])


def test_a_split_that_a_user_does_not_have_is_an_error_that_says_what_to_do(config_file, own_files):
    _, data_args, args, _ = train.parse_arguments([config_file(), *own_files[:4]])
    with pytest.raises(FileNotFoundError, match="no posts for: validation, test.*give --validation_file, --test_file"):
        train.load_posts(data_args, args)
    _, data_args, args, _ = train.parse_arguments([config_file(), *own_files[:6], "--do_predict=false"])
    assert list(train.load_posts(data_args, args)) == ["train", "validation"]


def test_a_stored_data_set_is_trained_on_by_its_name(config_file, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    for split, rows in make_synthetic_posts(16, 6, 5).items():
        rows.to_parquet(tmp_path / "posts" / f"{split}.parquet")
    path = config_file(num_train_epochs=1)
    train.main([path, "--dataset", str(tmp_path / "posts"), "--regions", "none"])
    result = metrics(tmp_path / "run")
    assert (result["posts"]["regions"], result["posts"]["captions"]) == ("none", None)
    assert result["test"]["samples"] == 5
    with pytest.raises(SystemExit, match="nobody/nothing.*`dataset` is 'mnre', 'synthetic', 'files', a folder, or"):
        train.main([path, "--dataset", "nobody/nothing", "--output_dir", str(tmp_path / "other")])


def test_early_stopping_stops_early(config_file, tmp_path):
    train.main(
        [
            config_file(num_synthetic_posts=16),
            "--early_stopping_patience=1",
            "--num_train_epochs=9",
            "--learning_rate=0",
        ]
    )
    assert metrics(tmp_path / "run")["train"]["epoch"] == 2


def test_gradient_accumulation_changes_nothing(config_file, tmp_path):
    for steps, batch, folder in ((1, 8, "one"), (4, 2, "four")):
        train.main(
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


def test_the_command_runs_from_a_shell(config_file, tmp_path):
    result = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), config_file(num_synthetic_posts=8), "--num_train_epochs", "1"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert "| test | 24 |" in result.stdout
    assert "What to try next" in result.stdout


def write_tgdi_config(folder: Path, **model) -> str:
    config = json.loads(json.dumps(TINY))
    for name in ("num_grounded_regions", "num_detected_regions"):
        del config["model"][name]
    config["model"] |= {"model_type": "tgdi", "num_object_images": 1} | model
    config["data"]["num_synthetic_posts"] = 16
    config["training"]["output_dir"] = str(folder / "run")
    (folder / "config.yaml").write_text(yaml.safe_dump(config), "utf-8")
    return str(folder / "config.yaml")


@pytest.mark.parametrize("use_caption", [True, False])
def test_a_model_that_reads_captions_says_once_that_there_are_none(tmp_path, monkeypatch, use_caption):
    warnings = []
    monkeypatch.setattr(train.logger, "warning", warnings.append)
    posts = make_synthetic_posts(num_train=16)
    posts = posts.map(lambda _: {"caption": None}, features=posts["train"].features)
    monkeypatch.setattr(train, "make_synthetic_posts", lambda **_: posts)
    train.main([write_tgdi_config(tmp_path, use_caption=use_caption)])
    assert (
        warnings
        == ["TGDIForRelationClassification reads captions, but the posts have none: it works without."][:use_caption]
    )


def test_captions_that_the_model_does_not_read_are_refused(config_file, tmp_path, monkeypatch):
    monkeypatch.setattr(train, "load_mnre", lambda *_, **__: make_synthetic_posts(num_train=8))
    path = config_file(dataset="mnre", data_dir="somewhere", regions="none", captions=["captions.txt"])
    with pytest.raises(SystemExit, match="FocalMREForRelationClassification as configured reads no captions"):
        train.main([path])


def test_tgdi_is_trained_by_the_same_command(tgdi_run):
    assert metrics(tgdi_run)["posts"]["captions"] == "drawn"
    processor, model = AutoProcessor.from_pretrained(tgdi_run), AutoModel.from_pretrained(tgdi_run)
    assert type(model).__name__ == "TGDIForRelationClassification"
    assert model.config.num_object_images == processor.num_object_images == 1
    post = make_synthetic_posts(num_train=16)["test"][5]
    inputs = PostCollator(processor)([post])
    with torch.no_grad():
        probabilities = model(**inputs).logits.softmax(-1)[0]
    row = predictions(tgdi_run)[5]
    torch.testing.assert_close(torch.tensor(list(row["probabilities"].values())), probabilities, atol=1e-5, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["quickstart", "tgdi_quickstart"])
def test_the_quickstart_looks_at_the_picture(name, tmp_path):
    for shuffled in (0, 1):
        folder = tmp_path / str(shuffled)
        train.main([str(ROOT / f"configs/{name}.yaml"), "--align_noise", str(shuffled), "--output_dir", str(folder)])
    assert metrics(tmp_path / "0")["test"]["f1"] >= 0.85
    assert metrics(tmp_path / "1")["test"]["f1"] < 0.5


def test_pictures_are_shuffled_when_the_protocol_says_so(config_file):
    _, data_args, args, _ = train.parse_arguments([config_file(), "--align_noise", "1"])
    shuffled = train.load_posts(data_args, args)
    _, data_args, args, _ = train.parse_arguments([config_file()])
    plain = train.load_posts(data_args, args)
    for split in plain:
        assert shuffled[split]["id"] == plain[split]["id"]
        moved = [a["image"].tobytes() != b["image"].tobytes() for a, b in zip(shuffled[split], plain[split])]
        assert all(moved)
