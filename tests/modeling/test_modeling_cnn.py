"""CNN and PCNN against the papers' equations, word by word, and what their switches change."""

import pytest
import torch
from model_helpers import tiny_model

from mmre.modeling import CNNConfig, CNNForRelationClassification
from mmre.modeling.modeling_cnn import without_markers
from mmre.processing import WordProcessor

pytestmark = [
    pytest.mark.filterwarnings("error::FutureWarning", "error::DeprecationWarning"),
    pytest.mark.usefixtures("one_thread", "no_deprecation_message"),
]
WORDS = ["rafael", "nadal", "weds", "mery", "perello", "in", "south", "wales"]
VECTORS = torch.randn(len(WORDS), 5, generator=torch.Generator().manual_seed(0))


def slow_logits(model: CNNForRelationClassification, words: list[int], head: int, tail: int) -> torch.Tensor:
    """Compute one post's logits in loops: words without markers, and where head and tail start."""
    config, weight, bias = model.config, model.convolution.weight, model.convolution.bias
    limit, reach = config.max_distance, config.kernel_size // 2
    rows = []
    for place, word in enumerate(words):
        of_head = max(-limit, min(limit, place - head)) + limit
        of_tail = max(-limit, min(limit, place - tail)) + limit
        vectors = (model.word_embeddings.weight[word], model.head_distance_embeddings.weight[of_head])
        rows.append(torch.cat([*vectors, model.tail_distance_embeddings.weight[of_tail]]))
    filtered = []
    for place in range(len(words)):
        total = bias.clone()
        for offset in range(-reach, reach + 1):
            if 0 <= place + offset < len(words):
                total = total + weight[:, :, offset + reach] @ rows[place + offset]
        filtered.append(total.clamp(min=0))
    first, second = sorted((head, tail))
    pieces = [filtered]
    if config.pooling == "piecewise":
        pieces = [filtered[: first + 1], filtered[first + 1 : second + 1], filtered[second + 1 :]]
    maxima = [
        torch.stack([max((row[k] for row in piece), default=torch.tensor(0.0)) for k in range(config.hidden_size)])
        for piece in pieces
    ]
    return model.classifier.weight @ torch.cat(maxima) + model.classifier.bias


@torch.no_grad()
@pytest.mark.parametrize("pooling", ["max", "piecewise"])
@pytest.mark.parametrize("max_distance", [2, 128])
@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_the_logits_are_those_of_the_equations(pooling, max_distance, kernel_size):
    values = {"pooling": pooling, "max_distance": max_distance, "kernel_size": kernel_size, "dropout": 0.0}
    processor = WordProcessor.from_words(WORDS)
    model = CNNForRelationClassification.from_word_vectors(
        VECTORS, vocab_size=len(processor.tokenizer), num_labels=4, hidden_size=7, initializer_range=0.5, **values
    )
    model.convolution.bias += torch.randn(7, generator=torch.Generator().manual_seed(1))
    text = "rafael nadal weds mery perello in south wales"
    posts = [
        (text, (0, 12), (18, 30)),
        (text, (18, 30), (0, 12)),
        (text, (34, 45), (13, 17)),
        ("mery in", (0, 4), (5, 7)),
        (text, (0, 12), (0, 6)),  # nothing is between two entities that start together
    ]
    starts = [(0, 3), (3, 0), (6, 2), (0, 1), (0, 0)]
    texts, heads, tails = (list(column) for column in zip(*posts))
    logits = model(**processor(text=texts, head=heads, tail=tails)).logits
    for row, post, (head, tail) in zip(logits, texts, starts):
        ids = processor.tokenizer.convert_tokens_to_ids(post.split())
        torch.testing.assert_close(row, slow_logits(model, ids, head, tail), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("attention_mask", [True, False])
def test_markers_are_taken_out_wherever_they_stand(attention_mask):
    processor = WordProcessor.from_words(WORDS)
    cases = {  # nested, the same, touching, overlapping entities, at both ends
        ("rafael nadal weds mery", (0, 12), (7, 12)): (0, 1),
        ("rafael nadal weds mery", (7, 12), (7, 12)): (1, 1),
        ("rafael nadal weds mery", (0, 6), (7, 22)): (0, 1),
        ("rafael nadal weds mery", (0, 17), (7, 22)): (0, 1),
        ("rafael nadal weds mery", (18, 22), (0, 6)): (3, 0),
    }
    for (text, head, tail), expected in cases.items():
        inputs = processor(text=text, head=head, tail=tail)
        mask = inputs["attention_mask"] if attention_mask else None
        words, is_word, starts = without_markers(
            inputs["input_ids"], inputs["entity_positions"], inputs["entity_spans"], mask
        )
        assert processor.tokenizer.convert_ids_to_tokens(words[0][is_word[0]].tolist()) == text.split()
        assert tuple(starts[0].tolist()) == expected


@torch.no_grad()
def test_the_markers_vectors_are_never_read():
    processor = WordProcessor.from_words(WORDS)
    model = CNNForRelationClassification.from_word_vectors(VECTORS, vocab_size=len(processor.tokenizer))
    model.word_embeddings.weight[-4:] = float("nan")
    inputs = processor(text="rafael nadal weds mery", head=(0, 12), tail=(18, 22))
    assert model(**inputs).logits.isfinite().all()


def test_pooling_changes_only_the_size_of_the_classifier():
    shapes = {}
    for pooling in ("max", "piecewise"):
        model = tiny_model("cnn", pooling=pooling)
        shapes[pooling] = {name: tuple(weight.shape) for name, weight in model.named_parameters()}
    changed = {name for name in shapes["max"] if shapes["max"][name] != shapes["piecewise"][name]}
    assert changed == {"classifier.weight"}
    assert shapes["piecewise"]["classifier.weight"][1] == 3 * shapes["max"]["classifier.weight"][1]


def test_word_vectors_get_their_places_and_their_size():
    processor = WordProcessor.from_words(WORDS)
    size = len(processor.tokenizer)
    model = CNNForRelationClassification.from_word_vectors(VECTORS, vocab_size=size)
    assert model.config.word_size == 5 and not model.training
    ids = processor.tokenizer.convert_tokens_to_ids(WORDS)
    torch.testing.assert_close(model.word_embeddings.weight[ids], VECTORS)
    with pytest.raises(ValueError, match="`word_size` is 50, but the word vectors have 5 numbers each"):
        CNNForRelationClassification.from_word_vectors(VECTORS, vocab_size=size, word_size=50)
    with pytest.raises(ValueError, match="8 word vectors do not fit into a vocabulary of 9"):
        CNNForRelationClassification.from_word_vectors(VECTORS, vocab_size=9)
    with pytest.raises(TypeError, match="`CNNConfig` has no argument 'pool'"):
        CNNForRelationClassification.from_word_vectors(VECTORS, vocab_size=size, pool="max")
    with pytest.raises(TypeError, match="vocab_size"):
        CNNForRelationClassification.from_word_vectors(VECTORS)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("kernel_size", 0),
        ("word_size", 0),
        ("hidden_size", 0),
        ("dropout", 1.0),
        ("pooling", "mean"),
    ],
)
def test_a_value_that_cannot_be_right_is_refused(name, value):
    with pytest.raises(Exception, match=name):
        CNNConfig(**{name: value})
