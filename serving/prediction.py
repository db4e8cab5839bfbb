"""A prediction request: read, checked and answered as a whole, without a Python object per feature check."""

import uuid
from dataclasses import dataclass
from itertools import repeat
from operator import itemgetter
from typing import Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt

from serving.arranged import Floats32, Served
from serving.loading import Loaded

THRESHOLD = 0.5
"""A score at or above it is the prediction 1."""


class RequestInvalid(Exception):
    """The request cannot be answered: HTTP `status`, and a sentence that names field, value and what would be
    right. `retry_after_s`: when asking again may help."""

    def __init__(self, status: int, title: str, detail: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.title = title
        self.detail = detail
        self.retry_after_s = retry_after_s


class Instance(msgspec.Struct, forbid_unknown_fields=True):
    """One row. `features`: every feature of the model by name; null where it was not measured."""

    features: dict[str, float | None]
    id: Annotated[str, msgspec.Meta(min_length=1, max_length=256)] | None = None


class PredictRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Body of a prediction request."""

    instances: list[Instance]


class Prediction(msgspec.Struct, omit_defaults=True):
    """Answer for one instance: its id (a new one where none was given), 0 or 1, and the probability of 1. `version`:
    which one answered, where it is another than the response's."""

    id: str
    prediction: int
    score: float
    version: str | None = None


class PredictResponse(msgspec.Struct, omit_defaults=True):
    """Answer to a prediction request, in the order of its instances. `version`: the decided one, which answered where
    an instance says nothing else. `constant`: no version was asked; all scores are the one that was decided."""

    model: str
    version: str
    digest: str
    predictions: list[Prediction]
    constant: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """What one version says about some rows of a batch (`rows` None: all): `scores` [m]. `matrix` [m, k] are the rows
    as they were sent, with the features of this version."""

    loaded: Loaded
    rows: npt.NDArray[np.intp] | None
    matrix: Floats32
    scores: npt.NDArray[np.float64]

    @property
    def predictions(self) -> npt.NDArray[np.int64]:
        """0 or 1, [m]."""
        return (self.scores >= THRESHOLD).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Batch:
    """A checked request: `ids` [n], `matrix` float32 [n, k] in the order of the model's features."""

    ids: list[str]
    matrix: npt.NDArray[np.float32]


_decoder = msgspec.json.Decoder(PredictRequest)


def decoded(body: bytes, max_instances: int) -> PredictRequest:
    """The request in `body`. Raises `RequestInvalid`: 400 no JSON, 422 another shape, 413 too many
    instances."""
    try:
        request = _decoder.decode(body)
    except msgspec.ValidationError as error:
        raise RequestInvalid(422, "The request has another shape", _located(body, str(error))) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RequestInvalid(400, "The body is not JSON", f"The body is not JSON: {error}") from error
    if not request.instances:
        raise RequestInvalid(422, "No instances", "instances: is empty; give at least one")
    if len(request.instances) > max_instances:
        raise RequestInvalid(
            413,
            "Too many instances",
            f"instances: {len(request.instances)} in one request; at most {max_instances} are taken",
        )
    return request


def batch(request: PredictRequest, served: Served) -> Batch:
    """The rows of the request, with the features of the decided version. Raises `RequestInvalid` (422) for a
    feature that is absent, unknown, or not finite in single precision. One that is imputed may be absent."""
    names = served.features
    optional = dict.fromkeys(names[column] for column, _ in served.imputed)
    pick = itemgetter(*names)
    width = len(names)
    rows: list[Any] = []
    for position, instance in enumerate(request.instances):
        features = optional | instance.features if optional else instance.features
        try:
            rows.append(pick(features))
        except KeyError:
            raise _absent(position, features, names) from None
        if len(features) != width:
            raise _unknown(position, features, names)
    with np.errstate(over="ignore"):
        matrix = np.array(rows, dtype=np.float64).reshape(-1, width).astype(np.float32)
    infinite = np.argwhere(np.isinf(matrix))
    if len(infinite):
        row, column = (int(each) for each in infinite[0])
        value = request.instances[row].features[names[column]]
        raise RequestInvalid(
            422,
            "A feature is not finite",
            f"instances[{row}].features[{names[column]!r}]: {value!r} is beyond single precision; "
            "give a finite number, or null where it was not measured",
        )
    ids = [uuid.uuid4().hex if instance.id is None else instance.id for instance in request.instances]
    return Batch(ids, matrix)


def scored(served: Served, asked: Batch) -> list[Part]:
    """Ask the versions that shall answer; nobody where a constant is decided."""
    if served.arrangement.constant is not None:
        scores = np.full(len(asked.ids), served.arrangement.constant)
        return [Part(served.decided.loaded, None, asked.matrix, scores)]
    matrix = served.with_imputed(asked.matrix)
    parts: list[Part] = []
    for voice, rows in served.split(asked.ids):
        some, sent = (matrix, asked.matrix) if rows is None else (matrix[rows], asked.matrix[rows])
        scores = voice.loaded.onnx.score(voice.rows_of(some))
        parts.append(Part(voice.loaded, rows, voice.rows_of(sent), scores))
    return parts


def answer(served: Served, asked: Batch, parts: list[Part]) -> bytes:
    """The response as JSON."""
    decided = served.decided.loaded
    rows: list[Any] = [None] * len(asked.ids)
    for part in parts:
        version = None if part.loaded.version == decided.version else part.loaded.version
        ids = asked.ids if part.rows is None else [asked.ids[row] for row in part.rows]
        told = map(Prediction, ids, part.predictions.tolist(), part.scores.tolist(), repeat(version))
        if part.rows is None:
            rows = list(told)
        else:
            for row, prediction in zip(part.rows, told, strict=True):
                rows[row] = prediction
    response = PredictResponse(
        decided.model,
        decided.version,
        decided.digest,
        rows,
        constant=served.arrangement.constant is not None,
    )
    return msgspec.json.encode(response)


def _absent(position: int, features: dict[str, float | None], names: tuple[str, ...]) -> RequestInvalid:
    absent = [name for name in names if name not in features]
    return RequestInvalid(
        422,
        "A feature is absent",
        f"instances[{position}].features: {absent} are absent; "
        "give a number, or null where it was not measured",
    )


def _unknown(position: int, features: dict[str, float | None], names: tuple[str, ...]) -> RequestInvalid:
    unknown = sorted(features.keys() - set(names))
    return RequestInvalid(
        422,
        "A feature is unknown",
        f"instances[{position}].features: {unknown} are unknown to this model; it takes {list(names)}",
    )


def _located(body: bytes, reason: str) -> str:
    """The reason, with the name and value of the first feature that is no number: the decoder's path says
    `[...]`."""
    instances = msgspec.json.decode(body)
    instances = instances.get("instances") if isinstance(instances, dict) else None
    for position, instance in enumerate(instances if isinstance(instances, list) else []):
        features = instance.get("features") if isinstance(instance, dict) else None
        for name, value in features.items() if isinstance(features, dict) else []:
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
                return f"instances[{position}].features[{name!r}]: {value!r} is neither a number nor null"
    return reason
