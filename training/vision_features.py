"""Features of pictures by a frozen vision encoder, computed once and kept in a folder.

A file for each picture, read as a memory map: epochs after the first, and later runs with the same encoder and the same
pictures, encode none.
"""

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten
from transformers import PreTrainedModel
from transformers.utils import ModelOutput


def keep_vision_features(model: PreTrainedModel, folder: str | os.PathLike) -> None:
    """Have the vision encoders of a model look in a folder for what they made of a picture before.

    Args:
        model: its vision encoders are frozen.
        folder: made if it is not there; encoders of other weights have other files in it.

    Raises:
        ValueError: the model reads no picture, or what its vision encoder makes of one depends on the text.
        OSError: the folder cannot be made.
    """
    # By the attribute, not by the class: a run depends on the files of its own system alone.
    if not model.encoders("vision") or "vision_config" in getattr(model, "prefixed", ()):
        reason = "has no vision encoder" if not model.encoders("vision") else "has its vision encoder read the text"
        raise ValueError(f"`feature_cache`: {type(model).__name__} {reason}: leave it out.")
    for encoder in model.encoders("vision"):
        encoder.forward = _KeptFeatures(encoder, Path(folder) / _fingerprint(encoder))


class _KeptFeatures:
    """Stands in the place of a frozen encoder's `forward`."""

    def __init__(self, encoder: PreTrainedModel, folder: Path):
        self.forward, self.folder = encoder.forward, folder
        self.made: dict[str, tuple[TreeSpec, list[torch.Tensor]]] = {}  # of each kind of call, one picture's
        folder.mkdir(parents=True, exist_ok=True)

    def __call__(self, pixel_values: torch.Tensor, **arguments: Any) -> ModelOutput:
        """Return what the encoder returns for pictures (N, 3, H, W); without gradients, for nothing has any."""
        with torch.no_grad():
            return self._look_up(pixel_values, arguments)

    def _look_up(self, pixel_values: torch.Tensor, arguments: dict[str, Any]) -> ModelOutput:
        device = pixel_values.device.type
        narrow = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        kind = repr((sorted(arguments.items()), pixel_values.shape[1:], pixel_values.dtype, narrow))
        if kind not in self.made:  # the form of the outputs, and their types
            outputs, spec = tree_flatten(self.forward(pixel_values=pixel_values[:1], **arguments))
            self.made[kind] = spec, [None if value is None else value[:1].cpu() for value in outputs]
        spec, examples = self.made[kind]
        pictures = pixel_values.contiguous().cpu().flatten(1).view(torch.uint8).numpy()
        paths = [self._path(kind, picture) for picture in pictures]
        size = sum(value.nbytes for value in examples if value is not None)
        missing = [index for index, path in enumerate(paths) if not (path.is_file() and path.stat().st_size == size)]
        if missing:
            self._write([paths[index] for index in missing], pixel_values[missing], arguments)
        rows = np.stack([np.memmap(path, np.uint8, mode="r") for path in paths])
        values, start = [], 0
        for example in examples:
            if example is not None:
                part = torch.from_numpy(rows[:, start : start + example.nbytes].copy())
                start += example.nbytes
                example = part.view(example.dtype).view(len(paths), *example.shape[1:]).to(pixel_values.device)
            values.append(example)
        return tree_unflatten(values, spec)

    def _path(self, kind: str, picture: np.ndarray) -> Path:
        key = hashlib.blake2b(picture.tobytes(), digest_size=20)
        key.update(kind.encode())
        name = key.hexdigest()
        return self.folder / name[:2] / name[2:]

    def _write(self, paths: list[Path], pixel_values: torch.Tensor, arguments: dict[str, Any]) -> None:
        """Encode pictures, and write a file for each, beside its place and moved there whole."""
        outputs, _ = tree_flatten(self.forward(pixel_values=pixel_values, **arguments))
        values = [value.contiguous().cpu() for value in outputs if value is not None]
        for index, path in enumerate(paths):
            path.parent.mkdir(exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
                for value in values:
                    file.write(value[index].flatten().view(torch.uint8).numpy())
            os.replace(file.name, path)


def _fingerprint(encoder: PreTrainedModel) -> str:
    """Return a hash of an encoder's weights and configuration."""
    fingerprint = hashlib.sha256(encoder.config.to_json_string().encode())
    for name, weight in sorted(encoder.state_dict().items()):
        fingerprint.update(
            name.encode() + weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
        )
    return fingerprint.hexdigest()[:32]


__all__ = ["keep_vision_features"]
