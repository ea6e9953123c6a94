"""The leak audit: measure how well the relation can be told from what is not content.

Counts, sizes, places, lengths, orders and repetitions say nothing of what a post means. If they tell the relation, the
way the data set was made has left the label in them, and a model can score without understanding anything.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import datasets
import numpy as np
from sklearn.metrics import adjusted_mutual_info_score
from sklearn.tree import DecisionTreeClassifier

from mmre.posts.schema import NEGATIVE_RELATION, post_features

from .leak_features import SOURCES, Columns, Feature, numeric_features, shared_features
from .relation_f1 import relation_f1
from .scores import heads_first

# On MNRE with shuffled relations and on synthetic posts, five seeds each, no value is above 0.012; the smallest leak of
# MNRE has 0.33, the released regions have 0.98.
THRESHOLD = 0.1
BINS = 10
TREE_DEPTH = 3  # at most eight intervals of one feature: a rule that one can read
# With fewer test posts than this, values above the threshold happen by chance: how high they get there is measured.
FEW_TEST_POSTS = 300
SHUFFLES = 19
RELATED = "related"


class Question(NamedTuple):
    """Holds a question to all features, and its true answers.

    Args:
        name: `"relation"`, which relation, or `"related"`, whether there is one at all.
        labels: the names of the answers.
        train: ids of the answers of the posts of `train`, (N,).
        test: ids of the answers of the posts of `test`, (M,).
    """

    name: str
    labels: list[str]
    train: np.ndarray
    test: np.ndarray

    @property
    def usual(self) -> int:
        """Return the id of the most frequent answer of `train`."""
        return int(np.bincount(self.train).argmax())


def audit(
    posts: datasets.DatasetDict, threshold: float = THRESHOLD, sources: Iterable[str] = SOURCES
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
        posts: a data set of posts with the splits `train` and `test`. Files of pictures may be missing (see
            [`~mmre.posts.sources.open_posts`], `on_missing_image="keep"`).
        threshold: a feature leaks if one of the four values is at least this, in (0, 1]; with fewer than 300 test
            posts, also above all values of all features under 19 shuffles of the labels.
        sources: what to audit, of `SOURCES`.

    Returns:
        What `mmre audit --json` writes: `posts`, `threshold`, `chance` (the highest value under the shuffles, null with
        enough posts), `sources`, `majority`, `features` (a list; each has `source`, `feature`, `relation` and `related`
        with `mutual_information`, `accuracy`, `precision`, `recall`, `f1` and `gain`, the `rule` for `related`, and
        `leaks`), `repeated_pairs`, `entity_order`, `type_queries` and `left_out`.

    Raises:
        ValueError: if a split or a column is missing, a picture cannot be read, an argument cannot be right, or all
            posts have one label.
    """
    check_auditable(posts)
    sources = tuple(sources)
    if not 0 < threshold <= 1:
        raise ValueError(f"`threshold` must be in (0, 1], got {threshold}.")
    if not sources or set(sources) - set(SOURCES):
        raise ValueError(f"`sources` must be some of {', '.join(SOURCES)}, got {sources!r}.")
    questions = make_questions(posts)
    train, test = (Columns(posts[split]) for split in ("train", "test"))

    of_train, of_test = numeric_features(train), numeric_features(test)
    numbers = {key: (values, of_test[key]) for key, values in of_train.items() if key[0] in sources}
    left_out = [name for (_, name), values in numbers.items() if any(of_split is None for of_split in values)]
    numbers = {key: values for key, values in numbers.items() if key[1] not in left_out}
    of_train, of_test = shared_features(train), shared_features(test)
    shared = {key: (values, of_test[key]) for key, values in of_train.items() if key[0] in sources}

    features = ask_all(numbers, shared, questions)
    chance = None
    if len(posts["test"]) < FEW_TEST_POSTS:
        by_chance = (value for row in ask_shuffled(numbers, shared, questions) for value in strengths(row))
        chance = max(by_chance, default=0.0)
    for row in features:
        row["leaks"] = any(value >= threshold and (chance is None or value > chance) for value in strengths(row))
    return {
        "posts": {split: len(rows) for split, rows in posts.items()},
        "threshold": threshold,
        "chance": chance,
        "sources": list(sources),
        "majority": {question.name: ask_nothing(question) for question in questions},
        "features": features,
        "repeated_pairs": {split: repeated_pairs(rows) for split, rows in posts.items()},
        "entity_order": {split: entity_order(rows) for split, rows in posts.items()} if "texts" in sources else None,
        "type_queries": type_queries(posts) if "regions" in sources else None,
        "left_out": left_out,
    }


def check_auditable(posts: datasets.DatasetDict) -> None:
    """Refuse what is no data set of posts with the splits `train` and `test`.

    Raises:
        ValueError: if a split or a column is missing, or the relations are no labels with a negative one.
    """
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


def make_questions(posts: datasets.DatasetDict) -> list[Question]:
    """Return the two questions: which relation, and whether there is one at all.

    Raises:
        ValueError: if all posts of `train` have the same answer.
    """
    relations = posts["train"].features["relation"].names
    negative = relations.index(NEGATIVE_RELATION)
    train, test = (np.array(posts[split]["relation"]) for split in ("train", "test"))
    questions = [
        Question("relation", relations, train, test),
        Question(
            RELATED, [NEGATIVE_RELATION, RELATED], (train != negative).astype(int), (test != negative).astype(int)
        ),
    ]
    for question in questions:
        if len(set(question.train)) < 2:
            raise ValueError(
                f"All posts of `train` have the same label to the question {question.name!r}: nothing can leak."
            )
    return questions


def ask_all(
    numbers: dict[Feature, tuple[np.ndarray, np.ndarray]],
    shared: dict[Feature, tuple[list, list]],
    questions: list[Question],
) -> list[dict[str, Any]]:
    """Ask each feature each question.

    Args:
        numbers: the features that are numbers, their values in `train`, (N,), and in `test`, (M,).
        shared: the features that are keys, in `train` and in `test`.
        questions: to ask.

    Returns:
        A row per feature: `source`, `feature`, the answer to each question by its name, and of keys the number of test
        posts that have a key of `train`, `shared`.
    """
    rows = []
    for (source, feature), (train, test) in numbers.items():
        answers = {question.name: ask_number(train, test, question) for question in questions}
        rows.append({"source": source, "feature": feature} | answers)
    for (source, feature), (train, test) in shared.items():
        answers = {question.name: ask_key(train, test, question) for question in questions}
        of_train = set(train) - {None}
        number = sum(key in of_train for key in test)
        rows.append({"source": source, "feature": feature} | answers | {"shared": number})
    return rows


def ask_shuffled(
    numbers: dict[Feature, tuple[np.ndarray, np.ndarray]],
    shared: dict[Feature, tuple[list, list]],
    questions: list[Question],
) -> Iterator[dict[str, Any]]:
    """Ask the same of labels that have nothing to do with the posts: shuffled within each split, 19 times."""
    generator = np.random.default_rng(0)
    for _ in range(SHUFFLES):
        train, test = (generator.permutation(len(getattr(questions[0], split))) for split in ("train", "test"))
        shuffled = [question._replace(train=question.train[train], test=question.test[test]) for question in questions]
        yield from ask_all(numbers, shared, shuffled)


def strengths(row: dict[str, Any]) -> list[float]:
    """Return the values of a feature that decide whether it leaks."""
    values = [row[name][value] for name in ("relation", RELATED) for value in ("mutual_information", "gain")]
    return [value for value in values if value is not None]


def ask_nothing(question: Question) -> dict[str, Any]:
    """Answer with the most frequent label of `train`, whatever the post."""
    answers = np.full(len(question.test), question.usual)
    return {"label": question.labels[question.usual], **_scores(answers, question)}


def ask_number(train: np.ndarray, test: np.ndarray, question: Question) -> dict[str, Any]:
    """Answer from a number per post: `train`, (N,), and `test`, (M,)."""
    tree = DecisionTreeClassifier(max_depth=TREE_DEPTH, random_state=0).fit(train[:, None], question.train)
    answer = {
        "mutual_information": float(adjusted_mutual_info_score(question.train, _bins(train))),
        **_scores(tree.predict(test[:, None]), question),
    }
    if question.name == RELATED:
        answer["rule"] = _rule(tree, question.labels)
    return answer


def _bins(values: np.ndarray) -> np.ndarray:
    """Return the bin of each value: its own if there are few values, else one of ten bins of equal size."""
    if len(np.unique(values)) <= BINS:
        return np.unique(values, return_inverse=True)[1]
    return np.digitize(values, np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1])))


def _rule(tree: DecisionTreeClassifier, labels: list[str]) -> str:
    """Write the tree as intervals, such as `None up to 2.5, related above`."""
    bounds = sorted(tree.tree_.threshold[tree.tree_.feature >= 0])
    inside = [bound - 1e-9 for bound in bounds] + [bounds[-1] + 1 if bounds else 0]
    found = [labels[int(label)] for label in tree.predict(np.array(inside)[:, None])]
    parts = [f"{label} up to {bound:.3g}" for label, bound, after in zip(found, bounds, found[1:]) if label != after]
    return ", ".join([*parts, f"{found[-1]} above" if parts else f"always {found[-1]}"])


def ask_key(train: list, test: list, question: Question) -> dict[str, Any]:
    """Answer with the most frequent label of the posts of `train` that have the post's key."""
    table = defaultdict(Counter)
    for key, label in zip(train, question.train.tolist()):
        table[key][label] += 1
    table.pop(None, None)
    answers = [table[key].most_common(1)[0][0] if key in table else question.usual for key in test]
    # Nearly each key is one of its own: over `train`, any such feature would be all information.
    return {"mutual_information": None, **_scores(np.array(answers), question)}


def _scores(answers: np.ndarray, question: Question) -> dict[str, float]:
    result = relation_f1(answers, question.test, question.labels, NEGATIVE_RELATION)
    scores = {name: result[name] for name in ("accuracy", "precision", "recall", "f1")}
    errors = float(np.mean(question.test != question.usual))
    return scores | {"gain": 1 - float(np.mean(answers != question.test)) / errors if errors else 0.0}


def repeated_pairs(posts: datasets.Dataset) -> dict[str, int]:
    """Count the pairs that are listed more than once, and those of them that have different relations."""
    listed = defaultdict(list)
    columns = (posts[name][:] for name in ("text", "head", "tail", "relation"))
    for text, head, tail, relation in zip(*columns):
        listed[text, head["start"], head["end"], tail["start"], tail["end"]].append(relation)
    repeated = [found for found in listed.values() if len(found) > 1]
    return {"listed_twice": len(repeated), "with_different_relations": sum(len(set(found)) > 1 for found in repeated)}


def entity_order(posts: datasets.Dataset) -> dict[str, int]:
    """Count the posts with a relation (`related`) and without (`unrelated`), and those whose head comes first.

    Returns:
        `related`, `related_head_first`, `unrelated` and `unrelated_head_first`.
    """
    negative = posts.features["relation"].names.index(NEGATIVE_RELATION)
    counts = Counter()
    for relation, head_first in zip(posts["relation"][:], heads_first(posts)):
        name = "unrelated" if relation == negative else RELATED
        counts[name] += 1
        counts[f"{name}_head_first"] += head_first
    return {key: counts[key] for name in (RELATED, "unrelated") for key in (name, f"{name}_head_first")}


def type_queries(posts: datasets.DatasetDict) -> dict[str, dict[str, int]] | None:
    """Count how often the grounded regions are those that queries for the entities' names and gold types would find.

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


__all__ = ["THRESHOLD", "audit", "entity_order", "strengths"]
