"""Arguments of a chat model that is asked for relations. Free of torch, so that help is quick."""

from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from mmre.annotation.arguments import DTYPES

# The key of a server comes from the environment alone.
KEY_VARIABLE = "OPENAI_API_KEY"


@dataclass(kw_only=True)
class PromptArguments:
    """Arguments of a prompt: which posts, how the model is asked, and what is written."""

    output_dir: str = field(metadata={"metavar": "FOLDER", "help": "The folder to write."})
    split: Literal["validation", "test"] = field(
        default="test", metadata={"help": "The posts to ask about. Choose prompts and models by those of validation."}
    )
    max_posts: int | None = field(default=None, metadata={"help": "Ask about the first posts alone."})
    shots: int = field(
        default=0,
        metadata={
            "help": "Training posts that are shown before each post, drawn at random once. A post that has the text or "
            "the picture of one of them is shown the next one in its place."
        },
    )
    stratified: bool = field(default=False, metadata={"help": "Show each relation equally often."})
    answer: Literal["letters", "likelihood", "generate"] | None = field(
        default=None,
        metadata={
            "help": "By the letter of a relation in one forward pass (the default), by the likelihood of each "
            "relation's name, or by what the model writes (the default of a server)."
        },
    )
    use_images: bool | None = field(
        default=None,
        metadata={
            "help": "Show the pictures; by default if the model is here and reads them. Captions stand for them."
        },
    )
    demonstration_images: bool = field(
        default=True, metadata={"help": "Show the pictures of the training posts too; some models read one alone."}
    )
    captions: list[str] | None = field(
        default=None,
        metadata={"metavar": "FILE", "help": "An annotation file, or caption files of MNRE, in place of the pictures."},
    )
    descriptions: str | None = field(
        default=None,
        metadata={"metavar": "FILE", "help": "File with a line about each relation: its name, a tab, what it means."},
    )
    image_dir: str | None = field(
        default=None,
        metadata={
            "metavar": "FOLDER",
            "help": "Folder of the pictures, if not below DATA, or where the posts' own files are.",
        },
    )
    train_file: str | None = field(
        default=None, metadata={"metavar": "FILE", "help": "Training posts, with DATA `files`: CSV or JSON lines."}
    )
    validation_file: str | None = field(
        default=None, metadata={"metavar": "FILE", "help": "Validation posts, likewise."}
    )
    test_file: str | None = field(default=None, metadata={"metavar": "FILE", "help": "Test posts, likewise."})
    on_missing_image: Literal["error", "text_only"] = field(
        default="error", metadata={"help": "What becomes of posts whose picture is missing: an error, or no picture."}
    )
    num_synthetic_posts: int = field(
        default=2000, metadata={"help": "Training posts to make, with DATA `synthetic` or `digits`."}
    )
    seed: int = field(default=42, metadata={"help": "Of the order of the relations, and of the posts that are shown."})
    batch_size: int = field(default=8, metadata={"help": "Posts that are asked about at once."})
    max_prompt_tokens: int | None = field(
        default=None, metadata={"help": "Longest prompt; what the model reads by default."}
    )
    revision: str | None = field(default=None, metadata={"help": "Revision of MODEL on the Hub."})
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = field(
        default="auto", metadata={"help": "Type of the model's weights; auto is that of the checkpoint."}
    )
    base_url: str | None = field(
        default=None,
        metadata={
            "metavar": "URL",
            "help": "Server of OpenAI's protocol that has MODEL, as http://localhost:8000/v1; needs mmre[llm].",
        },
    )
    timeout: float = field(
        default=60.0, metadata={"metavar": "SECONDS", "help": "Seconds to wait for an answer of the server."}
    )

    def __post_init__(self):
        for name, least in (("shots", 0), ("max_posts", 1), ("batch_size", 1), ("seed", 0), ("num_synthetic_posts", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"--{name} {value}; expected at least {least}")
        if self.max_prompt_tokens is not None and self.max_prompt_tokens < 1:
            raise ValueError(f"--max_prompt_tokens {self.max_prompt_tokens}; expected at least 1")
        if not 0 < self.timeout < float("inf"):
            raise ValueError(f"--timeout {self.timeout:g}; expected seconds")
        if self.dtype not in DTYPES:
            raise ValueError(f"--dtype {self.dtype}; expected one of {', '.join(DTYPES)}")
        if self.stratified and not self.shots:
            raise ValueError("--stratified is of the posts that are shown: give --shots")
        if self.base_url is not None:
            check_base_url(self.base_url)
            if self.answer not in (None, "generate"):
                raise ValueError(f"--answer {self.answer}: servers do not tell probabilities alike; expected generate")
            for name in ("revision", "max_prompt_tokens"):
                if getattr(self, name) is not None:
                    raise ValueError(f"--{name} is of a model on this machine: leave it out beside --base_url")


def check_base_url(base_url: str) -> None:
    """Refuse an address that is none, or that says more than where the server is.

    Raises:
        ValueError: for such an address.
    """
    try:
        parts = urlsplit(base_url)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good:
        mend = f": put http:// before it, as http://{base_url}" if "://" not in base_url else ""
        raise ValueError(f"--base_url {base_url}; expected an address as http://localhost:8000/v1{mend}")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError(
            f"--base_url of {parts.hostname}; expected an address alone: the key belongs in the environment, as "
            f"{KEY_VARIABLE}"
        )


__all__ = ["KEY_VARIABLE", "PromptArguments", "check_base_url"]
