"""The demonstrations of a prompt: posts with their relations, drawn at random from the training posts."""

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence

from .prompts import PromptPost, one_line


class Demonstrations:
    """Draws demonstrations for one post after another; which, depends on the seed and the post's id alone.

    FocalMRE (section 4.3) draws 2 to 5 at random. None is the post itself, or has its text or its picture: these would
    give the answer away.

    Args:
        posts: posts with their relations.
        picture_keys: what the picture of each is known by, see [`~mmre.posts.fingerprint.picture_keys`].
        shots: how many are drawn.
        seed: of the draw.
        stratified: draw each relation equally often, instead of as often as it is there.

    Raises:
        ValueError: there are fewer posts than shots.
    """

    def __init__(
        self,
        posts: Sequence[PromptPost],
        picture_keys: Sequence[str | None],
        shots: int,
        seed: int = 42,
        stratified: bool = False,
    ):
        if shots < 0:
            raise ValueError(f"`shots` is {shots}; expected 0 or more")
        if len(posts) < shots:
            raise ValueError(f"`shots` is {shots}, and there are {len(posts)} posts to draw from: draw fewer")
        self.posts, self.picture_keys, self.shots, self.seed = posts, picture_keys, shots, seed
        self.texts = [one_line(post.text).casefold() for post in posts]
        groups = defaultdict(list)
        for index, post in enumerate(posts):
            groups[post.relation if stratified else None].append(index)
        self.groups = [groups[relation] for relation in sorted(groups)]

    def draw(self, post: PromptPost, picture_key: str | None = None) -> list[PromptPost]:
        """Draw the demonstrations for a post.

        Args:
            post: the post to ask about.
            picture_key: what its picture is known by.

        Raises:
            ValueError: too few posts have another text and another picture.
        """
        generator, text = random.Random(f"{self.seed} {post.id}"), one_line(post.text).casefold()
        groups = [
            (
                index
                for index in _shuffled(group, generator)
                if self.posts[index].id != post.id
                and self.texts[index] != text
                and (picture_key is None or self.picture_keys[index] != picture_key)
            )
            for group in generator.sample(self.groups, len(self.groups))
        ]
        drawn = []
        while len(drawn) < self.shots and groups:
            for group in list(groups):
                index = next(group, None)
                if index is None:
                    groups.remove(group)
                elif len(drawn) < self.shots:
                    drawn.append(self.posts[index])
        if len(drawn) < self.shots:
            raise ValueError(
                f"{len(drawn)} posts have another text and another picture than {post.id!r}, and `shots` is "
                f"{self.shots}: draw fewer"
            )
        return drawn


def _shuffled(items: Sequence[int], generator: random.Random) -> Iterator[int]:
    """Give items in random order, one by one: few are asked for of many."""
    moved = {}
    for last in reversed(range(len(items))):
        place = generator.randint(0, last)
        yield items[moved.get(place, place)]
        moved[place] = moved.get(last, last)


__all__ = ["Demonstrations"]
