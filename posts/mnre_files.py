"""MNRE's files, found by their names, wherever below a folder they lie."""

import filecmp
import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from .lookalikes import composed

# The names that people have for each split; in names of files, {} stands for one of them.
SPLIT_NAMES = {"train": ("train",), "validation": ("val", "dev", "validation"), "test": ("test",)}
TEXT_FILES = ("mnre_{}.txt", "mnre_{} .txt", "ours_{}.txt")  # the space is the authors', in the name of the dev file
VERSION_1_TEXT_FILES = ("mnre_org_{}.txt",)
RELATION_FILES = ("ours_rel2id.json", "mnre_rel2id.json")
# The files of boxes that `regions` of these names needs, the detected ones last.
BOX_FILES = {
    "released": ("{}_vg_box_dict.pth", "{}_detect_box_dict.pth"),
    "detected": ("{}_detect_box_dict.pth",),
}
GROUNDED_NAME_FILES = ("mre_{}_dict.pth",)
DETECTED_NAME_FILES = ("{}_img2crop.pth",)
IMAGE_FOLDER = "img_org"


def index_files(folder: str | os.PathLike) -> dict[str, list[str]]:
    """Index all files below a folder: one walk, where a look for each image would be thousands.

    Args:
        folder: links are followed, hidden folders are not.

    Returns:
        The paths of all files that have a name, by that name with composed letters.

    Raises:
        FileNotFoundError: the folder is not there.
    """
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"{folder} is not a folder")
    files, seen = defaultdict(list), set()
    for parent, folders, file_names in os.walk(os.path.abspath(folder), followlinks=True):
        if os.path.realpath(parent) in seen:  # a link back up would never end
            folders.clear()
            continue
        seen.add(os.path.realpath(parent))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in file_names:
            files[composed(name)].append(os.path.join(parent, name))
    return files


def is_mnre_folder(folder: str | os.PathLike) -> bool:
    """Tell whether a text file of MNRE is somewhere below a folder."""
    files = index_files(folder)
    return any(name in files for split in SPLIT_NAMES for name in names_of(TEXT_FILES, split))


def names_of(templates: Iterable[str], split: str) -> list[str]:
    """Return the names that a split's file may have."""
    return [template.format(name) for template in templates for name in SPLIT_NAMES[split]]


def find_file(files: dict[str, list[str]], wanted: Iterable[str]) -> str | None:
    """Find the only file of the wanted names; None if there is none.

    Raises:
        ValueError: two files of these names differ.
    """
    return only_file([path for name in wanted for path in files.get(name, [])])


def only_file(paths: list[str]) -> str | None:
    """Return the first of equal files; raise `ValueError` if two of them differ, for either could be meant."""
    for other in paths[1:]:
        if not filecmp.cmp(paths[0], other, shallow=False):
            raise ValueError(f"{paths[0]} and {other} differ, and either could be meant; give a folder with only one")
    return paths[0] if paths else None


def find_texts(files: dict[str, list[str]], data_dir: str | os.PathLike) -> dict[str, str]:
    """Find the text file of each split that has one.

    Args:
        files: from [`index_files`].
        data_dir: the folder, for messages.

    Returns:
        The paths by split.

    Raises:
        FileNotFoundError: no split has a text file.
        ValueError: the text files are those of version 1, or two files of one split differ.
    """
    texts = {split: find_file(files, names_of(TEXT_FILES, split)) for split in SPLIT_NAMES}
    texts = {split: path for split, path in texts.items() if path}
    if texts:
        return texts
    for split in SPLIT_NAMES:
        for name in names_of(VERSION_1_TEXT_FILES, split):
            if name in files:
                raise version_1(files[name][0])
    wanted = ", ".join(repr(name) for split in SPLIT_NAMES for name in names_of(TEXT_FILES, split))
    raise FileNotFoundError(f"no text file of MNRE in {data_dir} or below it; looked for {wanted}")


def find_box_files(
    files: dict[str, list[str]], splits: Iterable[str], data_dir: str | os.PathLike, regions: str
) -> dict[str, list[str]]:
    """Find the files of the released boxes.

    Args:
        files: from [`index_files`].
        splits: the splits that need them.
        data_dir: the folder, for messages.
        regions: `"released"` or `"detected"`.

    Returns:
        By split the file of grounded boxes, if they are wanted, and the file of detected boxes.

    Raises:
        FileNotFoundError: a split lacks one.
        ValueError: two files of one kind and split differ.
    """
    box_files, missing = {}, []
    for split in splits:
        wanted = [names_of([template], split) for template in BOX_FILES[regions]]
        box_files[split] = [find_file(files, candidates) for candidates in wanted]
        missing += [" or ".join(candidates) for candidates, path in zip(wanted, box_files[split]) if not path]
    if missing:
        raise FileNotFoundError(
            f"regions={regions!r} needs, in {data_dir} or below it, {'; '.join(missing)}. They come with the "
            "repository of FocalMRE's authors. Crops (img_vg, img_detect, lists of their names) hold no coordinates. "
            "regions='none' loads posts without regions"
        )
    return box_files


def find_image(paths: list[str], folder: str | os.PathLike, split: str) -> str | None:
    """Choose the original in the folder of the split, of the files that have an image's name.

    Args:
        paths: of these files.
        folder: the one that was searched.
        split: of the post.

    Returns:
        The path; None if there is none.

    Raises:
        ValueError: several are as likely, and differ.
    """
    if len(paths) < 2:
        return only_file(paths)

    def rank(path: str) -> tuple[bool, bool]:
        parents = Path(os.path.relpath(path, folder)).parts[:-1]
        return IMAGE_FOLDER in parents, any(name in parents for name in SPLIT_NAMES[split])

    best = max(map(rank, paths))
    return only_file([path for path in paths if rank(path) == best])


def version_1(where: str) -> ValueError:
    """Return the error for data of version 1."""
    return ValueError(
        f"{where}: this is version 1 of MNRE. It has another set of labels (30, and 'none' for the negative one), so "
        "results on it cannot be compared with those on version 2, which is what can be loaded here. Get version 2: "
        "the folder mnre_txt of https://github.com/thecharm/MNRE"
    )


__all__ = [
    "BOX_FILES",
    "DETECTED_NAME_FILES",
    "GROUNDED_NAME_FILES",
    "RELATION_FILES",
    "find_box_files",
    "find_file",
    "find_image",
    "find_texts",
    "index_files",
    "is_mnre_folder",
    "names_of",
    "version_1",
]
