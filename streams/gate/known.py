"""Decoders for the models that come often: their features as a typed struct, not as a mapping.

A model's features are learned from its first rows. A row that is not like them (another feature, a text for a number)
fails in the fast decoder and is read by the general one, so nothing is refused or accepted because of what was
learned. Which decoder to try is told by the bytes from `"model"` to the next comma; they are a hint only, for the
decoder itself insists on the model's name.
"""

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, Literal, cast

import msgspec

from streams.gate.rows import PredictionRow

_MAX_MODELS = 256
_MIN_ROWS = 16
_MAX_MISSES = 100
"""A decoder that has failed so often, and in more than a tenth of its rows, is learned afresh."""


class Known:
    """One model's decoder. `numbers` and `texts` name its features; `rows` counts what it has read."""

    def __init__(self, model: str, numbers: Sequence[str], texts: Sequence[str]) -> None:
        self.numbers = tuple(numbers)
        self.texts = tuple(texts)
        names = (*self.numbers, *self.texts)
        attributes = [f"f{i}" for i in range(len(names))]
        value_types: list[Any] = [float | bool | None] * len(self.numbers) + [str | None] * len(self.texts)
        features = msgspec.defstruct(
            "Features",
            [(name, kind, None) for name, kind in zip(attributes, value_types, strict=True)],
            rename=dict(zip(attributes, names, strict=True)),
            forbid_unknown_fields=True,
            gc=False,
        )
        row = msgspec.defstruct(
            "KnownRow",
            [("kind", Literal["prediction"]), ("model", Literal[model]), ("features", features)],
            bases=(PredictionRow,),
            tag=False,
            kw_only=True,
            gc=False,
        )
        self.decode = cast("Callable[[bytes], PredictionRow]", msgspec.json.Decoder(row).decode)
        self.decode_array = cast(
            "Callable[[bytes], list[PredictionRow]]", msgspec.json.Decoder(list[row]).decode
        )
        self.number_values: Callable[[Any], tuple[float | None, ...]] = (
            msgspec.structs.astuple if not self.texts else _tuple_of(attributes[: len(self.numbers)])
        )
        self.text_values = [attrgetter(name) for name in attributes[len(self.numbers) :]]
        self.rows = 0
        self.misses = 0


class KnownModels:
    """The decoders by hint."""

    def __init__(self) -> None:
        self.by_hint: dict[bytes, Known] = {}

    def missed(self, hint: bytes) -> None:
        """The decoder of this hint has failed for a row that is a good one."""
        known = self.by_hint[hint]
        known.misses += 1
        if known.misses > _MAX_MISSES and known.misses * 10 > known.rows:
            del self.by_hint[hint]

    def learn(self, raw: bytes, model: str, rows: int, features: dict[str, type]) -> None:
        """Remember how `rows` rows looked, one of them `raw`: the type of each feature, float or str."""
        hint, _ = hint_of(raw)
        if rows < _MIN_ROWS or not hint or hint in self.by_hint or len(self.by_hint) >= _MAX_MODELS:
            return
        if not all(name.isprintable() for name in features):
            return
        numbers = [name for name, kind in features.items() if kind is float]
        texts = [name for name, kind in features.items() if kind is str]
        if len(numbers) + len(texts) == len(features):
            self.by_hint[hint] = Known(model, numbers, texts)


def hint_of(raw: bytes) -> tuple[bytes, bytes]:
    """The bytes that name the model, where they stand in front of another field, and all up to there."""
    start = raw.find(b'"model"')
    end = raw.find(b",", start)
    return (raw[start:end], raw[: end + 1]) if 0 <= start < end else (b"", b"")


def _tuple_of(names: Sequence[str]) -> Callable[[Any], tuple[Any, ...]]:
    if len(names) == 1:
        one = attrgetter(names[0])
        return lambda features: (one(features),)
    return attrgetter(*names) if names else lambda _: ()
