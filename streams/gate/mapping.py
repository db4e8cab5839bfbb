"""How foreign payloads become events: the file that `HOMEOSTAT_INGEST_FILE` names.

    topics:                          # also HOMEOSTAT_INGEST_TOPICS=kserve.logs=cloudevents,captures=sagemaker
      kserve.logs: cloudevents
      captures: sagemaker
    sources:                         # the first whose `when` fits is used; without one the defaults hold
      - when: {service: sklearn-iris, namespace: "prod-*"}
        model: iris
        version: "3"
        features: [sepal_length, sepal_width]
        prediction: label

`when` compares attributes of the exchange with shell patterns: `topic`, `format`, `service`, and every attribute that
came with it (a CloudEvent's extensions, an inference table's `request_metadata`).
"""

from collections.abc import Mapping
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec
import yaml

from streams.files.yaml_text import read_yaml
from streams.gate.rows import explain


class Format(StrEnum):
    """What the records of a topic hold."""

    AUTO = "auto"
    HOMEOSTAT = "homeostat"
    CLOUDEVENTS = "cloudevents"
    SAGEMAKER = "sagemaker"
    INFERENCE_TABLE = "inference-table"
    ARROW = "arrow"


class MappingError(ValueError):
    """The file or setting is wrong: names the field, the value and what would be right."""


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What to take from the exchanges that `when` describes. Columns are named as in the body, or by their place
    (`"0"`). Left out: model and version from the attributes, every input is a feature, the first output is the
    prediction.

    `features`: names of inputs that have none, in their order; also the choice where inputs have names. `embeddings`:
    inputs of several numbers that are one feature. `score`: an output, the probability of class 1. `scores`: outputs
    that are the probabilities of all classes, or one output of several numbers. `threshold`: the prediction is 1 where
    the score reaches it, for models that answer with a probability alone. `id`: an input or attribute.
    """

    when: dict[str, str] = {}
    model: str | None = None
    version: str | int | None = None
    features: tuple[str, ...] = ()
    embeddings: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    segments: tuple[str, ...] = ()
    id: str | None = None
    prediction: str | int | None = None
    score: str | int | None = None
    scores: str | tuple[str, ...] | None = None
    threshold: float | None = None

    def fits(self, attributes: Mapping[str, str]) -> bool:
        """Whether every pattern of `when` matches."""
        return all(fnmatchcase(attributes.get(name, ""), pattern) for name, pattern in self.when.items())


class IngestMap(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole file."""

    topics: dict[str, Format] = {}
    sources: tuple[Source, ...] = ()

    def source(self, attributes: Mapping[str, str]) -> Source:
        """The first source that fits, or the defaults."""
        return next((source for source in self.sources if source.fits(attributes)), _DEFAULTS)


_DEFAULTS = Source()


def load_map(path: Path | None, topics: str | None) -> IngestMap:
    """The file at `path`, and the topics of the setting, which win. Raises `MappingError`, `OSError`."""
    found = _read(path) if path is not None else IngestMap()
    return msgspec.structs.replace(found, topics={**found.topics, **_topics(topics or "")})


def _read(path: Path) -> IngestMap:
    try:
        found, twice = read_yaml(path.read_text())
        if twice:
            raise MappingError("\n".join(f"{path}: {line}" for line in twice))
        return msgspec.convert(found or {}, IngestMap)
    except yaml.YAMLError as error:
        raise MappingError(f"{path} is not YAML: {error}") from error
    except msgspec.ValidationError as error:
        field, reason = explain(str(error))
        raise MappingError(f"{path}: {field or 'the file'}: {reason}") from error


def _topics(text: str) -> dict[str, Format]:
    found: dict[str, Format] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        topic, _, name = (piece.strip() for piece in part.partition("="))
        if not topic or (name or Format.AUTO) not in list(Format):
            raise MappingError(
                f"HOMEOSTAT_INGEST_TOPICS holds {part!r}; it must be topic=format, with a format of "
                f"{', '.join(Format)}"
            )
        found[topic] = Format(name or Format.AUTO)
    return found
