"""The settings of a run: a configuration file and what is given beside it, checked and with their types."""

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, fields
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from transformers import AutoConfig, HfArgumentParser

from mmre.inference.loading import adapter_config
from mmre.modeling import MODELS
from mmre.processing.suggestions import unknown

from .arguments import (
    MODALITIES,
    DataArguments,
    ModelArguments,
    RelationTrainingArguments,
    encoder_arguments,
    encoders_of,
)
from .docstrings import documented_arguments
from .system_values import config_names, documented_values, processor_names, try_values

# What a configuration file says of its own data, and of no other.
OF_ONE_DATASET = ("data_dir", "train_file", "validation_file", "test_file", "image_dir", "captions")
# What belongs to systems without a text encoder.
WORD_ARGUMENTS = ("word_vectors", "max_words")
SECTIONS = {"model": ModelArguments, "data": DataArguments, "training": RelationTrainingArguments}


@dataclass
class Settings:
    """Settings of a run, all sections.

    Args:
        model: which model.
        data: which posts.
        training: how to train.
        values: of the model's configuration and of its processor, by name.
    """

    model: ModelArguments
    data: DataArguments
    training: RelationTrainingArguments
    values: dict[str, Any]


class Argument(NamedTuple):
    """An argument of a run, as a command line shows it.

    Args:
        name: as in a configuration file.
        help: what it is.
        group: the section of a configuration file, or `"model, of NAMES"` for what these systems alone have.
        default: its default; none if it depends.
        nargs: `None` for one value, `"?"` for a switch, `"+"` for several values.
    """

    name: str
    help: str
    group: str
    default: Any = None
    nargs: str | None = None


class _Parser(HfArgumentParser):
    def _check_value(self, action, value):
        if action.choices is not None and value not in action.choices:
            self.error(unknown(action.dest, value, action.choices))

    def error(self, message: str):
        # An argument is named as in a file.
        raise ValueError(re.sub(r"^argument --(\w+)[^:]*: ", r"`\1`: ", message))


class _Loader(yaml.SafeLoader):
    """YAML in which `3e-5` is a number; YAML 1.1 takes it for a string. A name that stands twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        names = Counter(self.construct_object(key, deep=True) for key, _ in node.value)
        twice = [name for name, count in names.items() if count > 1]
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"{twice[0]!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: list(resolvers) for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def shipped_configurations() -> list[str]:
    """Return the names of the configurations that are part of the package."""
    return sorted(
        Path(file.name).stem for file in resources.files("mmre.configs").iterdir() if file.name.endswith(".yaml")
    )


def read_config(path_or_name: str | Path) -> dict[str, Any]:
    """Read a configuration file.

    Args:
        path_or_name: path of a YAML file, or the name of one that is part of the package: `"quickstart"`.

    Returns:
        The values of all sections together, by name.

    Raises:
        ValueError: there is no such file, it is no YAML, or it is not made of the sections `model`, `data` and
            `training`.
    """
    path, name = Path(path_or_name), str(path_or_name)
    if not path.is_file() and name in shipped_configurations():
        path = resources.files("mmre.configs").joinpath(f"{name}.yaml")
    try:
        sections = yaml.load(path.read_text("utf-8"), Loader=_Loader) or {}  # noqa: S506, it is a SafeLoader
    except FileNotFoundError:
        clause = unknown("configuration", path.stem, shipped_configurations())
        is_path = name != path.stem
        raise ValueError(f"there is no file {name}" if is_path else f"{clause} (or the path of a YAML file)") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise ValueError(f"{name} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(sections, dict):
        raise ValueError(f"{name} must have the sections {', '.join(SECTIONS)}.")
    settings = {}
    for section, values in sections.items():
        if section not in SECTIONS:
            raise ValueError(f"{name}: {unknown('section', section, SECTIONS)}")
        if not isinstance(values, dict):
            raise ValueError(f"{name}: the section {section!r} must hold lines of `name: value`.")
        for key, value in values.items():
            if key in settings:
                raise ValueError(f"{name}: {key!r} stands in two sections.")
            settings[key] = value
    return settings


def resolve(settings: dict[str, Any], given: dict[str, Any] | None = None) -> Settings:
    """Check the settings of a run and give them their types.

    A configuration file may be shared by systems of different kinds: where `given` names another `model_type`, what
    the file says of an encoder that this system lacks is left out; where `given` names another `dataset`, so is where
    the file's own data are.

    Args:
        settings: the content of a configuration file, see [`read_config`].
        given: what was given beside the file, which wins; values may be words of a command line.

    Returns:
        The settings, tried on the model's configuration and on its processor.

    Raises:
        ValueError: a name is unknown, or a value cannot be right.
        OSError: the checkpoint `model_name_or_path` is not there.
    """
    given = given or {}
    model_type = _model_type(settings | given)
    config_class = MODELS[model_type].config_class
    if {"model_type", "model_name_or_path"} & given.keys():
        settings = dict(settings)
        for modality in MODALITIES:
            if modality not in encoders_of(config_class):
                for name in encoder_arguments(modality):
                    settings.pop(name, None)
        if "text" in encoders_of(config_class):
            settings = {name: value for name, value in settings.items() if name not in WORD_ARGUMENTS}
    if given.get("dataset", settings.get("dataset")) != settings.get("dataset"):
        settings = {name: value for name, value in settings.items() if name not in OF_ONE_DATASET}
        if settings.get("regions") != "none":
            settings.pop("regions", None)
    settings = settings | {name: _read_words(name, value, model_type) for name, value in given.items()}
    settings["model_type"] = model_type

    value_names = config_names(model_type) | processor_names(model_type)
    parser = _Parser([*SECTIONS.values()], allow_abbrev=False)
    known = {action.dest: action for action in parser._actions if action.dest != "help"}
    words, values = [], {}
    for name, value in settings.items():
        if name in value_names:
            values[name] = value
        elif name not in known:
            raise ValueError(_unknown_argument(name, model_type, {*known, *value_names}))
        elif value is None:
            parser.set_defaults(**{name: None})
        elif isinstance(value, dict):
            words.append(f"--{name}={json.dumps(value)}")
        elif isinstance(value, list) and known[name].nargs is None:
            raise ValueError(f"{name!r} takes one value, got {value!r}.")
        elif isinstance(value, list):
            words += [f"--{name}", *map(str, value)]
        else:
            words.append(f"--{name}={value}")
    model, data, training = parser.parse_args_into_dataclasses(words, look_for_args_file=False)
    try_values(model_type, values)
    return Settings(model, data, training, values)


def list_arguments() -> list[Argument]:
    """Describe all arguments of a run: of the three sections, and of the configurations and processors of all systems.

    Returns:
        The arguments, by section; those of several systems before those of one.
    """
    sections = {field.name: section for section, cls in SECTIONS.items() for field in fields(cls)}
    documented = {name: text for cls in SECTIONS.values() for name, text in documented_arguments(cls).items()}
    arguments = []
    for action in _Parser([*SECTIONS.values()])._actions:
        name = action.dest
        if f"--{name}" not in action.option_strings or name not in sections:
            continue  # `--help`, and the `--no_name` of switches that are on
        text = (action.help or "").strip().replace("%%", "%") or documented.get(name, "")
        arguments.append(Argument(name, text, sections[name], action.default, action.nargs))
    systems, texts, defaults = {}, {}, {}
    for model_type, model_class in MODELS.items():
        for name, text in documented_values(model_type).items():
            systems.setdefault(name, []).append(model_type)
            texts.setdefault(name, text)
            defaults.setdefault(name, []).append(getattr(model_class.config_class, name, None))
    for name in sorted(systems, key=lambda name: (-len(systems[name]), systems[name], name)):
        default, *others = defaults[name]
        default = default if all(other == default for other in others) else None
        arguments.append(Argument(name, texts[name], f"model, of {', '.join(systems[name])}", default))
    return arguments


def _model_type(settings: dict[str, Any]) -> str:
    """Return the system to train, which says what other arguments there are."""
    path = settings.get("model_name_or_path")
    if path is not None:
        adapter = adapter_config(path)
        path = path if adapter is None else adapter.base_model_name_or_path
        return AutoConfig.from_pretrained(path).model_type
    model_type = settings.get("model_type") or ModelArguments.model_type
    if model_type not in MODELS:
        raise ValueError(unknown("model_type", model_type, MODELS))
    return model_type


def _read_words(name: str, value: Any, model_type: str) -> Any:
    """Read a word of the command line for the configuration or the processor; other words are read by their types."""
    if not isinstance(value, str) or name not in config_names(model_type) | processor_names(model_type):
        return value
    return read_value(name, value)


def read_value(name: str, word: str) -> Any:
    """Read a word of the command line as a value of a configuration file.

    Raises:
        ValueError: if it is no YAML.
    """
    try:
        return yaml.load(word, Loader=_Loader)  # noqa: S506, it is a SafeLoader
    except yaml.YAMLError as error:
        raise ValueError(f"--{name}: {word!r} is not a YAML value") from error


def _unknown_argument(name: str, model_type: str, known: Iterable[str]) -> str:
    systems = [system for system in MODELS if name in config_names(system) | processor_names(system)]
    if systems:
        return f"{model_type} has no argument {name!r}, which is one of {', '.join(systems)}: leave it out."
    return unknown("argument", name, sorted(known))


__all__ = [
    "Argument",
    "Settings",
    "list_arguments",
    "read_config",
    "read_value",
    "resolve",
    "shipped_configurations",
]
