"""The converter, against the official computation written out with the official names and shapes."""

import json

import pytest
import torch
from torch.nn import functional as F
from transformers import AutoModel, AutoProcessor, BertConfig, BertModel, CLIPVisionConfig, CLIPVisionModel

from mmre.cli.main import main
from mmre.model_cards.convert_official_focalmre import convert, convert_checkpoint, convert_state_dict

SIZE, SLOTS, LABELS = 16, 7, 4
RELATION_IDS = {"None": 0, "/per/per/couple": 1, "/per/misc/awarded": 2, "/per/org/member_of": 3}
LAYERS = {"hidden_size": SIZE, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


def text_config(vocab_size=120):
    return BertConfig(vocab_size=vocab_size, **LAYERS, initializer_range=0.3)


def vision_config():
    return CLIPVisionConfig(image_size=32, patch_size=8, **LAYERS, initializer_range=0.3)


@pytest.fixture(params=["vision_model.", "vision_model.vision_model."])
def official(request, tmp_path):
    """A checkpoint as the official code saves it: `torch.save(DataParallel(REModel).state_dict())`."""
    torch.manual_seed(0)
    weights = {}

    def linear(name, outputs, inputs):
        weights[f"{name}.weight"] = torch.randn(outputs, inputs) * 0.3
        weights[f"{name}.bias"] = torch.randn(outputs) * 0.3

    for name, tensor in BertModel(text_config()).state_dict().items():
        weights[f"model.text_model.{name}"] = tensor
    weights["model.text_model.embeddings.position_ids"] = torch.arange(512)[None]
    for name, tensor in CLIPVisionModel(vision_config()).state_dict().items():
        weights[f"model.{request.param}{name}"] = tensor
    weights[f"model.{request.param}embeddings.position_ids"] = torch.arange(17)[None]
    for name in ("v_projection", "t_projection"):
        weights[f"model.{name}.weight"] = torch.randn(SIZE, SIZE)
    for slot in range(SLOTS):
        for layer in ("q_proj", "k_proj", "v_proj", "proj"):
            linear(f"model.selective_attns.{slot}.{layer}", SIZE, SIZE)
        linear(f"model.gate_denses.{slot}", SIZE, 2 * SIZE)
    for name in ("gate_out", "gate_out1", "gate_out2", "gate_final"):
        linear(f"model.{name}", SIZE, 2 * SIZE)
    weights["model.weights1"] = 1 + torch.randn(1, 4, 1, 1)
    weights["model.weights2"] = 1 + torch.randn(1, 3, 1, 1)
    linear("classifier", LABELS, 4 * SIZE)
    path = tmp_path / "best_model.pth"
    torch.save({f"module.{name}": tensor for name, tensor in weights.items()}, path)
    return path, weights, request.param


def official_logits(weights, vision_name, input_ids, attention_mask, box_images, head, tail):
    """The official forward pass, slot by slot and sample by sample."""

    def tower(model, prefix):
        model.load_state_dict({name: weights[prefix + name] for name in model.state_dict()})
        return model.eval()

    def linear(name, x):
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    bert = tower(BertModel(text_config()), "model.text_model.")
    vit = tower(CLIPVisionModel(vision_config()), f"model.{vision_name}")
    text = bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
    fused = []
    for slot in range(SLOTS):
        image = vit(pixel_values=box_images[:, slot]).last_hidden_state  # with the class token
        name = f"model.selective_attns.{slot}"
        query = linear(f"{name}.q_proj", text) * SIZE**-0.5
        scores = query @ linear(f"{name}.k_proj", image).transpose(1, 2)
        attended = linear(f"{name}.proj", F.softmax(scores, -1) @ linear(f"{name}.v_proj", image))
        gate = torch.sigmoid(linear(f"model.gate_denses.{slot}", torch.cat([attended, text], -1)))
        fused.append((1 - gate) * text + gate * attended)
    grounded = sum(weights["model.weights1"][0, slot, 0, 0] * fused[slot] for slot in range(4))
    detected = sum(weights["model.weights2"][0, slot, 0, 0] * fused[4 + slot] for slot in range(3))
    logits = []
    for i in range(len(input_ids)):
        z = torch.cat([grounded[i, head[i]], grounded[i, tail[i]], detected[i, head[i]], detected[i, tail[i]]])
        logits.append(linear("classifier", z))
    return torch.stack(logits)


def test_a_converted_model_gives_the_official_logits(official):
    path, weights, vision_name = official
    model = convert_checkpoint(path, RELATION_IDS, text_config(vocab_size=116), vision_config())
    torch.manual_seed(1)
    batch, length = 5, 9
    input_ids = torch.randint(0, 120, (batch, length))
    attention_mask = torch.ones(batch, length, dtype=torch.long)
    attention_mask[1, 6:] = 0
    positions = torch.stack([torch.randperm(6)[:2] for _ in range(batch)])
    image_mask = torch.zeros(batch, SLOTS, dtype=torch.bool)
    for i, (grounded, detected) in enumerate([(4, 3), (2, 3), (1, 0), (3, 1), (4, 0)]):
        image_mask[i, :grounded] = True
        image_mask[i, 4 : 4 + detected] = True
    images = torch.randn(batch, SLOTS, 3, 32, 32)
    box_images = images * image_mask[:, :, None, None, None]  # the official code pads with zero images
    with torch.no_grad():
        expected = official_logits(
            weights, vision_name, input_ids, attention_mask, box_images, positions[:, 0], positions[:, 1]
        )
        logits = model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            entity_positions=positions,
            pixel_values=images,
            image_mask=image_mask,
        ).logits
    assert expected.std() > 0.1
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=0)
    assert model.config.id2label == {index: name for name, index in RELATION_IDS.items()}


def test_the_command_writes_a_folder_that_loads(official, tmp_path, make_tokenizer, capsys, make_processor):
    path, weights, _ = official
    tokenizer = make_tokenizer()
    (tmp_path / "rel2id.json").write_text(json.dumps(RELATION_IDS), "utf-8-sig")  # as some editors save it
    # The checkpoint's vocabulary is the tokenizer's and the four markers.
    weights = torch.load(path, weights_only=True)
    name = "module.model.text_model.embeddings.word_embeddings.weight"
    weights[name] = torch.randn(len(tokenizer) + 4, SIZE)
    torch.save(weights, path)
    text_config(len(tokenizer)).save_pretrained(tmp_path / "bert")
    tokenizer.save_pretrained(tmp_path / "bert")
    vision_config().save_pretrained(tmp_path / "vit")
    make_processor().image_processor.save_pretrained(tmp_path / "vit")
    out = tmp_path / "out"
    arguments = ["convert", path, tmp_path / "rel2id.json", out]
    arguments += ["--text_encoder", tmp_path / "bert", "--vision_encoder", tmp_path / "vit"]
    assert main([*map(str, arguments)]) == 0
    assert capsys.readouterr().out == f"Written to {out}.\n"
    model, processor = AutoModel.from_pretrained(out), AutoProcessor.from_pretrained(out)
    assert torch.equal(model.text_model.get_input_embeddings().weight, weights[name])
    assert (processor.resize, processor.draw_at, processor.original_if_no_region) == ("center_crop", "source", False)
    inputs = processor(text="rafael nadal weds mery", head=(0, 12), tail=(18, 22))
    markers = processor.tokenizer.convert_ids_to_tokens(inputs["input_ids"][0])
    assert [token for token in markers if token in ("<s>", "</s>", "<o>", "</o>")] == ["<s>", "</s>", "<o>", "</o>"]
    assert model(**inputs).logits.shape == (1, LABELS)


def test_a_strange_weight_is_refused():
    with pytest.raises(ValueError, match=r"'module.model.gcn.weight' is no weight"):
        convert_state_dict({"module.model.gcn.weight": torch.zeros(1)})


def test_encoders_of_another_size_are_refused(official):
    path, *_ = official
    config = vision_config()
    config.patch_size = 16
    with pytest.raises(ValueError, match="patch_embedding"):
        convert_checkpoint(path, RELATION_IDS, text_config(), config)
    with pytest.raises(ValueError, match="Unknown.*encoder.layer.1"):
        convert_checkpoint(path, RELATION_IDS, BertConfig(**LAYERS | {"num_hidden_layers": 1}), vision_config())


def test_a_checkpoint_with_a_weight_that_is_not_finite_is_refused(official):
    path, *_ = official
    weights = torch.load(path, weights_only=True)
    weights["module.classifier.bias"][1] = float("nan")
    torch.save(weights, path)
    with pytest.raises(ValueError, match="best_model.pth: 1 of .* weights are not finite, first classifier"):
        convert_checkpoint(path, RELATION_IDS, text_config(), vision_config())


def test_a_checkpoint_that_runs_code_is_refused(tmp_path):
    class Harmful:
        def __reduce__(self):
            return (print, ("code from a checkpoint",))

    torch.save({"module.classifier.weight": Harmful()}, tmp_path / "best_model.pth")
    with pytest.raises(Exception, match="weights_only|Weights only"):
        convert_checkpoint(tmp_path / "best_model.pth", RELATION_IDS, text_config(), vision_config())


def test_files_that_are_not_those_of_the_official_code_are_named(official, tmp_path):
    path, *_ = official
    relations = tmp_path / "rel2id.json"
    with pytest.raises(FileNotFoundError, match=f"there is no file {relations}"):
        convert(path, relations, tmp_path / "out")
    relations.write_text("None 0")
    with pytest.raises(ValueError, match="rel2id.json: .*; expected the ids of the relations, as JSON"):
        convert(path, relations, tmp_path / "out")
    relations.write_text(json.dumps(RELATION_IDS))
    text_config().save_pretrained(tmp_path / "bert")
    vision_config().save_pretrained(tmp_path / "vit")
    with pytest.raises(
        ValueError, match="rel2id.json is no checkpoint of weights alone; expected the authors' best_model.pth"
    ):
        convert(relations, relations, tmp_path / "out", tmp_path / "bert", tmp_path / "vit")
    assert not (tmp_path / "out").exists()
