"""The posts of a tiny batch one by one: their own tokens, and what the vision encoder says of their own pictures."""

from typing import NamedTuple

import torch


class Post(NamedTuple):
    """A post without padding and without absent pictures.

    Args:
        input_ids: (T,), its tokens.
        positions: where head and tail stand.
        pictures: for each picture that exists its slot and its cells (P, d_v).
        boxes: for each of these its box, if the system reads boxes.
    """

    input_ids: torch.Tensor
    positions: list[int]
    pictures: list[tuple[int, torch.Tensor]]
    boxes: list[torch.Tensor]


def cells_of(model, picture: torch.Tensor) -> torch.Tensor:
    """Encode one picture alone: its patches, or the cells of the last feature map, row by row."""
    if model.config.vision_features == "patches":
        size = model.config.vision_config.patch_size
        states = model.vision_model(pixel_values=picture[None]).last_hidden_state[0]
        return states[-(picture.shape[1] // size) * (picture.shape[2] // size) :]
    feature_map = model.vision_model(picture[None]).feature_maps[-1][0]
    return torch.stack([feature_map[:, y, x] for y in range(feature_map.shape[1]) for x in range(feature_map.shape[2])])


def posts_of(model, batch: dict[str, torch.Tensor]) -> list[Post]:
    """Take a batch apart."""
    posts = []
    for index, input_ids in enumerate(batch["input_ids"]):
        tokens = [i for i, is_text in enumerate(batch["attention_mask"][index].tolist()) if is_text]
        slots = [i for i, exists in enumerate(batch["image_mask"][index].tolist()) if exists]
        posts.append(
            Post(
                input_ids[tokens],
                batch["entity_positions"][index].tolist(),
                [(slot, cells_of(model, batch["pixel_values"][index, slot])) for slot in slots],
                [batch["boxes"][index, slot] for slot in slots] if "boxes" in batch else [],
            )
        )
    return posts


def at_the_entities(post: Post, states: torch.Tensor) -> torch.Tensor:
    """Put the states at head and tail side by side."""
    return torch.cat([states[position] for position in post.positions])
