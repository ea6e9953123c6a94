"""Pictures at a model's size, kept so that each is decoded and scaled once: in memory, and in a folder if given."""

import hashlib
import os
import struct
import tempfile
import zlib
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Any

import PIL
from PIL import Image
from transformers.utils import logging

# Bytes of pictures in memory, at most. What is there stays there: an epoch asks for each picture once, so what was
# asked for last is asked for last again.
MEMORY = 512 * 2**20
BYTES_OF_A_PIXEL = 4  # PIL pads RGB
# A file: these, the checksum of the rest, width and height of the source, then of the picture; and its pixels in RGB.
MAGIC, HEADER = b"mmre-picture-1\n", struct.Struct("<I4I")

logger = logging.get_logger(__name__)

Kept = tuple[Image.Image, tuple[int, int]]  # a picture, and the size of what it was made from


class PictureCache:
    """Keeps what was made of pictures, by the content of their files and by all that it was made with.

    A file is written beside its place and moved there whole, so that several processes may share a folder, and a kill
    leaves no half of a picture behind. A file that is damaged all the same counts as absent.

    Args:
        folder: where to keep pictures; made if it is not there. Only in memory if not given.
        memory: most bytes of pictures in memory.

    Raises:
        OSError: the folder cannot be made.
    """

    def __init__(self, folder: str | os.PathLike | None = None, memory: int = MEMORY):
        self.folder = None if folder is None else Path(folder)
        self.room = memory
        self._kept: dict[bytes, Kept] = {}
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)

    def __deepcopy__(self, memo: dict) -> "PictureCache":
        # A processor copies all that it holds when it is saved or printed.
        return self

    def get(self, key: bytes, make: Callable[[], Kept]) -> Kept:
        """Return a picture and the size of its source; made where it is not there.

        Args:
            key: see [`cache_key`].
            make: makes them.
        """
        kept = self._kept.get(key)
        if kept is not None:
            return kept
        kept = self._read(key)
        if kept is None:
            kept = make()
            self._write(key, kept)
        size = kept[0].width * kept[0].height * BYTES_OF_A_PIXEL
        if size <= self.room:
            self.room -= size
            self._kept[key] = kept
        return kept

    def _path(self, key: bytes) -> Path:
        name = key.hex()
        return self.folder / name[:2] / name[2:]

    def _read(self, key: bytes) -> Kept | None:
        if self.folder is None:
            return None
        try:
            content = self._path(key).read_bytes()
        except FileNotFoundError:
            return None
        start = len(MAGIC) + HEADER.size
        if not content.startswith(MAGIC) or len(content) < start:
            return None
        checksum, source_width, source_height, width, height = HEADER.unpack_from(content, len(MAGIC))
        rest = memoryview(content)[len(MAGIC) + 4 :]
        if len(content) != start + 3 * width * height or zlib.crc32(rest) != checksum:
            return None
        return Image.frombytes("RGB", (width, height), content[start:]), (source_width, source_height)

    def _write(self, key: bytes, kept: Kept) -> None:
        if self.folder is None:
            return
        image, source = kept
        rest = struct.pack("<4I", *source, *image.size) + image.tobytes()
        path, written = self._path(key), None
        try:
            path.parent.mkdir(exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
                written = file.name
                file.write(MAGIC + struct.pack("<I", zlib.crc32(rest)) + rest)
            os.replace(written, path)
        except OSError as error:  # a disk that is full makes the run slower, and ends it not
            if written is not None and os.path.exists(written):
                os.unlink(written)
            logger.warning_once(f"The picture cache {self.folder} cannot be written: {error}. The run goes on without.")


def picture_content(image: Any) -> bytes | None:
    """Return the content of a picture's file; none of what is no file.

    Args:
        image: a path, the bytes of a file, or `{"bytes": ..., "path": ...}`; or a picture in memory, which has none.

    Raises:
        OSError: the file cannot be read.
    """
    image = _path_or_bytes(image)
    if isinstance(image, (str, os.PathLike)) and os.path.isfile(image):
        return Path(image).read_bytes()
    return image if isinstance(image, bytes) else None


def same_picture(image: Any) -> Hashable:
    """Return what is equal for pictures that are the same: their path, their bytes, or the very object in memory.

    Args:
        image: as in [`picture_content`].
    """
    image = _path_or_bytes(image)
    if isinstance(image, (str, os.PathLike)):
        return os.fspath(image)
    return image if isinstance(image, bytes) else id(image)


def _path_or_bytes(image: Any) -> Any:
    if isinstance(image, Mapping):
        return image.get("path") if image.get("bytes") is None else image["bytes"]
    return image


def cache_key(content: bytes, *settings: Any) -> bytes:
    """Return the key of what is made of a file's content with these settings, by this version of PIL."""
    key = hashlib.blake2b(content, digest_size=20)
    key.update(repr((MAGIC, PIL.__version__, settings)).encode())
    return key.digest()


__all__ = ["PictureCache", "cache_key", "picture_content", "same_picture"]
