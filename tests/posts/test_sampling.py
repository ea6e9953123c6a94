"""Samples of the training posts: as many as were asked for, as they are, the same for a seed."""

from collections import Counter

import pytest
from protocol_helpers import others

from mmre.posts.sampling import sample_per_relation, sample_share


@pytest.mark.parametrize("share", [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 1.0])
def test_a_share_of_the_posts_is_drawn_without_replacement_and_as_they_are(posts, share):
    drawn = sample_share(posts, share, seed=0)
    assert len(drawn) == round(share * len(posts)) == len(set(drawn["id"]))
    by_id = {row["id"]: row for row in others(posts)}
    assert others(drawn) == [by_id[name] for name in drawn["id"]]
    assert drawn["id"][:] == [name for name in posts["id"] if name in set(drawn["id"])]


@pytest.mark.parametrize("number", [1, 2, 5, 10])
def test_each_relation_keeps_so_many_posts_and_one_with_fewer_all(drawn, number):
    before, after = Counter(drawn["relation"]), sample_per_relation(drawn, number, seed=0)
    assert Counter(after["relation"]) == {relation: min(number, count) for relation, count in before.items()}
    by_id = {row["id"]: row for row in others(drawn)}
    assert others(after) == [by_id[name] for name in after["id"]]
    assert min(before.values()) < 10  # or the test would not show it


@pytest.mark.parametrize(
    "sample", [lambda posts, seed: sample_share(posts, 0.3, seed), lambda *a: sample_per_relation(a[0], 5, a[1])]
)
def test_a_drawn_subset_is_repeated_by_its_seed(posts, sample):
    ids = [sample(posts, seed)["id"][:] for seed in (1, 1, 2)]
    assert ids[0] == ids[1] != ids[2]


def test_shares_and_numbers_that_mean_nothing_are_refused(posts):
    for share in (-0.1, 1.1):
        with pytest.raises(ValueError, match="must be in"):
            sample_share(posts, share, seed=0)
    with pytest.raises(ValueError, match="no post"):
        sample_share(posts, 0.001, seed=0)
    with pytest.raises(ValueError, match="at least 1"):
        sample_per_relation(posts, 0, seed=0)
