"""Pretrained models over pictures: a grounder of keywords, a detector of objects, a captioner."""

import re

import torch
from PIL import Image
from transformers import (
    AutoImageProcessor,
    AutoModelForImageTextToText,
    AutoModelForObjectDetection,
    AutoModelForZeroShotObjectDetection,
    AutoProcessor,
)

from mmre.processing.focal_augmentation import Box

# A token scorer reads all keywords as one text and scores its tokens; a keyword scorer scores each keyword.
TOKEN_SCORING_MODELS = ("grounding-dino", "mm-grounding-dino")
KEYWORD_SCORING_MODELS = ("owlvit", "owlv2")

# A millionth of a side of the image is far below a pixel.
BOX_DECIMALS = 6


def best_boxes(scored: list[tuple[float, Box]], number: int, max_iou: float) -> list[Box]:
    """Choose the boxes with the best scores; of boxes that are nearly the same, choose the best one.

    Boxes are clipped to the image.

    Args:
        scored: pairs of a score and a box `[x_min, y_min, x_max, y_max]` in fractions of the image.
        number: most boxes to choose.
        max_iou: intersection over union above which two boxes count as the same.

    Returns:
        The boxes, best first.
    """
    chosen = []
    for _, box in sorted(scored, key=lambda pair: -pair[0]):
        box = [round(min(max(value, 0.0), 1.0), BOX_DECIMALS) for value in box]
        has_area = box[0] < box[2] and box[1] < box[3]
        if has_area and len(chosen) < number and all(_iou(box, other) <= max_iou for other in chosen):
            chosen.append(box)
    return chosen


def _iou(a: Box, b: Box) -> float:
    """Divide the intersection of two boxes by their union."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    intersection = max(width, 0) * max(height, 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - intersection
    return intersection / union


def _sizes(images: list[Image.Image]) -> list[tuple[int, int]]:
    """List height and width of each picture, in pixels."""
    return [(image.height, image.width) for image in images]


def _fractions(boxes: torch.Tensor, image: Image.Image) -> list[Box]:
    """Turn boxes in pixels, (N, 4) or (4,), into fractions of the picture."""
    return (boxes.double().cpu() / torch.tensor([image.width, image.height] * 2)).tolist()


class Grounder:
    """Zero-shot detector that finds the regions of a picture that keywords name.

    Args:
        model: name or folder of a model that `AutoModelForZeroShotObjectDetection` knows.
        revision: revision of the model on the Hub.
        threshold: lowest score of a box.
        num_regions: most boxes of a picture.
        max_iou: intersection over union above which two boxes count as the same.
        dtype: type of the weights, as transformers names it; `"auto"` is that of the checkpoint.
        device: where the model runs.

    Raises:
        ValueError: the model is none of Grounding DINO, MM Grounding DINO, OWL-ViT and OWLv2.
    """

    def __init__(
        self,
        model: str,
        revision: str | None = None,
        threshold: float = 0.25,
        num_regions: int = 4,
        max_iou: float = 0.9,
        dtype: str = "auto",
        device: str | torch.device = "cpu",
    ):
        self.processor = AutoProcessor.from_pretrained(model, revision=revision, backend="pil")
        self.model = AutoModelForZeroShotObjectDetection.from_pretrained(model, revision=revision, dtype=dtype)
        if self.model.config.model_type not in TOKEN_SCORING_MODELS + KEYWORD_SCORING_MODELS:
            raise ValueError(
                f"{model} is a {self.model.config.model_type!r}, which grounds no keywords; expected one of "
                f"{', '.join(TOKEN_SCORING_MODELS + KEYWORD_SCORING_MODELS)}"
            )
        self.model.to(device).eval()
        self.threshold, self.num_regions, self.max_iou = threshold, num_regions, max_iou

    @torch.inference_mode()
    def __call__(self, images: list[Image.Image], keywords: list[list[str]], batch_size: int = 8) -> list[list[Box]]:
        """Find the best box of each keyword, and of these boxes the best ones.

        Args:
            images: pictures in RGB; a picture may stand there several times.
            keywords: keywords to look for in each picture.
            batch_size: number of pictures that go through the model at once.

        Returns:
            The boxes of each picture, best first, in fractions of the picture.
        """
        scores_tokens = self.model.config.model_type in TOKEN_SCORING_MODELS
        ground = self._ground_tokens if scores_tokens else self._ground_keywords
        queries = []  # index of a picture, and as many keywords as the model can read at once
        for index, words in enumerate(keywords):
            queries += [(index, part) for part in (self._split(words) if scores_tokens else [words]) if part]
        found = [[] for _ in images]
        for start in range(0, len(queries), batch_size):
            batch = queries[start : start + batch_size]
            results = ground([images[index] for index, _ in batch], [words for _, words in batch])
            for (index, _), scored in zip(batch, results):
                found[index] += [(score, box) for score, box in scored if score >= self.threshold]
        return [best_boxes(scored, self.num_regions, self.max_iou) for scored in found]

    def _max_tokens(self) -> int:
        """Return the most tokens that the model reads."""
        return min(self.model.config.max_text_len, self.processor.tokenizer.model_max_length)

    def _split(self, words: list[str]) -> list[list[str]]:
        """Split keywords into parts that the model can read at once."""
        parts, length = [], self._max_tokens()
        for word in words:
            tokens = len(self.processor.tokenizer(_phrase(word), add_special_tokens=False).input_ids) + 1
            if length + tokens > self._max_tokens():
                parts.append([])
                length = 2  # the tokens at the start and the end
            parts[-1].append(word)
            length += tokens
        return parts

    def _ground_tokens(self, images: list[Image.Image], keywords: list[list[str]]) -> list[list[tuple[float, Box]]]:
        """Score each box for a keyword by the best of the keyword's tokens, and return the best box of each keyword.

        `post_process_grounded_object_detection` would join all tokens above a threshold, whatever keywords they belong
        to.
        """
        texts, spans = [], []
        for words in keywords:
            text, ends = "", []
            for word in words:
                start = len(text)
                text += _phrase(word)
                ends.append((start, len(text)))
                text += ". "
            texts.append(text.strip())
            spans.append(ends)
        options = {"padding": True, "truncation": True, "max_length": self._max_tokens()}
        offsets = self.processor.tokenizer(texts, return_offsets_mapping=True, **options)["offset_mapping"]
        inputs = self.processor(images=images, text=texts, return_tensors="pt", **options)
        outputs = self.model(**inputs.to(self.model.device, self.model.dtype))
        scores = outputs.logits.float().sigmoid()  # (images, queries, tokens)
        centres, sizes = outputs.pred_boxes.double().split(2, dim=-1)
        boxes = torch.cat([centres - sizes / 2, centres + sizes / 2], dim=-1).cpu()
        results = []
        for index, ends in enumerate(spans):
            scored = []
            for start, end in ends:
                tokens = [
                    position for position, (first, last) in enumerate(offsets[index]) if start <= first < last <= end
                ]
                if tokens:
                    best = scores[index][:, tokens].amax(dim=-1).max(dim=0)
                    scored.append((best.values.item(), boxes[index][best.indices.item()].tolist()))
            results.append(scored)
        return results

    def _ground_keywords(self, images: list[Image.Image], keywords: list[list[str]]) -> list[list[tuple[float, Box]]]:
        """Return the best box of each keyword, post-processed one keyword at a time.

        Among several keywords `post_process_grounded_object_detection` would give each box to one, and the padding of
        a shorter list would take boxes away.
        """
        length = max(len(words) for words in keywords)
        texts = [words + [""] * (length - len(words)) for words in keywords]
        inputs = self.processor(images=images, text=texts, return_tensors="pt", truncation=True)
        outputs = self.model(**inputs.to(self.model.device, self.model.dtype))
        scores, found = outputs.logits, [[] for _ in images]
        for column in range(length):
            outputs.logits = scores[..., column : column + 1]
            results = self.processor.post_process_grounded_object_detection(
                outputs, threshold=self.threshold, target_sizes=_sizes(images)
            )
            for index, (image, result) in enumerate(zip(images, results)):
                if column < len(keywords[index]) and len(result["scores"]):
                    best = result["scores"].argmax()
                    found[index].append((result["scores"][best].item(), _fractions(result["boxes"][best], image)))
        return found


def _phrase(word: str) -> str:
    """Write a keyword as Grounding DINO wants it: in lower case, without the marks that end a phrase."""
    return " ".join(re.sub(r"[.?]", " ", word.lower()).split())


class Detector:
    """Object detector over pictures.

    Args:
        model: name or folder of a model that `AutoModelForObjectDetection` knows.
        revision: revision of the model on the Hub.
        threshold: lowest score of a box.
        num_regions: most boxes of a picture.
        max_iou: intersection over union above which two boxes count as the same.
        dtype: type of the weights, as transformers names it; `"auto"` is that of the checkpoint.
        device: where the model runs.
    """

    def __init__(
        self,
        model: str,
        revision: str | None = None,
        threshold: float = 0.5,
        num_regions: int = 3,
        max_iou: float = 0.9,
        dtype: str = "auto",
        device: str | torch.device = "cpu",
    ):
        self.processor = AutoImageProcessor.from_pretrained(model, revision=revision, backend="pil")
        self.model = AutoModelForObjectDetection.from_pretrained(model, revision=revision, dtype=dtype)
        self.model.to(device).eval()
        self.threshold, self.num_regions, self.max_iou = threshold, num_regions, max_iou

    @torch.inference_mode()
    def __call__(self, images: list[Image.Image]) -> list[list[Box]]:
        """Find the objects with the best scores.

        Args:
            images: pictures in RGB, one batch.

        Returns:
            The boxes of each picture, best first, in fractions of the picture.
        """
        if not images:
            return []
        inputs = self.processor(images=images, return_tensors="pt")
        outputs = self.model(**inputs.to(self.model.device, self.model.dtype))
        results = self.processor.post_process_object_detection(
            outputs, threshold=self.threshold, target_sizes=_sizes(images)
        )
        return [
            best_boxes(
                list(zip(result["scores"].tolist(), _fractions(result["boxes"], image))),
                self.num_regions,
                self.max_iou,
            )
            for image, result in zip(images, results)
        ]


class Captioner:
    """Image-to-text model that describes a picture in a sentence.

    Args:
        model: name or folder of a model that `AutoModelForImageTextToText` knows.
        revision: revision of the model on the Hub.
        prompt: text that the caption answers or continues, with the model's image tokens if the model needs some.
        max_new_tokens: most tokens of a caption.
        dtype: type of the weights, as transformers names it; `"auto"` is that of the checkpoint.
        device: where the model runs.
    """

    def __init__(
        self,
        model: str,
        revision: str | None = None,
        prompt: str | None = None,
        max_new_tokens: int = 40,
        dtype: str = "auto",
        device: str | torch.device = "cpu",
    ):
        self.processor = AutoProcessor.from_pretrained(model, revision=revision, backend="pil")
        self.model = AutoModelForImageTextToText.from_pretrained(model, revision=revision, dtype=dtype)
        self.model.to(device).eval()
        self.prompt, self.max_new_tokens = prompt, max_new_tokens

    @torch.inference_mode()
    def __call__(self, images: list[Image.Image]) -> list[str]:
        """Write a caption of each picture, by greedy decoding.

        Args:
            images: pictures in RGB, one batch.

        Returns:
            The captions, without the prompt.
        """
        if not images:
            return []
        text = {"text": [self.prompt] * len(images)} if self.prompt else {}
        inputs = self.processor(images=images, **text, return_tensors="pt").to(self.model.device, self.model.dtype)
        generated = self.model.generate(**inputs, max_new_tokens=self.max_new_tokens, do_sample=False)
        prompt = inputs.get("input_ids")
        if prompt is not None and torch.equal(generated[:, : prompt.shape[1]], prompt):
            generated = generated[:, prompt.shape[1] :]
        captions = self.processor.batch_decode(generated, skip_special_tokens=True)
        return [" ".join(caption.split()) for caption in captions]


__all__ = ["Captioner", "Detector", "Grounder", "best_boxes"]
