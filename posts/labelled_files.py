"""Folders of brat, JSON of OpenNRE and of TACRED, and spaCy's DocBin, as labelled posts."""

import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from mmre.processing.words import join_words

from .checks import is_text, show
from .labelled_posts import MOST_BYTES, Gathering, LabelledPost, read_lines, whole
from .schema import NEGATIVE_RELATION

# Names of no relation in these data sets.
NO_RELATION = {"no_relation", "NA", "N/A", "Other", "none", NEGATIVE_RELATION}
SPAN = re.compile(r"T\S*\t(\S+) (\d+ \d+(?:;\d+ \d+)*)\t(.*)")
LINK = re.compile(r"R\S*\t(\S+) Arg1:(\S+) Arg2:(\S+)\s*")
BRAT_OTHERS = ("E", "M", "A", "N", "#", "*")


def read_brat(gathering: Gathering) -> Iterator[LabelledPost]:
    """Read a folder of brat: `a.txt` with `a.ann`, and the picture `a.jpg` (or `.png`, ...) where there is one.

    Offsets are Unicode code points. An entity of several pieces is taken from the first to the last.
    """
    folder = gathering.path
    pictures = {ending for ending, name in Image.registered_extensions().items() if name in Image.OPEN}
    files = sorted(Path(folder).rglob("*.ann"))
    if not files:
        gathering.add(folder, "content", "no .ann file", "a folder of brat, with a.txt and a.ann of each post")
    for file in files:
        text_file = file.with_suffix(".txt")
        try:
            text, lines = (whole(path).decode("utf-8") for path in (text_file, file))
        except (FileNotFoundError, UnicodeDecodeError) as error:
            reason = "not there" if isinstance(error, FileNotFoundError) else str(error)
            gathering.add(str(file), "content", f"{text_file.name} or {file.name}: {reason}", "both, in UTF-8")
            continue
        entities, relations, good = {}, [], True
        for number, line in enumerate(lines.split("\n"), start=1):
            where, line = f"{file}:{number}", line.rstrip("\r")
            span, link = SPAN.fullmatch(line), LINK.fullmatch(line)
            if span:
                pieces = [tuple(map(int, piece.split())) for piece in span[2].split(";")]
                gathering.passed_over["gaps in entities of several pieces, which count as part of them"] += (
                    len(pieces) - 1
                )
                # brat writes a line's end within an entity as a space.
                named = " ".join(text[slice(*piece)] for piece in pieces)
                if re.sub(r"\s", " ", named) != re.sub(r"\s", " ", span[3]):
                    gathering.add(where, "entity", f"{show(named)} at {span[2]}", f"{show(span[3])}, as said beside it")
                    good = False
                entities[line.split("\t")[0]] = (pieces[0][0], pieces[-1][1], span[1])
            elif link:
                relations.append((link[2], link[3], link[1]))
            elif line and not line.startswith(BRAT_OTHERS):
                gathering.add(where, "line", show(line), "a line of brat's standoff format")
                good = False
            elif line:
                gathering.passed_over["events, attributes and notes"] += 1
        siblings = sorted(path.name for path in file.parent.glob(f"{glob_escape(file.stem)}.*"))
        image = next((name for name in siblings if Path(name).suffix.lower() in pictures), None)
        place = file.relative_to(folder).as_posix().removesuffix(".ann")
        if image is not None:
            image = str(file.with_name(image))
        post = gathering.post(str(file), place, text, image, entities, relations) if good else None
        if post is not None:
            yield post


def glob_escape(name: str) -> str:
    """Return a name in which nothing is a pattern."""
    return re.sub(r"([*?\[])", r"[\1]", name)


def read_opennre(gathering: Gathering) -> Iterator[LabelledPost]:
    """Read JSON of OpenNRE, a pair of entities on each line: `text` or `token`, `h` and `t` with `pos`, `relation`."""
    for where, row in read_lines(gathering):
        ends = [row.get(name) for name in ("h", "t")]
        if not all(isinstance(end, dict) for end in ends):
            found = f"the fields {', '.join(sorted(map(show, row)))}"
            gathering.add(where, "line", found, "`text` or `token`, `h`, `t` and `relation`")
            continue
        spans = [(end.get("pos"), end.get("type")) for end in ends]
        image = row.get("image") or row.get("img_id")
        yield from _pair(gathering, where, row, row.get("token"), spans, image)


def read_tacred(gathering: Gathering) -> Iterator[LabelledPost]:
    """Read JSON of TACRED, a pair of entities in each item: words, and spans whose end is their last word."""
    for where, row in read_lines(gathering):
        spans = []
        for end in ("subj", "obj"):
            first, last = row.get(f"{end}_start"), row.get(f"{end}_end")
            spans.append(([first, last + 1 if type(last) is int else last], row.get(f"{end}_type")))
        words = row.get("token")
        if words is None:
            gathering.add(where, "token", words, "a list of words: an item of TACRED")
            continue
        yield from _pair(gathering, where, row, words, spans, row.get("image"))


def _pair(
    gathering: Gathering, where: str, row: dict, words: Any, spans: list[tuple[Any, Any]], image: Any
) -> Iterator[LabelledPost]:
    """Yield the post of one labelled pair, of words or of text."""
    text, edges = row.get("text"), [span for span, _ in spans]
    if words is not None:
        if not isinstance(words, list) or not words or not all(is_text(word) and word.strip() for word in words):
            gathering.add(where, "token", words, "a list of words, none of them blank")
            return
        for span in edges:
            if not _is_pair(span) or not 0 <= span[0] < span[1] <= len(words):
                gathering.add(where, "entity", span, f"start and end in words, within 0 to {len(words)}")
                return
        text, edges = join_words(words, edges)
    if not all(map(_is_pair, edges)):
        gathering.add(where, "entity", edges, "the start and the end of both entities")
        return
    name = row.get("relation")
    relation = NEGATIVE_RELATION if name in NO_RELATION else name
    entities = {number: (*edge, kind) for number, (edge, (_, kind)) in enumerate(zip(edges, spans))}
    post = gathering.post(where, row.get("id"), text, image, entities, [(0, 1, relation)], lists_pairs=True)
    if post is not None:
        yield post


def _is_pair(span: Any) -> bool:
    return isinstance(span, (list, tuple)) and len(span) == 2 and all(type(edge) is int for edge in span)


def read_docbin(gathering: Gathering) -> Iterator[LabelledPost]:
    """Read a DocBin of spaCy (`.spacy`): entities are `doc.ents`, relations are `doc._.rel`.

    `doc._.rel` is, as in spaCy's example of a component for relations, a dictionary from the first tokens of head and
    tail to the scores of the relations; those from 0.5 on hold. It is kept where the DocBin was made with
    `store_user_data=True`. Nothing in the file is run: it is msgpack.

    Raises:
        ImportError: spaCy is not installed.
        ValueError: the file is no DocBin, or too large.
    """
    try:
        import spacy
        from spacy.tokens import DocBin
    except ImportError as error:
        raise ImportError("a DocBin needs spaCy: pip install 'mmre[spacy]'") from error
    path = gathering.path
    try:
        opened = zlib.decompressobj()
        opened.decompress(whole(path), MOST_BYTES)
        is_large = bool(opened.unconsumed_tail)
    except zlib.error as error:
        raise ValueError(f"{path}: {error}; expected a DocBin, as DocBin.to_disk writes it") from error
    if is_large:
        raise ValueError(f"{path}: more than {MOST_BYTES >> 20} MiB when it is unpacked: split it")
    try:
        docs = list(DocBin(store_user_data=True).from_disk(path).get_docs(spacy.blank("en").vocab))
    except Exception as error:  # of msgpack, numpy or spaCy, for a file that is none
        raise ValueError(f"{path}: {type(error).__name__}: {error}; expected a DocBin of spaCy") from error
    for number, doc in enumerate(docs, start=1):
        where = f"{path}: document {number}"
        stored = doc.user_data.get(("._.", "rel", None, None), {})
        if not isinstance(stored, dict):
            gathering.add(where, "doc._.rel", stored, "a dictionary from two tokens to scores of relations")
            continue
        entities = {span.start: (span.start_char, span.end_char, span.label_) for span in doc.ents}
        relations = [
            (*pair, name)
            for pair, scores in stored.items()
            if isinstance(pair, tuple) and len(pair) == 2 and isinstance(scores, dict)
            for name, score in scores.items()
            if isinstance(score, (int, float)) and score >= 0.5
        ]
        post = gathering.post(where, f"{Path(os.fspath(path)).stem}-{number}", doc.text, None, entities, relations)
        if post is not None:
            yield post


__all__ = ["read_brat", "read_docbin", "read_opennre", "read_tacred"]
