"""MEGA: both alignments and their fusion by hand, and the structural one against the published way with landmarks."""

import math

import numpy as np
import pytest
import torch
from model_helpers import take, tiny_batch, tiny_model, without
from post_by_post import at_the_entities, posts_of
from slow_attention import slow_attention, slow_norm

from mmre.modeling.modeling_mega_mre import structural_alignment

CASE = "mega_mre"


def linear(layer, states: torch.Tensor) -> torch.Tensor:
    return states @ layer.weight.T + layer.bias


def weights_by_hand(words: torch.Tensor, objects: list[torch.Tensor], num_nearest: int) -> list[list[float]]:
    """Weigh each object for each token: its nearest, the earlier of two that are equally near."""
    rows = [[0.0] * len(words) for _ in objects]
    for token, word in enumerate(words):
        if not any(word):
            continue
        far = [math.sqrt(sum((a - b) ** 2 for a, b in zip(word.tolist(), each.tolist()))) for each in objects]
        for index in sorted(range(len(objects)), key=lambda index: (far[index], index))[:num_nearest]:
            rows[index][token] = math.exp(-math.sqrt(2 - 2 * math.exp(-far[index])))
    return rows


@torch.no_grad()
def test_objects_gather_words_by_meaning_and_by_structure():
    model = tiny_model(CASE)
    batch = tiny_batch(CASE, model.config)
    logits = model(**batch).logits
    embedding = model.object_embedding
    for index, post in enumerate(posts_of(model, batch)):
        states = model.text_model(post.input_ids[None]).last_hidden_state[0]
        pair, words, aligned = at_the_entities(post, states), linear(model.word_projection, states), torch.zeros(32)
        described = [batch["region_structure"][index, slot] for slot, _ in post.pictures]
        weights = weights_by_hand(batch["word_structure"][index, : len(words)], described, num_nearest=2)
        for (_, cells), box, of_words in zip(post.pictures, post.boxes, weights):
            x_min, y_min, x_max, y_max = box
            five = torch.stack([x_min, y_min, x_max, y_max, (x_max - x_min) * (y_max - y_min)])
            added = linear(embedding.feature, sum(cells) / len(cells)) + linear(embedding.box, five)
            query = linear(model.query_projection, slow_norm(embedding.norm, added[None]))
            gathered = slow_attention(
                query, linear(model.key_projection, words), linear(model.value_projection, words), 1
            )[0]
            semantic = 1 / (1 + torch.exp(-gathered))
            structural = sum(weight * word for weight, word in zip(of_words, words))
            aligned += linear(model.alignment_fusion, torch.cat([semantic, structural]))
        expected = linear(model.classifier, linear(model.fusion, torch.cat([pair, aligned])))
        torch.testing.assert_close(logits[index], expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_the_weights_are_those_of_embeddings_by_landmarks_drawn_at_random(seed):
    """REGAL's way: similarity to landmarks, a factor of the pseudo-inverse among these, vectors of length 1."""
    rng = np.random.default_rng(seed)
    # Different nodes: of equal ones the pseudo-inverse is no more than nearly exact.
    nodes = rng.random((19, 8)) * rng.integers(1, 4, (19, 1))
    similarity = np.exp(-np.linalg.norm(nodes[:, None] - nodes[None], axis=2))
    landmarks = rng.permutation(19)
    factor, values, _ = np.linalg.svd(np.linalg.pinv(similarity[np.ix_(landmarks, landmarks)]))
    embedded = similarity[:, landmarks] @ factor @ np.diag(np.sqrt(values))
    embedded /= np.linalg.norm(embedded, axis=1, keepdims=True)
    words, objects = embedded[:12], embedded[12:]
    expected = np.exp(-np.linalg.norm(objects[:, None] - words[None], axis=2))  # (7, 12)
    for word in range(12):
        expected[np.argsort(-expected[:, word])[5:], word] = 0
    given = torch.tensor(nodes[None], dtype=torch.float32)
    found = structural_alignment(given[:, :12], given[:, 12:], torch.ones(1, 7, dtype=torch.bool), 5)
    torch.testing.assert_close(found[0], torch.tensor(expected, dtype=torch.float32), atol=1e-4, rtol=1e-4)


def test_of_equally_near_objects_the_earlier_ones_are_the_nearest_and_absent_ones_never():
    words = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])  # the second token is the first of no word
    objects = torch.tensor([[[9.0, 9.0], [1.0, 1.0], [float("nan")] * 2, [0.0, 0.0], [1.0, 0.0], [2.0, 0.0]]])
    mask = torch.tensor([[True, True, False, True, True, True]])
    one = math.exp(-math.sqrt(2 - 2 * math.exp(-1)))  # three objects are 1 away, one is the word's twin
    expected = torch.tensor([[0.0, one, 0.0, one, 1.0, 0.0], [0.0] * 6]).T
    torch.testing.assert_close(structural_alignment(words, objects, mask, 3)[0], expected)
    assert not structural_alignment(words, objects, torch.zeros_like(mask), 3).any()


@torch.no_grad()
@pytest.mark.parametrize("name", ["boxes", "word_structure", "region_structure"])
def test_regions_need_their_boxes_and_the_structure_of_both_graphs(name):
    model = tiny_model(CASE)
    batch = tiny_batch(CASE, model.config)
    with pytest.raises(ValueError, match=f"`{name}` is None"):
        model(**without(batch, name))
    with pytest.raises(ValueError, match=rf"`{name}` must have shape \(5, "):
        model(**batch | {name: batch[name][:, 1:]})
    changed = batch[name].clone()
    changed[0, 1] /= 2
    difference = (model(**batch).logits - model(**batch | {name: changed}).logits).abs().amax(dim=1)
    assert (difference > 1e-4).tolist() == [True, False, False, False, False]


@torch.no_grad()
def test_a_post_without_regions_needs_no_graph():
    model = tiny_model(CASE)
    post = take(tiny_batch(CASE, model.config), [2])
    bare = without(post, "word_structure", "region_structure", "boxes", "pixel_values", "image_mask")
    torch.testing.assert_close(model(**bare).logits, model(**post).logits)
