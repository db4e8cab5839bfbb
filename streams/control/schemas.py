"""What the events of a model version look like: its schema, registered as an event on the control topic.

`streams.control.evolution` holds batches against it, and says what a change from one schema to another breaks.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Literal, Self
from urllib.parse import quote

import msgspec

from detectors.reference import Reference
from detectors.text import as_sent
from detectors.values import FeatureSpec, Task, Value
from homeostat.contract_layout import MAX_COLUMNS, MAX_EMBEDDING_SIZE

FeatureType = Literal["float64", "float32", "int64", "bool", "text", "any", "vector"]
"""What a feature holds. `any`: categories that may come as text or as whole numbers."""

TYPES: dict[str, tuple[str, ...]] = {
    "numeric": ("float64", "float32", "int64", "bool"),
    "categorical": ("text", "any", "int64", "bool"),
    "embedding": ("vector",),
}
"""What a feature of each kind may hold."""


class SchemaInvalid(ValueError):
    """A schema contradicts itself, or what was read is none."""


class FeatureSchema(Value, frozen=True, kw_only=True):
    """One feature: how it is measured (`kind`), what it holds (`type`), the size of an embedding, and
    whether events may lack it without a word."""

    name: str
    kind: Literal["numeric", "categorical", "embedding"] = "numeric"
    type: FeatureType = "float64"
    size: int = 1
    optional: bool = False


class Schema(Value, frozen=True, kw_only=True, cache_hash=True):
    """The events of one model version. Make it with `build_schema`, which names it by its content.

    `classes`: names in the order of the indices and of the `scores`; empty where classes are numbers only.
    `segments`: by which the version is watched.
    """

    model: str
    version: str
    revision: str = ""
    task: Task = "binary"
    classes: tuple[str, ...] = ()
    features: tuple[FeatureSchema, ...] = ()
    segments: tuple[str, ...] = ()

    def to_json(self) -> bytes:
        """The schema as canonical JSON."""
        return msgspec.json.encode(self)

    @classmethod
    def from_json(cls, text: bytes | str) -> Self:
        """Read what `to_json` wrote; raises `SchemaInvalid` when it is no schema or was changed."""
        try:
            found = msgspec.json.decode(text, type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise SchemaInvalid(f"this is not the JSON of a schema: {error}") from error
        _check(found)
        if found.revision != _revision(found):
            raise SchemaInvalid(
                f"schema of {found.model!r} version {found.version!r}: revision {found.revision!r} does not "
                "name this content; it was changed after it was built, build it again"
            )
        return found


def build_schema(
    model: str,
    version: str,
    features: Sequence[FeatureSchema],
    *,
    task: Task = "binary",
    classes: Sequence[str] = (),
    segments: Sequence[str] = (),
) -> Schema:
    """A schema, named by its content. Raises `SchemaInvalid` when it contradicts itself."""
    draft = Schema(
        model=model,
        version=version,
        task=task,
        classes=tuple(classes),
        features=tuple(features),
        segments=tuple(segments),
    )
    _check(draft)
    return msgspec.structs.replace(draft, revision=_revision(draft))


def schema_of_reference(reference: Reference) -> Schema:
    """What a version's events must look like to be compared with its reference: the schema of a version for
    which none was registered. A category may come as text or as a number there."""
    return build_schema(
        reference.model,
        reference.version,
        [_of_spec(spec) for spec in as_sent([part.spec for part in reference.features])],
        task=reference.task,
        classes=reference.classes,
    )


def schema_record(schema: Schema) -> tuple[bytes, bytes]:
    """Key and value of the control record that publishes `schema` for its model and version."""
    return _record("schema", schema)


def implied_schema_record(schema: Schema) -> tuple[bytes, bytes]:
    """Key and value of the control record that tells others which schema a version's reference implies. It has a
    key of its own, so that it never replaces one that a person registered."""
    return _record("implied-schema", schema)


def _record(kind: str, schema: Schema) -> tuple[bytes, bytes]:
    name = f"{kind}/{quote(schema.model, safe='')}/{quote(schema.version, safe='')}"
    return name.encode(), schema.to_json()


def _of_spec(spec: FeatureSpec) -> FeatureSchema:
    types: dict[str, FeatureType] = {"categorical": "any", "embedding": "vector"}
    size = spec.size if spec.kind == "embedding" else 1
    return FeatureSchema(name=spec.name, kind=spec.kind, type=types.get(spec.kind, "float64"), size=size)


def _revision(schema: Schema) -> str:
    blank = msgspec.structs.replace(schema, revision="")
    return hashlib.sha256(msgspec.json.encode(blank)).hexdigest()[:16]


def _check(schema: Schema) -> None:
    where = f"schema of {schema.model!r} version {schema.version!r}"
    for field, names in (
        ("features", [feature.name for feature in schema.features]),
        ("classes", list(schema.classes)),
        ("segments", list(schema.segments)),
    ):
        twice = sorted(name for name, times in Counter(names).items() if times > 1 or not name)
        if twice or len(names) > MAX_COLUMNS:
            found = f"the names {twice}" if twice else f"{len(names)} names"
            raise SchemaInvalid(f"{where}: {field} has {found}; each needs its own, {MAX_COLUMNS} at most")
    allowed = {"binary": (0, 2), "regression": (0,)}.get(schema.task)
    if allowed is not None and len(schema.classes) not in allowed:
        right = " or ".join(map(str, allowed))
        raise SchemaInvalid(f"{where}: {len(schema.classes)} classes; task {schema.task} has {right}")
    if schema.task == "multiclass" and len(schema.classes) < 2:
        raise SchemaInvalid(f"{where}: {len(schema.classes)} classes; task multiclass has at least 2")
    for feature in schema.features:
        if feature.type not in TYPES[feature.kind]:
            right = ", ".join(TYPES[feature.kind])
            raise SchemaInvalid(
                f"{where}: {feature.kind} feature {feature.name!r} is {feature.type}; use {right}"
            )
        if not 1 <= feature.size <= (MAX_EMBEDDING_SIZE if feature.kind == "embedding" else 1):
            raise SchemaInvalid(
                f"{where}: feature {feature.name!r} has size {feature.size}; an embedding has 1 to "
                f"{MAX_EMBEDDING_SIZE}, everything else 1"
            )
