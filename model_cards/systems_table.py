"""The README's table of systems, made from what the configuration classes say.

`python -m mmre.model_cards.systems_table`, in the root of a clone, writes it.
"""

from pathlib import Path

from mmre.modeling import MODELS
from mmre.posts.whole_file import whole_file

BEGIN = "<!-- systems: begin (written by mmre.model_cards.systems_table) -->"
END = "<!-- systems: end -->"


def systems_table() -> str:
    """Format a line for each system: its name, `model_type`, paper, year and what it reads, in Markdown."""
    lines = ["| system | `model_type` | paper | year | reads |", "|---|---|---|--:|---|"]
    for model_type, model in MODELS.items():
        config = model.config_class
        paper = f"[{config.paper.title}]({config.paper.address}), {config.paper.venue}"
        reads = ", ".join(config.inputs).replace("_", " ")
        lines.append(f"| {config.system} | `{model_type}` | {paper} | {config.paper.year} | {reads} |")
    return "\n".join(lines) + "\n"


def with_systems_table(text: str) -> str:
    """Return a text with the table between its two marks replaced by today's.

    Raises:
        ValueError: if the text has not both marks, in their order.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"no place for the table of systems; expected the lines {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n{systems_table()}{END}{after}"


def update(path: str | Path) -> None:
    """Replace the table of systems in a file."""
    path = Path(path)
    text = with_systems_table(path.read_text("utf-8"))
    with whole_file(path) as file:
        file.write(text)


__all__ = ["BEGIN", "END", "systems_table", "update", "with_systems_table"]

if __name__ == "__main__":
    update("README.md")
