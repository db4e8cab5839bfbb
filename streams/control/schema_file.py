"""A schema as a person writes it: one YAML or JSON file for a model version, checked field by field."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from detectors.values import FeatureKind
from streams.control.schemas import TYPES, FeatureSchema, FeatureType, Schema, SchemaInvalid, build_schema
from streams.files.monitor import field_errors
from streams.files.yaml_text import read_yaml

_FIRST_TYPE: dict[FeatureKind, FeatureType] = {
    "numeric": "float64",
    "categorical": "any",
    "embedding": "vector",
}
_FIRST_KIND: dict[FeatureType, FeatureKind] = {
    "text": "categorical",
    "any": "categorical",
    "vector": "embedding",
}
_NO_SIZE = 1


class SchemaFileInvalid(ValueError):
    """A schema file says something that cannot be; the message has a line for each thing."""


def _number_as_text(value: object) -> object:
    """`version: 2` is what a person writes. Not so 1.10, which YAML reads as 1.1."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FeatureEntry(_Part):
    """A feature. What is left out follows: a kind from the type, a type from the kind, a number from nothing."""

    name: str = Field(min_length=1, max_length=255)
    kind: FeatureKind | None = None
    type: FeatureType | None = None
    size: int | None = Field(None, ge=1)
    optional: bool = False

    def feature(self) -> FeatureSchema:
        """As the schema has it. Raises `ValueError` that says what does not go together."""
        kind = self.kind or _FIRST_KIND.get(self.type or "float64", "numeric")
        held = self.type or _FIRST_TYPE[kind]
        if held not in TYPES[kind]:
            raise ValueError(f"type is {held!r}; a feature of kind {kind} is one of {', '.join(TYPES[kind])}")
        if (kind == "embedding") != (self.size is not None):
            right = (
                "an embedding has one, such as 512" if kind == "embedding" else "only an embedding has one"
            )
            raise ValueError(f"size is {self.size if self.size is not None else 'not given'}; {right}")
        return FeatureSchema(
            name=self.name, kind=kind, type=held, size=self.size or _NO_SIZE, optional=self.optional
        )


class SchemaFile(_Part):
    """The events of one model version."""

    model: str = Field(min_length=1, max_length=255)
    version: Annotated[str, BeforeValidator(_number_as_text)] = Field(min_length=1, max_length=255)
    task: Literal["binary", "multiclass", "regression"] = "binary"
    classes: list[str] = Field(default_factory=list, description="Names, in the order of their indices.")
    features: list[FeatureEntry] = Field(min_length=1)
    segments: list[str] = Field(default_factory=list, description="By which the version is watched.")


def read_schema_file(path: Path) -> Schema:
    """The schema in a file. Raises `SchemaFileInvalid` that names each field, its value and what would be
    right."""
    found, twice = _content(path)
    if not isinstance(found, dict):
        raise SchemaFileInvalid(
            f"{path}: it must hold fields, such as `model: churn`, `version: 2` and `features:`"
        )
    if twice:
        raise SchemaFileInvalid("\n".join(f"{path}: {line}" for line in twice))
    try:
        file = SchemaFile.model_validate(found)
    except ValidationError as error:
        given = cast("dict[str, Any]", found)
        lines = [_completed(line, given) for line in field_errors(error)]
        raise SchemaFileInvalid("\n".join(f"{path}: {line}" for line in lines)) from error
    features: list[FeatureSchema] = []
    wrong: list[str] = []
    for place, entry in enumerate(file.features):
        try:
            features.append(entry.feature())
        except ValueError as error:
            wrong.append(f"{path}: features.{place} ({entry.name}): {error}")
    if wrong:
        raise SchemaFileInvalid("\n".join(wrong))
    try:
        return build_schema(
            file.model,
            file.version,
            features,
            task=file.task,
            classes=file.classes,
            segments=file.segments,
        )
    except SchemaInvalid as error:
        raise SchemaFileInvalid(f"{path}: {error}") from error


def schema_yaml(schema: Schema, notes: tuple[str, ...] = ()) -> str:
    """A schema as such a file, with notes as comments in front; `read_schema_file` reads the same schema."""
    data: dict[str, object] = {"model": schema.model, "version": schema.version, "task": schema.task}
    if schema.classes:
        data["classes"] = list(schema.classes)
    data["features"] = [_entry(feature) for feature in schema.features]
    if schema.segments:
        data["segments"] = list(schema.segments)
    text = _dumped(data, as_it_is=True)
    if yaml.safe_load(text) != data:
        # The writer leaves some line ends (U+0085) as they are, which the reader makes a space of.
        text = _dumped(data, as_it_is=False)
    return "".join(f"# {note}\n" for note in notes) + text


def _dumped(data: dict[str, object], *, as_it_is: bool) -> str:
    return yaml.safe_dump(
        data, default_flow_style=None, sort_keys=False, allow_unicode=as_it_is, width=float("inf")
    )


def _entry(feature: FeatureSchema) -> dict[str, object]:
    entry: dict[str, object] = {"name": feature.name, "kind": feature.kind, "type": feature.type}
    if feature.kind == "embedding":
        entry["size"] = feature.size
    return entry | ({"optional": True} if feature.optional else {})


def _content(path: Path) -> tuple[object, list[str]]:
    """What the file says, and which names it says twice. JSON has its own reader: YAML reads its escaped emoji as
    two halves."""
    is_json = path.suffix.lower() == ".json"
    try:
        text = path.read_text(encoding="utf-8")
        return (json.loads(text), []) if is_json else read_yaml(text)
    except (yaml.YAMLError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise SchemaFileInvalid(f"{path}: this is not {'JSON' if is_json else 'YAML'}: {error}") from error


def _completed(line: str, given: dict[str, Any]) -> str:
    """A list in which a name is wrong says which feature it is about."""
    parts = line.split(".", 2)
    entries = given.get("features")
    if parts[0] != "features" or len(parts) < 3 or not parts[1].isdigit() or not isinstance(entries, list):
        return line
    entry = cast("list[Any]", entries)[int(parts[1])]
    name = cast("dict[str, Any]", entry).get("name") if isinstance(entry, dict) else None
    return line if name is None else f"features.{parts[1]} ({name}): {parts[2]}"
