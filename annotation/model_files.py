"""Files of a model in a folder as a short key, so that a long run does not go on with another model."""

import hashlib
import os
from pathlib import Path

# What decides what a model says; not what a run writes beside it.
PATTERNS = (
    *("*.safetensors", "pytorch_model*.bin", "*config.json", "tokenizer*", "vocab*", "merges.txt", "*.model"),
    *("special_tokens_map.json", "added_tokens.json", "*.py"),
)
CHUNK = 1 << 20


def files_fingerprint(name: str | os.PathLike) -> str | None:
    """Hash the files of a model in a folder, and of the model below a LoRA adapter in its `base_model`.

    Args:
        name: a folder, or a name on the Hub.

    Returns:
        A SHA-256 in hexadecimal digits; None for a name on the Hub, where the commit says which files they are.
    """
    if not os.path.isdir(name):
        return None
    digest = hashlib.sha256()
    for folder in (Path(name), Path(name) / "base_model"):
        for path in sorted({path for pattern in PATTERNS for path in folder.glob(pattern) if path.is_file()}):
            digest.update(f"{path.relative_to(name).as_posix()}\n".encode())
            with open(path, "rb") as file:
                while chunk := file.read(CHUNK):
                    digest.update(chunk)
    return digest.hexdigest()


__all__ = ["files_fingerprint"]
