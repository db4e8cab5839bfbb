"""The reference: what a version of a model looked like when it was well. Profiles of columns, not rows."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Self

import msgspec
import numpy as np
from msgspec.structs import replace

from detectors.columns import (
    SCORE_BINS,
    Column,
    Flags,
    Floats,
    Integers,
    Singles,
    categories,
    numbers,
    row_hashes,
    score_bins,
    singles,
)
from detectors.errors import ReferenceInvalid
from detectors.scores import Confusion, binned_auc
from detectors.values import FeatureSpec, Value

BINS = 64
MASS_SHARE = 0.02
MASSES = 8
CATEGORIES = 64
STAND_INS = (0.0, -1.0, -99.0, -999.0, -9999.0, 99.0, 999.0, 9999.0)
"""Numbers that systems write where nothing was measured; counted exactly in every numeric column."""


class FeatureReference(Value, frozen=True, kw_only=True):
    """One column of the reference.

    `edges`: inner edges of at most 64 quantile bins, bin i holds edges[i-1] < x <= edges[i]; `counts` is
    one longer. `minimum` .. `variance` are None when no value is finite. `top`: the values that are
    counted exactly, ascending, each with its count: point masses (2 % of the column or more) and the
    `STAND_INS`, whose count may be 0.
    `categories`: the most frequent ones with their counts, `other` the rows of all others. `missing`:
    rows without a value.
    """

    spec: FeatureSpec
    missing: int
    edges: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    mean: float | None = None
    variance: float | None = None
    top: tuple[tuple[float, int], ...] = ()
    categories: tuple[tuple[str, int], ...] = ()
    other: int = 0

    @property
    def present(self) -> int:
        """Rows with a value."""
        return sum(self.counts) + sum(count for _, count in self.categories) + self.other


class Reference(Value, frozen=True, kw_only=True):
    """What a version is compared with. Build it with `build_reference`; small enough for one Kafka record.

    `effective_rows`: what the rows are worth as independent observations; the number of distinct rows
    where every row is repeated equally often (Kish's n^2 / sum of w^2 in general). `rows_identify`: equal
    feature rows mean the same subject seen again; false where the features are so coarse that different
    subjects share a row. The scores are binned by `score_edges` (64 equal bins); `*_scores` and tp, fp,
    fn, tn should come from cross-validation or a hold-out, or the reference promises more than the model
    can keep.
    """

    model: str
    version: str
    revision: str = ""
    rows: int
    effective_rows: int
    rows_identify: bool
    features: tuple[FeatureReference, ...]
    threshold: float = 0.5
    score_edges: tuple[float, ...] = tuple(i / SCORE_BINS for i in range(1, SCORE_BINS))
    scores: tuple[int, ...] = ()
    positive_scores: tuple[int, ...] = ()
    negative_scores: tuple[int, ...] = ()
    predicted: int = 0
    predicted_positive: int = 0
    tp: int = 0
    fp: int = 0
    fn: int = 0
    tn: int = 0

    @property
    def labelled(self) -> int:
        """Rows with a prediction and a label."""
        return self.tp + self.fp + self.fn + self.tn

    @property
    def performance(self) -> dict[str, float]:
        """Accuracy, balanced accuracy, precision, recall, F1 and AUC, as far as each is defined."""
        found = Confusion(self.tp, self.fp, self.fn, self.tn).measures()
        found["auc"] = binned_auc(self.positive_scores, self.negative_scores).value
        return {name: value for name, value in found.items() if value is not None}

    def feature(self, name: str) -> FeatureReference | None:
        """The column of this name, or None."""
        return next((feature for feature in self.features if feature.spec.name == name), None)

    def to_json(self) -> bytes:
        """The reference as canonical JSON."""
        return msgspec.json.encode(self)

    @classmethod
    def from_json(cls, text: bytes | str) -> Self:
        """Read what `to_json` wrote; raises `ReferenceInvalid` when it is not a reference or was changed."""
        try:
            found = msgspec.json.decode(text, type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ReferenceInvalid(f"this is not the JSON of a reference: {error}") from error
        if found.revision != _revision(found):
            raise ReferenceInvalid(
                f"reference of {found.model!r} version {found.version!r}: revision {found.revision!r} does "
                "not name this content; it was changed after it was built, build it again"
            )
        return found


def build_reference(
    model: str,
    version: str,
    features: Mapping[str, Column],
    specs: Sequence[FeatureSpec],
    scores: Column | None = None,
    predictions: Column | None = None,
    labels: Column | None = None,
    threshold: float = 0.5,
) -> Reference:
    """A reference from columns of equal length.

    features: name -> array of n values (numbers, or text for categories; NaN and None are missing).
    scores: probability of the positive class, n values in [0, 1], not from rows the model was fitted on.
    predictions, labels: n values of 0 and 1; predictions default to scores >= threshold.
    Raises `ReferenceInvalid` when a column is missing, lengths differ, or values lie outside their range.
    """
    rows = _common_length(features, specs, {"scores": scores, "predictions": predictions, "labels": labels})
    columns = {spec.name: np.asarray(features[spec.name]) for spec in specs}
    parts = tuple(_feature(spec, columns[spec.name]) for spec in specs)
    identify = rows * _coincidence(columns, specs) < 0.05
    repeats = np.unique(row_hashes(columns, [spec.name for spec in specs]), return_counts=True)[1]
    effective = rows * rows / float(np.square(repeats.astype(np.float64)).sum()) if identify else float(rows)
    draft = Reference(
        model=model,
        version=version,
        rows=rows,
        effective_rows=max(1, round(effective)),
        rows_identify=identify,
        features=parts,
        threshold=threshold,
    )
    draft = _with_outputs(draft, scores, predictions, labels)
    return replace(draft, revision=_revision(draft))


def _revision(reference: Reference) -> str:
    blank = replace(reference, revision="")
    return hashlib.sha256(msgspec.json.encode(blank)).hexdigest()[:16]


def _common_length(
    features: Mapping[str, Column], specs: Sequence[FeatureSpec], others: Mapping[str, Column | None]
) -> int:
    names = [spec.name for spec in specs]
    if not names:
        raise ReferenceInvalid("specs is empty: name at least one feature")
    if len(set(names)) != len(names):
        raise ReferenceInvalid(
            f"specs name a feature twice: {sorted(n for n in names if names.count(n) > 1)}"
        )
    absent = [name for name in names if name not in features]
    if absent:
        raise ReferenceInvalid(f"features lack the columns {absent}; they have {sorted(features)}")
    lengths = {name: len(features[name]) for name in names}
    lengths |= {name: len(column) for name, column in others.items() if column is not None}
    rows = lengths[names[0]]
    if rows == 0:
        raise ReferenceInvalid("the reference has no rows; it needs at least one")
    wrong = {name: length for name, length in lengths.items() if length != rows}
    if wrong:
        raise ReferenceInvalid(f"column {names[0]!r} has {rows} rows, but others differ: {wrong}")
    return rows


def _feature(spec: FeatureSpec, column: Column) -> FeatureReference:
    if spec.kind == "categorical":
        return _categorical(spec, column)
    values = numbers(column)
    given = values[~np.isnan(values)]
    finite = given[np.isfinite(given)]
    if len(finite) == 0:
        return FeatureReference(spec=spec, missing=len(values) - len(given), counts=(len(given),))
    found = singles(given)
    edges = _edges(singles(finite))
    counts = np.bincount(np.searchsorted(edges, found, side="left"), minlength=len(edges) + 1)
    return FeatureReference(
        spec=spec,
        missing=len(values) - len(given),
        edges=tuple(float(edge) for edge in edges),
        counts=tuple(int(count) for count in counts),
        minimum=float(singles(finite).min()),
        maximum=float(singles(finite).max()),
        mean=float(finite.mean()),
        variance=float(finite.var()),
        top=_exact(found),
    )


def _edges(values: Singles) -> Singles:
    """Inner edges that are values of the column: all distinct values where they are few, or quantiles."""
    distinct = np.unique(values)
    if len(distinct) > BINS:
        ordered = np.sort(values)
        ranks = (np.arange(1, BINS) * len(ordered) + BINS - 1) // BINS - 1
        distinct = np.unique(np.append(ordered[ranks], ordered[-1]))
    return distinct[:-1]


def _exact(values: Singles) -> tuple[tuple[float, int], ...]:
    found, counts = np.unique(values[np.isfinite(values)], return_counts=True)
    order = np.lexsort((found, -counts))[:MASSES]
    masses = {float(found[i]) for i in order if counts[i] >= MASS_SHARE * len(values)}
    tracked = sorted(masses | set(STAND_INS))
    return tuple((value, int((values == np.float32(value)).sum())) for value in tracked)


def _categorical(spec: FeatureSpec, column: Column) -> FeatureReference:
    names, codes = categories(column)
    counts = np.bincount(codes[codes >= 0], minlength=len(names))
    ranked = sorted(
        ((name, int(count)) for name, count in zip(names, counts, strict=True) if name), key=_rank
    )
    return FeatureReference(
        spec=spec,
        missing=int((codes < 0).sum()),
        categories=tuple(ranked[:CATEGORIES]),
        other=sum(count for _, count in ranked[CATEGORIES:]),
    )


def _rank(item: tuple[str, int]) -> tuple[int, str]:
    return -item[1], item[0]


def _coincidence(columns: Mapping[str, Column], specs: Sequence[FeatureSpec]) -> float:
    """The probability that two different subjects share a whole row, were the columns independent."""
    chance = 1.0
    for spec in specs:
        cells = row_hashes({spec.name: columns[spec.name]}, [spec.name])
        shares = np.unique(cells, return_counts=True)[1] / len(cells)
        chance *= float(np.square(shares).sum())
    return chance


def _with_outputs(
    reference: Reference, scores: Column | None, predictions: Column | None, labels: Column | None
) -> Reference:
    values = None if scores is None else numbers(np.asarray(scores))
    if values is not None:
        _check_range("scores", values, (values >= 0) & (values <= 1), "probabilities in [0, 1]")
        reference = replace(reference, scores=_histogram(values[~np.isnan(values)]))
    if predictions is not None:
        said = numbers(np.asarray(predictions))
        _check_range("predictions", said, (said == 0) | (said == 1), "0 or 1")
    elif values is not None:
        said = np.where(np.isnan(values), np.nan, (values >= reference.threshold).astype(np.float64))
    else:
        return reference
    predicted = int((~np.isnan(said)).sum())
    reference = replace(reference, predicted=predicted, predicted_positive=int((said == 1).sum()))
    if labels is None:
        return reference
    truth = numbers(np.asarray(labels))
    _check_range("labels", truth, (truth == 0) | (truth == 1), "0 or 1")
    known = ~(np.isnan(said) | np.isnan(truth))
    reference = replace(reference, **Confusion.of(said[known] == 1, truth[known] == 1).as_dict())
    if values is None:
        return reference
    scored = known & ~np.isnan(values)
    return replace(
        reference,
        positive_scores=_histogram(values[scored & (truth == 1)]),
        negative_scores=_histogram(values[scored & (truth == 0)]),
    )


def _histogram(scores: Floats) -> tuple[int, ...]:
    counts: Integers = np.bincount(score_bins(scores), minlength=SCORE_BINS)
    return tuple(int(count) for count in counts)


def _check_range(name: str, values: Floats, good: Flags, right: str) -> None:
    bad = ~(good | np.isnan(values))
    if bad.any():
        row = int(np.argmax(bad))
        raise ReferenceInvalid(f"{name}[{row}] is {values[row]!r}; {name} must be {right}")
