"""The demonstrations of a prompt: posts with their relations, drawn at random from the training posts."""

import random
from collections import defaultdict
from collections.abc import Sequence

from .prompts import PromptPost, one_line


class Demonstrations:
    """Demonstrations in an order that is drawn once, by the seed alone: each post is shown the first ones it may see.

    FocalMRE (section 4.3) draws 2 to 5 at random, and does not say how often. Drawn once, they are the same for most
    posts, and a model reads them once. None is the post itself, or has its text or its picture: these would give the
    answer away. A post that may not see one of the first is shown the next in its place.

    Args:
        posts: posts with their relations.
        picture_keys: what the picture of each is known by, see [`~mmre.posts.fingerprint.picture_keys`].
        shots: how many are drawn; None for all that a post may see.
        seed: of the draw.
        stratified: draw each relation equally often, instead of as often as it is there.

    Raises:
        ValueError: there are fewer posts than shots.
    """

    def __init__(
        self,
        posts: Sequence[PromptPost],
        picture_keys: Sequence[str | None],
        shots: int | None,
        seed: int = 42,
        stratified: bool = False,
    ):
        if shots is not None and shots < 0:
            raise ValueError(f"`shots` is {shots}; expected 0 or more")
        if shots is not None and len(posts) < shots:
            raise ValueError(f"`shots` is {shots}, and there are {len(posts)} posts to draw from: draw fewer")
        self.posts, self.picture_keys, self.shots, self.seed = posts, picture_keys, shots, seed
        self.texts = [one_line(post.text).casefold() for post in posts]
        groups, generator = defaultdict(list), random.Random(seed)
        for index, post in enumerate(posts):
            groups[post.relation if stratified else None].append(index)
        self.groups = [groups[relation] for relation in generator.sample(sorted(groups), len(groups))]
        for group in self.groups:
            generator.shuffle(group)

    def draw(self, post: PromptPost, picture_key: str | None = None) -> list[PromptPost]:
        """Return the demonstrations for a post.

        Args:
            post: the post to ask about.
            picture_key: what its picture is known by.

        Raises:
            ValueError: too few posts have another text and another picture.
        """
        text = one_line(post.text).casefold()
        groups = [
            (
                index
                for index in group
                if self.posts[index].id != post.id
                and self.texts[index] != text
                and (picture_key is None or self.picture_keys[index] != picture_key)
            )
            for group in self.groups
        ]
        drawn, shots = [], len(self.posts) if self.shots is None else self.shots
        while len(drawn) < shots and groups:
            for group in list(groups):
                index = next(group, None)
                if index is None:
                    groups.remove(group)
                elif len(drawn) < shots:
                    drawn.append(self.posts[index])
        if self.shots is not None and len(drawn) < self.shots:
            raise ValueError(
                f"{len(drawn)} posts have another text and another picture than {post.id!r}, and `shots` is "
                f"{self.shots}: draw fewer"
            )
        return drawn


__all__ = ["Demonstrations"]
