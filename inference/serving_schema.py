"""The shapes of requests and answers, as OpenAPI has them, with a worked example of each."""

from typing import Any

TEXT = "RT @cnnsport : Rafael Nadal gets engaged to Mery Perello"
EXAMPLE_POST = {"id": "1", "text": TEXT, "head": [15, 27], "tail": [44, 56]}
# A picture of one white pixel.
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4//8/AAX+Av4N70a4AAAAAElFTkSuQmCC"
TYPED = [{"start": 15, "end": 27, "type": "PER"}, {"start": 44, "end": 56, "type": "PER"}]
EXAMPLES = {
    "one pair of entities": {"posts": [EXAMPLE_POST]},
    "entities with types, and a picture": {"posts": [{"id": "2", "text": TEXT, "entities": TYPED, "image": PIXEL}]},
    "entities are found here (needs spaCy)": {"posts": [{"text": TEXT}]},
}
ENTITIES = {
    "head": {"start": 15, "end": 27, "text": "Rafael Nadal"},
    "tail": {"start": 44, "end": 56, "text": "Mery Perello"},
}
TRIPLE = {
    "id": "1",
    "head": ENTITIES["head"],
    "relation": "/per/per/couple",
    "tail": ENTITIES["tail"],
    "score": 0.97,
    "ruled_out": 0.0,
}
ANSWER = {"posts": [{"id": "1", "triples": [TRIPLE], "left_out": {"none": 0}}]}
FAULT = {"errors": ["posts[0]: head: [15, 99]; expected start and end of the head in characters, whole numbers, ..."]}

_SPAN = {
    "description": "Start and end in characters of the text, or in words of the tokens; the end is the first after it.",
    "oneOf": [
        {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2},
        {
            "type": "object",
            "properties": {
                "start": {"type": "integer"},
                "end": {"type": "integer"},
                "type": {"type": "string", "description": "Type of the entity, as PER."},
            },
            "required": ["start", "end"],
        },
    ],
}
_BOXES = {
    "type": "array",
    "description": "Boxes [x_min, y_min, x_max, y_max] in fractions of the picture.",
    "items": {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 4},
}
POST_SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "id": {"type": "string", "description": "Comes back with the answer; the number of the post by default."},
        "text": {"type": "string", "description": "The text; or give `tokens`."},
        "tokens": {"type": "array", "items": {"type": "string"}, "description": "The text as words."},
        "head": _SPAN,
        "tail": _SPAN,
        "pairs": {"type": "array", "items": {"type": "array", "items": _SPAN}, "description": "Pairs [head, tail]."},
        "entities": {"type": "array", "items": _SPAN, "description": "Every two of them are asked for."},
        "image": {
            "type": "string",
            "format": "byte",
            "description": "File of the picture (JPEG, PNG, WebP) in base64.",
        },
        "grounded_regions": _BOXES,
        "detected_regions": _BOXES,
        "caption": {"type": "string"},
    },
}
_PARTS = {
    "type": "object",
    "properties": {
        "post": {"type": "string", "description": "JSON of one post, without `image`."},
        "image": {"type": "string", "format": "binary", "description": "File of its picture."},
    },
    "required": ["post"],
}
REQUEST_BODY = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "properties": {"posts": {"type": "array", "items": POST_SCHEMA}},
                "required": ["posts"],
            },
            "examples": {name: {"value": value} for name, value in EXAMPLES.items()},
        },
        "multipart/form-data": {"schema": _PARTS},
    },
}
_TRIPLES = {"type": "array", "items": {"type": "object", "description": "As `mmre predict` writes it."}}
ANSWER_SCHEMA = {
    "type": "object",
    "properties": {
        "posts": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "id": {"type": "string"},
                    "triples": _TRIPLES,
                    "left_out": {"type": "object", "description": "How many pairs have no triple, by the reason."},
                    "error": {"type": "string", "description": "In place of triples: why there are none."},
                },
            },
        }
    },
}
ERROR_SCHEMA = {"type": "object", "properties": {"errors": {"type": "array", "items": {"type": "string"}}}}
# What each status that is no success means.
STATUSES = {
    400: "The request is malformed: no JSON, or no form.",
    405: "Another method is expected.",
    408: "The request did not arrive in time.",
    413: "The request is too large.",
    415: "The content is neither JSON nor a form, or is compressed.",
    422: "The posts are bad or too many, or a picture cannot be read.",
    500: "Something went wrong here. The log of the server has more.",
    503: "So much waits that there is no room; try again after the seconds of Retry-After.",
}


def describe_responses() -> dict[int, dict[str, Any]]:
    """Return the answers of `/predict` for OpenAPI, by status."""
    errors = {
        status: {
            "description": text,
            "content": {"application/json": {"schema": ERROR_SCHEMA, "example": FAULT}},
        }
        for status, text in STATUSES.items()
    }
    answer = {"application/json": {"schema": ANSWER_SCHEMA, "example": ANSWER}}
    return {200: {"description": "What the posts state.", "content": answer}, **errors}


__all__ = ["ANSWER", "EXAMPLES", "POST_SCHEMA", "REQUEST_BODY", "STATUSES", "describe_responses"]
