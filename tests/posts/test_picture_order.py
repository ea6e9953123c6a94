"""The order in which posts are evaluated."""

from mmre.posts.picture_order import together


def test_posts_of_one_picture_stand_together_and_the_longest_text_comes_first():
    keys = ["a", "b", None, "a", "c", None, "b"]
    lengths = [3, 4, 9, 8, 4, 1, 2]
    # The picture a has a text of 8, b and c of 4, b's posts stand first; posts without a picture stand for themselves.
    assert together(keys, lengths) == [2, 0, 3, 1, 6, 4, 5]


def test_without_pictures_posts_are_ordered_by_their_length():
    assert together([None] * 4, [2, 5, 2, 7]) == [3, 1, 0, 2]
    assert together([], []) == []
