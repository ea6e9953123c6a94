"""The orders of training and of evaluation."""

import datasets
import pytest
import torch
from accelerate.data_loader import BatchSamplerShard
from run_helpers import settings_of
from torch.utils.data import BatchSampler

from mmre.posts.collator import PostCollator
from mmre.training.encoders import build
from mmre.training.sampler import PictureGroupedSampler
from mmre.training.splits import open_splits
from mmre.training.trainer import RelationTrainer

KEYS = [None if number % 7 == 0 else f"picture {number % 40}" for number in range(200)]
LENGTHS = [5 + number % 11 for number in range(200)]


def pictures_of(batches: list[list[int]]) -> int:
    return sum(len({KEYS[number] or number for number in batch}) for batch in batches)


def test_posts_of_one_picture_meet_and_each_post_comes_once():
    sampler = PictureGroupedSampler(8, LENGTHS, KEYS, seed=0)
    order = list(sampler)
    assert sorted(order) == list(range(200)) and len(sampler) == 200
    batches = [order[start : start + 8] for start in range(0, 200, 8)]
    by_chance = torch.randperm(200, generator=torch.Generator().manual_seed(0)).tolist()
    at_random = [by_chance[start : start + 8] for start in range(0, 200, 8)]
    different = len({key or number for number, key in enumerate(KEYS)})
    # Each picture is in one batch, or in two where a batch ends among its posts.
    assert different <= pictures_of(batches) <= different + len(batches) < pictures_of(at_random)


def test_the_order_is_that_of_the_seed_and_the_epoch_whatever_was_drawn_before():
    first, again, other = (PictureGroupedSampler(8, LENGTHS, KEYS, seed) for seed in (3, 3, 4))
    torch.rand(5)
    assert list(first) == list(first) == list(again) != list(other)
    first.set_epoch(1)
    next_epoch = list(first)
    assert next_epoch != list(again)
    again.set_epoch(1)
    assert list(again) == next_epoch


def test_two_processes_see_the_batches_of_one():
    def batches(size):
        return BatchSampler(PictureGroupedSampler(8, LENGTHS, KEYS, seed=0), size, drop_last=False)

    halves = [list(BatchSamplerShard(batches(4), 2, process)) for process in (0, 1)]
    assert [first + second for first, second in zip(*halves)] == list(batches(8))


@pytest.fixture
def trained(config_file, tmp_path):
    """A trainer of a random model, its processor and posts of which several share a picture."""

    def make(*words):
        settings = settings_of([config_file(max_predict_samples=40), *words])
        posts = open_splits(settings.data, settings.training)
        rows = posts["test"].to_list()
        for number, row in enumerate(rows):
            row["image"] = rows[number % 5]["image"]
        rows[3]["image"], rows[3]["grounded_regions"], rows[3]["detected_regions"] = None, [], []
        shared = datasets.Dataset.from_list(rows, features=posts["test"].features)
        relations = posts["test"].features["relation"].names
        processor, model = build(settings.model, settings.values, relations, posts, tmp_path)
        trainer = RelationTrainer(
            model=model.eval(),
            args=settings.training,
            eval_dataset=shared,
            data_collator=PostCollator(processor),
            processing_class=processor,
        )
        return trainer, shared

    return make


def test_evaluation_puts_posts_of_one_picture_together_and_answers_in_the_order_of_the_posts(trained):
    trainer, rows = trained()
    order = trainer._evaluation_order(rows)
    assert order != list(range(len(rows))) and sorted(order) == list(range(len(rows)))
    assert trainer._evaluation_order(rows) is order  # found once
    result = trainer.predict(rows)
    expected = []
    with torch.no_grad():
        for row in rows:
            expected.append(trainer.model(**trainer.data_collator([row])).logits[0])
    torch.testing.assert_close(torch.tensor(result.predictions), torch.stack(expected), atol=1e-5, rtol=0)
    assert (torch.stack(expected).std(0) > 1e-3).all()  # or an order could not be told from another
    assert result.label_ids.tolist() == rows["relation"][:]


def test_an_evaluation_encodes_fewer_pictures_than_one_in_the_order_of_the_file(trained, monkeypatch):
    trainer, rows = trained()
    counts = []
    forward = trainer.model.vision_model.forward
    monkeypatch.setattr(
        trainer.model.vision_model,
        "forward",
        lambda *args, **named: counts.append(len(named["pixel_values"])) or forward(*args, **named),
    )
    trainer.predict(rows.remove_columns("detected_regions").add_column("detected_regions", [[]] * len(rows)))
    together = sum(counts)
    counts.clear()
    monkeypatch.setattr(trainer, "_evaluation_order", lambda rows: None)
    trainer.predict(rows.remove_columns("detected_regions").add_column("detected_regions", [[]] * len(rows)))
    assert together < sum(counts)


def test_training_by_pictures_takes_the_posts_pictures_and_lengths(trained):
    trainer, rows = trained("--train_sampling_strategy", "group_by_picture", "--gradient_accumulation_steps", "2")
    sampler = trainer._get_train_sampler(rows)
    assert isinstance(sampler, PictureGroupedSampler) and sampler.batch_size == 16
    assert sampler.lengths == rows["length"][:] and len(set(sampler.keys)) == 6  # five pictures and none
