"""Lists of relations in a file: a name on each line, and after a tab what it means."""

from pathlib import Path

from mmre.posts.checks import Problems, show

from .prompts import has_control_characters


def read_relations(path: str, needs_description: bool = False) -> dict[str, str]:
    """Read a list of relations.

    Args:
        path: of the file, in UTF-8; empty lines are passed over.
        needs_description: whether each line must say what its relation means.

    Returns:
        By name what each means; an empty text where that is not said.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no such list; one report names the bad lines.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: there is no such file")
    try:
        lines = Path(path).read_text("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: {error}; expected text in UTF-8") from error
    problems, relations, known = Problems(), {}, {}
    for number, line in enumerate(lines, start=1):
        name, _, meaning = (part.strip() for part in line.partition("\t"))
        where = f"{path}:{number}"
        if not name:
            if meaning:
                problems.add(path, where, "relation", "nothing before the tab", "its name")
            continue
        twin = known.setdefault(" ".join(name.casefold().split()), name)
        if name in relations:
            problems.add(path, where, "relation", f"{show(name)} for the second time", "each relation once")
        elif twin != name:
            problems.add(path, where, "relation", f"{show(name)} beside {show(twin)}", "names that differ in letters")
        if has_control_characters(name):
            problems.add(path, where, "relation", show(name), "a name without control characters")
        if needs_description and not meaning:
            problems.add(path, where, "description", show(line), "the name of a relation, a tab, what it means")
        relations[name] = meaning
    if not relations and not problems:
        problems.add(path, path, "content", "no relations", "the name of a relation on each line")
    problems.raise_if_any()
    return relations


__all__ = ["read_relations"]
