"""How fast the input, a training step and an evaluation of the systems are, as ratios of one run on one thread.

    make bench                               # every system, tiny
    python tests/speed/bench.py --systems focalmre mtb --size paper --rounds 3

Each system is timed three ways, interleaved, on the same synthetic posts of which two share each picture:

- the plain way: each post by itself, texts padded to the greatest length, all slots encoded, absent and equal ones too;
  in the official mode, each frame is drawn on the full-size picture, which the image processor then scales;
- ours: as the package does it;
- the floor: the bare encoders on the different pictures that exist and on the real lengths; for the input, none.

The plain way must give the same logits, or its times are worth nothing: that is checked first. Seconds are those that
this process has a processor, so that other work on the machine counts less; medians of the rounds.
"""

import argparse
import io
import platform
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from torch.utils._pytree import tree_map

from mmre.modeling import MODELS
from mmre.posts.collator import PostCollator
from mmre.posts.dependencies import with_dependencies
from mmre.processing.focal_augmentation import DETECTED_COLOR, FRAME_WIDTH, GROUNDED_COLOR, drawn_edges
from mmre.processing.picture_cache import PictureCache
from mmre.training.encoders import build
from mmre.training.settings import read_config, resolve
from mmre.training.splits import open_splits
from mmre.training.system_values import processor_names

BATCH = 8
PAPER = {
    "new_text_encoder": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12},
    "new_vision_encoder": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12},
}
# Beside the systems: the mode in which FocalMRE computes what the official code does.
OFFICIAL = "focalmre-official"
OFFICIAL_VALUES = {
    **{"region_weighting": "raw", "vision_feature_select_strategy": "full"},
    **{"draw_at": "source", "resize": "center_crop", "original_if_no_region": False},
}
PAPER["new_text_encoder"] |= {"intermediate_size": 3072, "max_position_embeddings": 512}
PAPER["new_vision_encoder"] |= {"intermediate_size": 3072, "image_size": 224, "patch_size": 32}
PHOTO = 800, 600  # the size of the pictures beside these


def make(system: str, size: str, folder: Path, spacy_model: str | None = None):
    """Build a system with random weights, its processor, and rows of posts of which two share each picture."""
    values = read_config("quickstart") | {"num_synthetic_posts": 2 * BATCH}
    if system == OFFICIAL:
        system, values = "focalmre", values | OFFICIAL_VALUES
    values["model_type"] = system
    if size == "paper":
        values |= PAPER | {"max_length": 128}
    given = {"model_type": system, "output_dir": str(folder / "run"), "use_cpu": "true", "report_to": "none"}
    if spacy_model is not None and "spacy_model" in processor_names(system):
        given["spacy_model"] = spacy_model
    settings = resolve(values, given)
    posts = open_splits(settings.data, settings.training)
    relations = posts["train"].features["relation"].names
    processor, model = build(settings.model, settings.values, relations, posts, folder)
    if "structure" in processor.inputs:
        posts = with_dependencies(posts, processor.spacy_model)
    rows = posts["train"].to_list()
    picture = ("image", "grounded_regions", "detected_regions")
    if size == "paper":
        for row in rows:
            row["image"] = {"bytes": as_photo(row["image"]["bytes"]), "path": None}
    for first, second in zip(rows[::2], rows[1::2]):
        second.update({name: first[name] for name in picture})
    return processor, model.eval(), [rows[:BATCH], rows[BATCH:]]


def as_photo(content: bytes) -> bytes:
    """Return a picture as a JPEG of the size of a photograph."""
    file = io.BytesIO()
    Image.open(io.BytesIO(content)).convert("RGB").resize(PHOTO).save(file, "JPEG", quality=90)
    return file.getvalue()


def plain_input(processor, rows: list[dict]) -> dict[str, torch.Tensor]:
    """Encode each post by itself, padded to the greatest length, and put the posts together."""
    if getattr(processor, "draw_at", None) == "source":
        without = {"image": None, "grounded_regions": [], "detected_regions": []}
        return one_by_one(processor, [row | without for row in rows]) | plain_frames(processor, rows)
    return one_by_one(processor, rows)


def plain_frames(processor, rows: list[dict]) -> dict[str, torch.Tensor]:
    """Draw each frame on the full-size picture, and have the image processor scale and normalise it, as officially."""
    size = processor.image_processor.crop_size
    pixel_values = torch.zeros(len(rows), processor.num_slots, 3, size["height"], size["width"])
    image_mask = torch.zeros(len(rows), processor.num_slots, dtype=torch.bool)
    groups = (
        ("grounded_regions", GROUNDED_COLOR, 0, processor.num_grounded_regions),
        ("detected_regions", DETECTED_COLOR, processor.num_grounded_regions, processor.num_detected_regions),
    )
    for post, row in enumerate(rows):
        if row["image"] is None:
            continue
        picture = Image.open(io.BytesIO(row["image"]["bytes"])).convert("RGB")
        for name, color, start, slots in groups:
            for slot, (x_min, y_min, x_max, y_max) in enumerate(row[name][:slots], start):
                framed = picture.copy()
                left, right = drawn_edges(x_min, x_max, picture.width)
                top, bottom = drawn_edges(y_min, y_max, picture.height)
                ImageDraw.Draw(framed).rectangle((left, top, right, bottom), outline=color, width=FRAME_WIDTH)
                values = processor.image_processor(framed, return_tensors="pt")["pixel_values"]
                pixel_values[post, slot], image_mask[post, slot] = values[0], True
    return {"pixel_values": pixel_values, "image_mask": image_mask}


def one_by_one(processor, rows: list[dict]) -> dict[str, torch.Tensor]:
    """Encode each post by itself, padded to the greatest length, as the processor does."""
    encode = type(processor).__call__

    class Padded:
        inputs = processor.inputs

        def __call__(self, **given):
            return encode(processor, **given, padding="max_length")

    batches = [PostCollator(Padded())([row]) for row in rows]
    return {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}


def plain_forward(model, batch: dict[str, torch.Tensor]):
    """Run a model whose vision encoders are called for each slot, absent ones too.

    In FocalMRE's official mode, absent slots are zero images that are said to exist, as in the official code.
    """
    mask = batch.get("image_mask")
    if getattr(model.config, "region_weighting", None) == "raw":
        pixel_values = torch.where(mask[:, :, None, None, None], batch["pixel_values"], 0.0)
        mask = mask.any(dim=1, keepdim=True).expand_as(mask)
        batch = batch | {"pixel_values": pixel_values, "image_mask": mask}
    encoders, forwards = model.encoders("vision"), {}
    absent = 0 if mask is None else int((~mask).sum())

    def slot_by_slot(forward: Callable) -> Callable:
        def call(pixel_values, **arguments):
            outputs = [forward(pixel_values=part, **arguments) for part in pixel_values.split(BATCH)]
            for start in range(0, absent, BATCH):
                forward(pixel_values=torch.zeros_like(pixel_values[:1]).repeat(min(BATCH, absent - start), 1, 1, 1))
            return tree_map(
                lambda *parts: torch.cat(parts) if isinstance(parts[0], torch.Tensor) else parts[0], *outputs
            )

        return call

    from mmre.modeling import image_tower

    mixes = image_tower._mixes_images
    for encoder in encoders:
        forwards[encoder] = encoder.forward
        encoder.forward = slot_by_slot(encoder.forward)
    image_tower._mixes_images = lambda encoder: True  # so that no two equal pictures are taken for one
    try:
        return model(**batch)
    finally:
        image_tower._mixes_images = mixes
        for encoder, forward in forwards.items():
            encoder.forward = forward


def floor_forward(model, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Run the bare encoders on the real lengths and on the different pictures that exist."""
    total = torch.zeros(())
    for encoder in model.encoders("text"):
        outputs = encoder(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
        total = total + outputs.last_hidden_state.sum()
    for encoder in model.encoders("vision") if "pixel_values" in batch else ():
        pictures = batch["pixel_values"][batch["image_mask"]].unique(dim=0)
        outputs = encoder(pixel_values=pictures)
        features = outputs.feature_maps[-1] if hasattr(outputs, "feature_maps") else outputs.last_hidden_state
        total = total + features.sum()
    return total


def time_of(work: Callable) -> float:
    """Return the seconds of this process's processor that a piece of work takes."""
    start = time.process_time()
    work()
    return time.process_time() - start


def measure(system: str, size: str, rounds: int, spacy_model: str | None = None) -> list[str]:
    """Time a system, and return the cells of its row."""
    with tempfile.TemporaryDirectory() as folder:
        processor, model, rows = make(system, size, Path(folder), spacy_model)
    collator = PostCollator(processor)
    ours, plain = [collator(part) for part in rows], [plain_input(processor, part) for part in rows]
    with torch.no_grad():
        difference = max(
            (model(**first).logits - plain_forward(model, second).logits).abs().max().item()
            for first, second in zip(ours, plain)
        )
    if difference > 1e-3:
        raise SystemExit(f"{system}: the plain way gives other logits, by {difference:.2g}: it is no comparison")
    has_floor = bool(model.encoders())

    def step(loss: Callable) -> None:
        model.zero_grad()
        loss().backward()

    cached = PictureCache()

    def from_cache() -> None:
        if processor.picture_input_names:
            processor.picture_cache = cached
        for part in rows:
            collator(part)
        if processor.picture_input_names:
            processor.picture_cache = None

    from_cache()
    work = {
        "input": (lambda: [plain_input(processor, part) for part in rows], lambda: [collator(p) for p in rows], None),
        "input, kept": (lambda: [plain_input(processor, part) for part in rows], from_cache, None),
        "training": (
            lambda: [step(lambda b=b: plain_forward(model, b).loss) for b in plain],
            lambda: [step(lambda b=b: model(**b).loss) for b in ours],
            (lambda: [step(lambda b=b: floor_forward(model, b)) for b in ours]) if has_floor else None,
        ),
        "evaluation": (
            torch.no_grad()(lambda: [plain_forward(model, b) for b in plain]),
            torch.no_grad()(lambda: [model(**b) for b in ours]),
            torch.no_grad()(lambda: [floor_forward(model, b) for b in ours]) if has_floor else None,
        ),
    }
    cells = [system, f"{difference:.0e}"]
    for ways in work.values():
        seconds = [[time_of(way) for way in ways if way is not None] for _ in range(rounds)]
        slow, own, *least = (statistics.median(column) for column in zip(*seconds))
        cells.append(f"{slow / own:.2f}x" + (f", {own / least[0]:.2f} of the floor" if least else ""))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)
    return [*cells, f"{peak:.1f} GiB"]


def main() -> None:
    """Print a table, a row for each system."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", nargs="+", default=[*MODELS, OFFICIAL], choices=[*MODELS, OFFICIAL])
    parser.add_argument("--size", default="tiny", choices=["tiny", "paper"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--spacy_model", help="of the systems that read how words depend on each other")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    machine = f"{platform.machine()} {platform.system()}, torch {torch.__version__}"
    print(f"{machine}, 1 thread, fp32, batch {BATCH}, {args.size}")
    columns = ["system", "logits differ by", "input", "input, kept", "training", "evaluation", "peak so far"]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}", flush=True)
    for system in args.systems:
        try:
            print(f"| {' | '.join(measure(system, args.size, args.rounds, args.spacy_model))} |", flush=True)
        except (ImportError, OSError) as error:
            print(f"| {system} | left out: {error} |", flush=True)


if __name__ == "__main__":
    main()
