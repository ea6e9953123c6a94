"""Processor of TGDI: posts with marked entities, captions and object crops become the model's inputs."""

from .entity_markers import DEFAULT_MARKERS
from .focal_augmentation import Box, Canvas
from .picture_files import MAX_PIXELS
from .processing_multimodal import MultimodalProcessor, Slot
from .processing_relation_extraction import check_count


class TGDIProcessor(MultimodalProcessor):
    """Marks the entities in the text, puts the caption after it, and cuts the objects out of the picture.

    Args:
        image_processor: gives the model's image size, resampling, mean and standard deviation.
        tokenizer: a fast tokenizer; the entity markers are added to it where they are missing.
        entity_markers (`tuple[str]`): the tokens that open and close the head entity, then the tail entity.
        max_length (`int`): most tokens of text and caption, special tokens and markers included. The caption gets what
            the text leaves; a longer text loses first the tokens far from its entities.
        num_object_images (`int`): m, the most object crops of a post; further boxes are left out.
        resize (`str`): `"squash"` scales the whole picture and each crop to the model's size, as in the paper;
            `"center_crop"` keeps proportions and cuts the sides off.
        inputs (`tuple[str]`, *optional*): what is read of a post, of "text", "caption", "image" and "regions"; by
            default all of it. The slots of its pictures are `[whole image | m regions]`: the first m boxes, grounded
            ones before detected ones.
        max_image_pixels (`int`): most pixels of a picture; larger ones are refused before they are decoded.
        markers_in_text_order (`bool`): whether the entity that comes first in the text is marked as the head, whichever
            is the head: a post and its reverse, head and tail swapped, are then the same inputs, and the model is not
            told which entity is the head. Of two that start together, the longer one comes first.
        jpeg_draft (`bool`): whether the decoder may scale the file of a JPEG down, to twice the model's size at least:
            faster, with other pixels. A picture in memory is taken as it is.

    Raises:
        ValueError: if an argument has a value that is not listed here, or the tokenizer separates two texts in a way
            that changes the first one.
    """

    possible_inputs = ("text", "caption", "image", "regions")
    regions_need_image = True

    def __init__(
        self,
        image_processor=None,
        tokenizer=None,
        entity_markers: tuple[str, ...] | list[str] = DEFAULT_MARKERS,
        max_length: int = 128,
        num_object_images: int = 3,
        resize: str = "squash",
        inputs: tuple[str, ...] | list[str] | None = None,
        max_image_pixels: int = MAX_PIXELS,
        markers_in_text_order: bool = False,
        jpeg_draft: bool = False,
        **kwargs,
    ):
        self.num_object_images = num_object_images
        check_count("num_object_images", num_object_images)
        # Regions of both kinds share the slots.
        super().__init__(
            image_processor,
            tokenizer,
            entity_markers,
            max_length,
            num_object_images,
            0,
            resize,
            inputs,
            max_image_pixels,
            markers_in_text_order,
            jpeg_draft,
            **kwargs,
        )

    @property
    def num_slots(self) -> int:
        """Return how many pictures a post has room for."""
        return 1 + self.num_object_images

    def _fill_slots(self, canvas: Canvas, grounded: list[Box], detected: list[Box]) -> list[Slot]:
        return super()._fill_slots(canvas, [*grounded, *detected], [])


__all__ = ["TGDIProcessor"]
