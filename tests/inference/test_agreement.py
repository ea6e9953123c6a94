"""One post, one answer: training's test, the pipeline and `mmre predict` read the same tokens."""

import json
from pathlib import Path

import pytest
import torch
from model_helpers import ENCODERS, tiny_model
from picture_helpers import SPACY_MODEL
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast, pipeline

from mmre.evaluation.run_record import write_predictions
from mmre.evaluation.scores import heads_first
from mmre.inference.arguments import PredictionArguments
from mmre.inference.run import predict
from mmre.posts import load_files
from mmre.posts.collator import PostCollator
from mmre.processing import TextProcessor

TEXTS = [
    ("#Ana met Bo.", "Ana", "Bo"),
    ("  Ana  met\n\tBo ,again", "Ana", "Bo"),
    ("AnaBo😂Ana-Maria & Bo's", "Ana-Maria", "Bo"),
    ("(Ana)Bo!", "Ana", "Bo"),
    ("é Zoë\u00a0Bo 東京", "Zoë", "東京"),
]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]


def make_tokenizer(kind: str) -> PreTrainedTokenizerFast:
    """A trained tokenizer of a kind, with the special tokens of BERT."""
    model, trainer = {
        "WordPiece": (models.WordPiece(unk_token="[UNK]"), trainers.WordPieceTrainer(vocab_size=150)),
        "byte-level BPE": (models.BPE(), trainers.BpeTrainer(vocab_size=320)),
        "Unigram": (models.Unigram(), trainers.UnigramTrainer(vocab_size=120, unk_token="[UNK]")),
    }[kind]
    trainer.special_tokens, trainer.show_progress = SPECIAL, False
    tokenizer = Tokenizer(model)
    if kind == "WordPiece":
        tokenizer.normalizer = normalizers.BertNormalizer()
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    elif kind == "Unigram":
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer.initial_alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator([text for text, *_ in TEXTS] * 5, trainer)
    ids = [(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=ids
    )
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token"), SPECIAL))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def rows_of(unit: str) -> list[dict]:
    rows = []
    for text, *names in TEXTS:
        if unit == "words":
            words = text.split()
            spans = [[next(i for i, word in enumerate(words) if name in word)] * 2 for name in names]
            spans = [[start, end + 1] for start, end in spans]
            row = {"tokens": words}
        else:
            spans = [[text.rindex(name), text.rindex(name) + len(name)] for name in names]
            row = {"text": text}
        rows.append(row | dict(zip(("head", "tail"), spans)))
    return rows


@pytest.mark.parametrize("unit", ["characters", "words"])
@pytest.mark.parametrize("kind", ["WordPiece", "byte-level BPE", "Unigram"])
def test_the_test_of_a_training_the_pipeline_and_predict_agree(kind, unit, tmp_path):
    in_text_order = unit == "words"
    processor = TextProcessor(make_tokenizer(kind), max_length=60, inputs=["text"], markers_in_text_order=in_text_order)
    text_config = {**ENCODERS["text"], "vocab_size": len(processor.tokenizer), "max_position_embeddings": 60}
    model = tiny_model("mtb", text_config=text_config)
    model.save_pretrained(tmp_path / "model")
    processor.save_pretrained(tmp_path / "model")
    names = [model.config.id2label[number] for number in range(4)]
    rows = rows_of(unit)
    lines = [json.dumps(row | {"relation": names[1]}) + "\n" for row in rows]
    (tmp_path / "posts.jsonl").write_text("".join(lines), "utf-8")

    posts = load_files(test=tmp_path / "posts.jsonl", relations=names)["test"]
    with torch.no_grad():
        probabilities = model(**PostCollator(processor)(list(posts.remove_columns("relation")))).logits.softmax(-1)
    write_predictions(tmp_path, posts["id"][:], names, posts["relation"][:], probabilities.tolist(), heads_first(posts))
    trained = [json.loads(line)["probabilities"] for line in (tmp_path / "predictions.jsonl").read_text().splitlines()]

    extract = pipeline("multimodal-relation-extraction", model=str(tmp_path / "model"), top_k=4)
    for found, expected in zip(extract(rows), trained, strict=True):
        assert {row["label"]: row["score"] for row in found} == pytest.approx(expected, abs=1e-5)
    for row, expected in zip(rows, trained):
        found = {row["label"]: row["score"] for row in extract(row | {"head": row["tail"], "tail": row["head"]})}
        assert (found == pytest.approx(expected, abs=1e-5)) == in_text_order

    values = {"spacy_model": SPACY_MODEL, "batch_size": 2, "decision": "pair"}
    args = PredictionArguments(out=str(tmp_path / "triples.jsonl"), **values)
    predict(str(tmp_path / "model"), str(tmp_path / "posts.jsonl"), args)
    triples = [json.loads(line) for line in Path(args.out).read_text("utf-8").splitlines()]
    best = {f"posts-{number}": max(row.items(), key=lambda item: item[1]) for number, row in enumerate(trained)}
    expected = {key: pytest.approx(score, abs=1e-5) for key, (name, score) in best.items() if name != "None"}
    assert expected and {row["id"]: row["score"] for row in triples} == expected
    assert all(row["relation"] == best[row["id"]][0] for row in triples)
