"""The command `mmre-audit`: how well can the relation be told from what is not content?

Counts, sizes, places, lengths, orders and repetitions say nothing of what a post means. If they tell the relation, the
way the data set was made has left the label in them, and a model can score without understanding anything.
"""

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import numpy as np
from PIL import Image
from sklearn.metrics import adjusted_mutual_info_score
from sklearn.tree import DecisionTreeClassifier

from mmre.posts.checks import Problems
from mmre.posts.fingerprint import picture_keys
from mmre.posts.mnre import find_image, find_texts, index_files, is_mnre_folder, load_mnre, read_posts
from mmre.posts.schema import NEGATIVE_RELATION, post_features
from mmre.posts.synthetic import make_synthetic_posts

from .relation_f1 import relation_f1

SOURCES = ("regions", "pictures", "captions", "texts")
# On MNRE with shuffled relations and on synthetic posts, five seeds each, no value is above 0.012; the smallest leak of
# MNRE has 0.33, the released regions have 0.98.
THRESHOLD = 0.1
BINS = 10
TREE_DEPTH = 3  # at most eight intervals of one feature: a rule that one can read
# With fewer test posts than this, values above the threshold happen by chance: how high they get there is measured.
FEW_POSTS = 300
SHUFFLES = 19
RELATED = "related"


class Picture(NamedTuple):
    """What is known of a post's picture without a look at it; size and format only if the file is there."""

    key: str
    width: int | None = None
    height: int | None = None
    format: str | None = None


def audit(
    posts: datasets.DatasetDict,
    threshold: float = THRESHOLD,
    sources: Iterable[str] = SOURCES,
    pictures: dict[str, list[Picture | None]] | None = None,
) -> dict[str, Any]:
    """Measure how well the relation can be told from each feature that is not content.

    Two questions are asked of each feature: which relation, and whether there is one at all. To each there are two
    answers. One is the mutual information of label and feature over `train`, normalised by the mean of their entropies
    and corrected for chance (scikit-learn's adjusted mutual information: 0 is chance, 1 is all; a feature of more than
    ten values is cut into ten bins of equal size). The other is a simple rule, at most eight intervals of the feature
    (a decision tree of depth 3) fitted on `train` and scored on `test`; its gain is the share of the errors of the
    majority's label that it avoids (Goodman and Kruskal's lambda, on posts not seen). For texts, pairs and pictures
    that `test` shares with `train` there is only the rule: the most frequent relation that they have there.

    Args:
        posts: a data set of posts with the splits `train` and `test`.
        threshold: a feature leaks if one of the four values is at least this, in (0, 1]; with fewer than 300 test
            posts, also above all values of all features under 19 shuffles of the labels.
        sources: what to audit, of `SOURCES`.
        pictures: what is known of the pictures, for each split one per post; taken from the data set if not given.

    Returns:
        What `mmre-audit --json` writes: `posts`, `threshold`, `chance` (the highest value under the shuffles, null with
        enough posts), `majority`, `features` (a list; each has `source`,
        `feature`, `relation` and `related` with `mutual_information`, `accuracy`, `precision`, `recall`, `f1` and
        `gain`, the `rule` for `related`, and `leaks`), `repeated_pairs`, `type_queries` and `left_out`.

    Raises:
        ValueError: if a split or a column is missing, an argument cannot be right, or the posts have but one label.
    """
    check_schema(posts)
    sources = tuple(sources)
    if not 0 < threshold <= 1:
        raise ValueError(f"`threshold` must be in (0, 1], got {threshold}.")
    if not sources or set(sources) - set(SOURCES):
        raise ValueError(f"`sources` must be some of {', '.join(SOURCES)}, got {sources!r}.")
    relations = posts["train"].features["relation"].names
    negative = relations.index(NEGATIVE_RELATION)
    labels = {split: np.array(posts[split]["relation"]) for split in ("train", "test")}
    questions = {
        "relation": (labels, relations),
        "related": ({split: (ids != negative).astype(int) for split, ids in labels.items()}, _YES_NO),
    }
    for name, (ids, _) in questions.items():
        if len(set(ids["train"])) < 2:
            raise ValueError(f"All posts of `train` have the same label to the question {name!r}: nothing can leak.")
    pictures = picture_facts(posts) if pictures is None else pictures
    columns = {split: Columns(posts[split], pictures[split]) for split in ("train", "test")}

    by_split = {split: numeric_features(columns[split]) for split in columns}
    numbers = {key: (values, by_split["test"][key]) for key, values in by_split["train"].items() if key[0] in sources}
    left_out = [feature for (_, feature), values in numbers.items() if any(of_split is None for of_split in values)]
    numbers = {key: values for key, values in numbers.items() if key[1] not in left_out}
    shared = {key: keys for key, keys in shared_features(columns).items() if key[0] in sources}
    features = ask_all(numbers, shared, questions)
    chance = None
    if len(posts["test"]) < FEW_POSTS:
        chance = max(
            (value for row in shuffled_answers(numbers, shared, questions) for value in strengths(row)), default=0.0
        )
    for row in features:
        row["leaks"] = any(value >= threshold and (chance is None or value > chance) for value in strengths(row))
    return {
        "posts": {split: len(rows) for split, rows in posts.items()},
        "threshold": threshold,
        "chance": chance,
        "sources": list(sources),
        "majority": {name: majority(ids["train"], ids["test"], names) for name, (ids, names) in questions.items()},
        "features": features,
        "repeated_pairs": {split: repeated_pairs(rows) for split, rows in posts.items()},
        "type_queries": type_queries(posts) if "regions" in sources else None,
        "left_out": left_out,
    }


_YES_NO = [NEGATIVE_RELATION, RELATED]


def ask_all(
    numbers: dict[tuple[str, str], tuple[np.ndarray, np.ndarray]],
    shared: dict[tuple[str, str], dict[str, list]],
    questions: dict[str, tuple[dict[str, np.ndarray], list[str]]],
) -> list[dict[str, Any]]:
    """What each feature answers to each question."""
    rows = []
    for (source, feature), (train, test) in numbers.items():
        row = {"source": source, "feature": feature}
        for name, (ids, names) in questions.items():
            row[name] = ask_number(train, test, ids["train"], ids["test"], names)
        rows.append(row)
    for (source, feature), keys in shared.items():
        row = {"source": source, "feature": feature}
        for name, (ids, names) in questions.items():
            row[name] = ask_table(keys["train"], keys["test"], ids["train"], ids["test"], names)
        of_train = set(keys["train"]) - {None}
        row["shared"] = sum(key in of_train for key in keys["test"])
        rows.append(row)
    return rows


def shuffled_answers(numbers: dict, shared: dict, questions: dict) -> Iterator[dict[str, Any]]:
    """The same for labels that have nothing to do with the posts: shuffled within each split."""
    generator = np.random.default_rng(0)
    for _ in range(SHUFFLES):
        orders = {split: generator.permutation(len(ids)) for split, ids in questions[RELATED][0].items()}
        yield from ask_all(
            numbers,
            shared,
            {
                name: ({split: ids[split][order] for split, order in orders.items()}, names)
                for name, (ids, names) in questions.items()
            },
        )


def strengths(row: dict[str, Any]) -> list[float]:
    """What decides whether a feature leaks."""
    values = [row[name][value] for name in ("relation", RELATED) for value in ("mutual_information", "gain")]
    return [value for value in values if value is not None]


def check_schema(posts: datasets.DatasetDict) -> None:
    """Raises: ValueError: if the data set is no data set of posts with the splits `train` and `test`."""
    for split in ("train", "test"):
        if split not in posts or len(posts[split]) == 0:
            found = ", ".join(f"{name} ({len(rows)} posts)" for name, rows in posts.items())
            raise ValueError(f"Rules are fitted on `train` and scored on `test`; the data set has {found}.")
    for split, rows in posts.items():
        missing = [name for name in post_features([NEGATIVE_RELATION]) if name not in rows.features]
        if missing:
            raise ValueError(f"The split {split!r} has no column {', '.join(missing)}: see `post_features`.")
        names = getattr(rows.features["relation"], "names", [])
        if NEGATIVE_RELATION not in names:
            raise ValueError(f"The column `relation` of {split!r} must be a ClassLabel with {NEGATIVE_RELATION!r}.")


class Columns:
    """The columns of a split that features are made of, read once."""

    def __init__(self, posts: datasets.Dataset, pictures: list[Picture | None]):
        self.texts = posts["text"][:]
        self.heads = [(span["start"], span["end"]) for span in posts["head"][:]]
        self.tails = [(span["start"], span["end"]) for span in posts["tail"][:]]
        self.captions = posts["caption"][:]
        self.boxes = {
            kind: [np.array(boxes, dtype=float).reshape(-1, 4) for boxes in posts[f"{kind}_regions"][:]]
            for kind in ("grounded", "detected")
        }
        self.pictures = pictures

    def __len__(self) -> int:
        return len(self.texts)


def numeric_features(columns: Columns) -> dict[tuple[str, str], np.ndarray | None]:
    """One number per post for each feature; None for a feature that cannot be had."""
    features = {}
    for kind, posts in columns.boxes.items():
        areas = [(boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) for boxes in posts]
        features |= {
            f"number of {kind} regions": [len(boxes) for boxes in posts],
            f"identical {kind} boxes": [len(boxes) - len({tuple(box) for box in boxes}) for boxes in posts],
            f"mean area of {kind} boxes": [_mean(area) for area in areas],
            f"largest {kind} box": [max(area, default=0) for area in areas],
            f"smallest {kind} box": [min(area, default=0) for area in areas],
            f"mean x of {kind} boxes": [_mean(boxes[:, [0, 2]]) for boxes in posts],
            f"mean y of {kind} boxes": [_mean(boxes[:, [1, 3]]) for boxes in posts],
        }
    features = {("regions", name): values for name, values in features.items()}

    known = [picture for picture in columns.pictures if picture is not None and picture.width is not None]
    formats = sorted({picture.format or "" for picture in known})
    facts = [
        (1, picture.width, picture.height, 1 + formats.index(picture.format or ""))
        if picture is not None and picture.width is not None
        else (0, 0, 0, 0)
        for picture in columns.pictures
    ]
    # With few pictures at hand, "no leak" would say nothing of the pictures of the data set.
    enough = 2 * len(known) >= len(columns)
    for index, name in enumerate(("picture is there", "picture width", "picture height", "picture format")):
        features["pictures", name] = [row[index] for row in facts] if enough else None

    captions = [caption or "" for caption in columns.captions]
    features["captions", "caption length in characters"] = [len(caption) for caption in captions]
    features["captions", "caption length in words"] = [len(caption.split()) for caption in captions]

    pairs = list(zip(columns.heads, columns.tails))
    entities = defaultdict(set)
    for text, pair in zip(columns.texts, pairs):
        entities[text].update(pair)
    listed, pair_listed = Counter(columns.texts), Counter(zip(columns.texts, pairs))
    in_words = [[word_span(text, span) for span in pair] for text, pair in zip(columns.texts, pairs)]
    texts = {
        "text length in words": [len(text.split()) for text in columns.texts],
        "text length in characters": [len(text) for text in columns.texts],
        "entities marked in the text": [len(entities[text]) for text in columns.texts],
        "pairs listed of the text": [listed[text] for text in columns.texts],
        "times the pair is listed": [pair_listed[key] for key in zip(columns.texts, pairs)],
        "words between the entities": [max(head[0], tail[0]) - min(head[1], tail[1]) for head, tail in in_words],
        "words of the head": [head[1] - head[0] for head, _ in in_words],
        "words of the tail": [tail[1] - tail[0] for _, tail in in_words],
        "which entity comes first": [int(np.sign(tail[0] - head[0])) for head, tail in pairs],
        "place of the first entity": [min(head[0], tail[0]) for head, tail in in_words],
    }
    features |= {("texts", name): values for name, values in texts.items()}
    return {name: None if values is None else np.array(values, dtype=float) for name, values in features.items()}


def word_span(text: str, span: tuple[int, int]) -> tuple[int, int]:
    """Turn a span of characters into the words, split at white space, that it touches."""
    before = text[: span[0]].split()
    start = len(before) - (bool(before) and not text[span[0] - 1].isspace() and not text[span[0]].isspace())
    return start, len(text[: span[1]].split())


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else 0.0


def shared_features(columns: dict[str, Columns]) -> dict[tuple[str, str], dict[str, list]]:
    """What tells that two posts have something in common, for each split one per post."""
    return {
        ("pictures", "same picture in train"): {
            split: [None if picture is None else picture.key for picture in found.pictures]
            for split, found in columns.items()
        },
        ("texts", "same text in train"): {split: found.texts for split, found in columns.items()},
        ("texts", "same text and pair in train"): {
            split: list(zip(found.texts, found.heads, found.tails)) for split, found in columns.items()
        },
    }


def majority(train_labels: np.ndarray, test_labels: np.ndarray, names: list[str]) -> dict[str, Any]:
    """The most frequent label of `train`, scored on `test`."""
    label = int(np.bincount(train_labels).argmax())
    return {"label": names[label], **_scores(np.full(len(test_labels), label), train_labels, test_labels, names)}


def ask_number(
    train: np.ndarray, test: np.ndarray, train_labels: np.ndarray, test_labels: np.ndarray, names: list[str]
) -> dict[str, Any]:
    """What a number per post tells of the labels."""
    tree = DecisionTreeClassifier(max_depth=TREE_DEPTH, random_state=0).fit(train[:, None], train_labels)
    answer = {
        "mutual_information": float(adjusted_mutual_info_score(train_labels, _bins(train))),
        **_scores(tree.predict(test[:, None]), train_labels, test_labels, names),
    }
    if names is _YES_NO:
        answer["rule"] = _rule(tree, names)
    return answer


def _bins(values: np.ndarray) -> np.ndarray:
    """The bin of each value: its own if there are few values, else one of ten bins of equal size."""
    if len(np.unique(values)) <= BINS:
        return np.unique(values, return_inverse=True)[1]
    return np.digitize(values, np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1])))


def _rule(tree: DecisionTreeClassifier, names: list[str]) -> str:
    """The tree as intervals, such as `None up to 2.5, related above`."""
    bounds = sorted(tree.tree_.threshold[tree.tree_.feature >= 0])
    inside = [bound - 1e-9 for bound in bounds] + [bounds[-1] + 1 if bounds else 0]
    labels = [names[int(label)] for label in tree.predict(np.array(inside)[:, None])]
    parts = [f"{label} up to {bound:.3g}" for label, bound, after in zip(labels, bounds, labels[1:]) if label != after]
    return ", ".join([*parts, f"{labels[-1]} above" if parts else f"always {labels[-1]}"])


def ask_table(
    train: list, test: list, train_labels: np.ndarray, test_labels: np.ndarray, names: list[str]
) -> dict[str, Any]:
    """What the labels tell that posts of `train` with the same key have."""
    table = defaultdict(Counter)
    for key, label in zip(train, train_labels.tolist()):
        table[key][label] += 1
    table.pop(None, None)
    usual = int(np.bincount(train_labels).argmax())
    predicted = [table[key].most_common(1)[0][0] if key in table else usual for key in test]
    # Nearly each key is one of its own: over `train`, any such feature would be all information.
    return {"mutual_information": None, **_scores(np.array(predicted), train_labels, test_labels, names)}


def _scores(
    predicted: np.ndarray, train_labels: np.ndarray, test_labels: np.ndarray, names: list[str]
) -> dict[str, float]:
    result = relation_f1(predicted, test_labels, names, NEGATIVE_RELATION)
    scores = {name: result[name] for name in ("accuracy", "precision", "recall", "f1")}
    errors = float(np.mean(test_labels != np.bincount(train_labels).argmax()))
    return scores | {"gain": 1 - float(np.mean(predicted != test_labels)) / errors if errors else 0.0}


def repeated_pairs(posts: datasets.Dataset) -> dict[str, int]:
    """The pairs that are listed more than once, and those of them that have different relations."""
    listed = defaultdict(list)
    columns = (posts[name][:] for name in ("text", "head", "tail", "relation"))
    for text, head, tail, relation in zip(*columns):
        listed[text, head["start"], head["end"], tail["start"], tail["end"]].append(relation)
    repeated = [found for found in listed.values() if len(found) > 1]
    return {"listed_twice": len(repeated), "with_different_relations": sum(len(set(found)) > 1 for found in repeated)}


def type_queries(posts: datasets.DatasetDict) -> dict[str, dict[str, int]] | None:
    """How often the grounded regions are what queries for the names and the gold types of the entities would find.

    Returns:
        For each split: for how many of its `posts` there are two regions and one more for each type other than `misc`
        in the relation (`counts_fit`); how many posts have `equal_types`, and how many of those two identical boxes
        (`equal_types_identical`); how many have `different_types`, and how many of those identical boxes
        (`different_types_identical`). `None` if the relations do not name types, as in `/per/org/member_of`, or no post
        has a grounded region.
    """
    names = posts["train"].features["relation"].names
    if any(name != NEGATIVE_RELATION and (name[0] != "/" or name.count("/") != 3) for name in names):
        return None
    if not any(regions for rows in posts.values() for regions in rows["grounded_regions"][:]):
        return None
    types = [[kind for kind in name.split("/")[1:3] if kind != "misc"] for name in names]
    result = {}
    for split, rows in posts.items():
        counts = Counter(posts=len(rows))
        for relation, boxes in zip(rows["relation"][:], rows["grounded_regions"][:]):
            found = types[relation] if names[relation] != NEGATIVE_RELATION else []
            identical = len({tuple(box) for box in boxes}) < len(boxes)
            counts["counts_fit"] += len(boxes) == 2 + len(found)
            if names[relation] != NEGATIVE_RELATION:
                equal = len(found) == 2 and found[0] == found[1]
                counts["equal_types" if equal else "different_types"] += 1
                counts["equal_types_identical" if equal else "different_types_identical"] += identical
        keys = ("counts_fit", "posts", "equal_types_identical", "equal_types")
        result[split] = {key: counts[key] for key in (*keys, "different_types_identical", "different_types")}
    return result


def picture_facts(posts: datasets.DatasetDict) -> dict[str, list[Picture | None]]:
    """What the files of the pictures of a data set say, without decoding any."""
    facts = {}
    for split, rows in posts.items():
        pictures = rows.select_columns(["image"]).cast_column("image", datasets.Image(decode=False))["image"]
        facts[split] = []
        for key, picture in zip(picture_keys(rows), pictures):
            source = None if picture is None else BytesIO(picture["bytes"]) if picture["bytes"] else picture["path"]
            facts[split].append(None if source is None else _read_header(str(key), source))
    return facts


def mnre_picture_facts(
    data_dir: str | Path, image_dir: str | Path | None, posts: datasets.DatasetDict
) -> dict[str, list[Picture | None]]:
    """What is known of the pictures of MNRE: their names, and what the files say that are there."""
    texts = find_texts(index_files(data_dir), data_dir)
    image_dir = data_dir if image_dir is None else image_dir
    files = index_files(image_dir)
    facts = {}
    for split, rows in posts.items():
        names = {row["id"]: row["img_id"] for row in read_posts(texts[split], split, Problems()).values()}
        paths = {name: find_image(files.get(name, []), image_dir, split) for name in set(names.values())}
        known = {name: _read_header(name, path) if path else Picture(name) for name, path in paths.items()}
        facts[split] = [known[names[post_id]] for post_id in rows["id"]]
    return facts


def _read_header(key: str, source: Any) -> Picture:
    try:
        with Image.open(source) as image:
            return Picture(key, *image.size, image.format)
    except Exception as error:  # the decoders raise nearly everything on a broken file
        raise ValueError(f"The picture {key} cannot be read: {type(error).__name__}: {error}") from error


def audit_table(result: dict[str, Any]) -> str:
    """What [`audit`] found, in Markdown."""
    most = result["majority"]
    lines = [
        ", ".join(f"{split}: {number:,} posts" for split, number in result["posts"].items()) + ".",
        f"Always the majority of train, on test: {_of_majority(most['relation'])}; "
        f"asked only whether there is a relation: {_of_majority(most['related'])}.",
        "MI: mutual information with the label over train, normalised by the mean entropy, corrected for chance. "
        "Accuracy, P, R, F1: a rule of at most 8 intervals, fitted on train, scored on test. Gain: the share of the "
        f"majority's errors that the rule avoids. A feature leaks if MI or gain reaches {result['threshold']:g}.",
        "",
        "| | | which relation? | | | | a relation at all? | | | | | |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|",
        "| source | feature | MI | accuracy | F1 | gain | MI | P | R | F1 | gain | verdict |",
    ]
    for row in result["features"]:
        relation, related = row["relation"], row["related"]
        name = row["feature"] + (f" ({row['shared']} posts)" if "shared" in row else "")
        values = [_share(relation["mutual_information"]), _percent(relation["accuracy"]), _percent(relation["f1"])]
        values += [_share(relation["gain"]), _share(related["mutual_information"])]
        values += [_percent(related[column]) for column in ("precision", "recall", "f1")] + [_share(related["gain"])]
        lines.append(f"| {row['source']} | {name} | {' | '.join(values)} | {'**leaks**' if row['leaks'] else 'no'} |")
    if result["chance"] is not None:
        lines += [
            "",
            f"With so few test posts, values up to {result['chance']:.3f} happen by chance (the highest of all "
            f"features under {SHUFFLES} shuffles of the labels): here, a feature leaks if it is also above that.",
        ]
    lines.append("")
    leaks = [row for row in result["features"] if row["leaks"]]
    for row in leaks:
        if "rule" in row["related"] and row["related"]["gain"] > 0:
            precision, recall = (row["related"][name] for name in ("precision", "recall"))
            rule = f"rule for whether there is a relation: {row['related']['rule']}"
            lines.append(f"- {row['feature']}: {rule} (precision {precision:.3f}, recall {recall:.3f}).")
    for split, found in (result["type_queries"] or {}).items():
        lines.append(
            f"- {split}: grounded regions number 2 + the types in the gold relation other than misc in "
            f"{found['counts_fit']:,} of {found['posts']:,} posts; two boxes are identical in "
            f"{found['equal_types_identical']:,} of {found['equal_types']:,} posts with two entities of one type, "
            f"{found['different_types_identical']:,} of {found['different_types']:,} of other types."
        )
    for split, found in result["repeated_pairs"].items():
        lines.append(
            f"- {split}: {found['listed_twice']} pairs are listed more than once, "
            f"{found['with_different_relations']} of them with different relations."
        )
    if result["left_out"]:
        lines.append(f"- Left out, since most pictures are not there: {', '.join(result['left_out'])}.")
    verdict = f"{len(leaks)} of {len(result['features'])} features leak."
    return "\n".join([*lines, "", verdict]) + "\n"


def _of_majority(row: dict[str, Any]) -> str:
    return f"{row['label']}, accuracy {_percent(row['accuracy'])}, F1 {_percent(row['f1'])}"


def _percent(value: float) -> str:
    return f"{100 * value:.2f}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value + 0:.3f}".replace("-0.000", "0.000")


def main(arguments: list[str] | None = None) -> int:
    """The command `mmre-audit`; its exit status is 1 if a feature leaks."""
    parser = argparse.ArgumentParser(prog="mmre-audit", description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "data", help="a folder of MNRE files, 'synthetic', or a data set of posts: a saved one or its name on the Hub"
    )
    parser.add_argument("--regions", help="of MNRE: 'released' (default), 'none', or an annotation file")
    parser.add_argument("--captions", nargs="+", help="of MNRE: caption files, or an annotation file")
    parser.add_argument("--image_dir", help="of MNRE: folder of the pictures, if not below the data's")
    parser.add_argument("--sources", nargs="+", choices=SOURCES, default=SOURCES, help="what to audit; all of it")
    parser.add_argument("--threshold", type=float, default=THRESHOLD, help="leaks from here on, in (0, 1]; %(default)s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    args = parser.parse_args(arguments)
    if args.json and not args.json.absolute().parent.is_dir():
        parser.error(f"--json {args.json}: there is no folder {args.json.parent}")
    is_mnre = Path(args.data).is_dir() and is_mnre_folder(args.data)
    for_mnre = [f"--{name}" for name in ("regions", "captions", "image_dir") if getattr(args, name) is not None]
    if for_mnre and not is_mnre:
        parser.error(f"{', '.join(for_mnre)}: only for a folder of MNRE files, which {args.data!r} is not")
    pictures = None
    try:
        if is_mnre:
            posts = load_mnre(args.data, args.regions or "released", args.captions, use_images=False)
            pictures = mnre_picture_facts(args.data, args.image_dir, posts)
        elif args.data == "synthetic":
            posts = make_synthetic_posts()
        elif (Path(args.data) / "dataset_dict.json").is_file():
            posts = datasets.load_from_disk(args.data)
        elif Path(args.data).is_dir() and not any(Path(args.data).rglob("*.parquet")):
            expected = "MNRE's text files, what `DatasetDict.save_to_disk` writes, or parquet files"
            raise ValueError(f"{args.data} holds no posts with splits; expected {expected}")
        else:
            posts = datasets.load_dataset(args.data)
        result = audit(posts, args.threshold, args.sources, pictures)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    protocol = {"data": args.data, "regions": args.regions or "released", "captions": args.captions}
    result = (protocol if is_mnre else {"data": args.data}) | result
    print(audit_table(result), end="")
    if args.json:
        args.json.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", "utf-8")
    return int(any(row["leaks"] for row in result["features"]))


__all__ = ["Picture", "audit", "audit_table"]


if __name__ == "__main__":
    raise SystemExit(main())
