"""The reference as a value: what is kept of the rows of a version that was well."""

import hashlib
from typing import Final, Self

import msgspec
from msgspec.structs import replace

from detectors.columns import SCORE_BINS
from detectors.errors import ReferenceInvalid
from detectors.learned import Learned, bound
from detectors.remembered import Remembered
from detectors.scores import Confusion, binned_auc
from detectors.sequential.values import Baseline, Stratum
from detectors.task_scores import ClassCounts, ErrorSums
from detectors.values import FeatureSpec, Task, Value


class FeatureReference(Value, frozen=True, kw_only=True):
    """One column of the reference.

    `edges`: inner edges of at most 64 quantile bins, bin i holds edges[i-1] < x <= edges[i]; `counts` is
    one longer. `minimum` .. `variance` are None when no value is finite. `top`: the values that are
    counted exactly, ascending, each with its count: point masses (2 % of the column or more) and the
    `STAND_INS`, whose count may be 0.
    `categories`: the most frequent ones with their counts, `other` the rows of all others. `missing`:
    rows without a value. Of an embedding all this is of its Euclidean norm; `centers` and `deviations` are the
    mean and the standard deviation of each of its numbers. `words`: of free text, hashes of its common words; no
    text is named among `categories`.
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
    centers: tuple[float, ...] = ()
    deviations: tuple[float, ...] = ()
    words: tuple[int, ...] = ()

    @property
    def present(self) -> int:
        """Rows with a value."""
        return sum(self.counts) + sum(count for _, count in self.categories) + self.other


class SegmentProfile(Value, frozen=True, kw_only=True):
    """The rows of the reference that belong to one segment ("plan=gold"): their counters, packed, under the layout of
    the whole. `strata`: where the reference has a season, the same by phase. `wander`: as in `Estimator`, of these
    rows."""

    name: str
    rows: int
    packed: bytes
    strata: tuple[Stratum, ...] = ()
    wander: dict[str, float] | msgspec.UnsetType = msgspec.UNSET


class Segments(Value, frozen=True, kw_only=True):
    """The profiles of segments: of the values of `columns` that have rows enough, the most frequent ones first."""

    columns: tuple[str, ...]
    profiles: tuple[SegmentProfile, ...] = ()


class Reference(Value, frozen=True, kw_only=True):
    """What a version is compared with. Build it with `build_reference`; small enough for one Kafka record.

    `effective_rows`: what the rows are worth as independent observations; the number of distinct rows
    where every row is repeated equally often (Kish's n^2 / sum of w^2 in general). `rows_identify`: equal
    feature rows mean the same subject seen again; false where the features are so coarse that different
    subjects share a row. The scores are binned by `score_edges` (64 equal bins); `*_scores` and tp, fp,
    fn, tn should come from cross-validation or a hold-out, or the reference promises more than the model
    can keep.

    Multiclass: `classes` are the names behind the indices that predictions and labels are; `said` counts
    predictions by class, `confusion` pairs of them (row: predicted, column: true), the last one being "other";
    `positive_scores` and `negative_scores` are the scores of right and of wrong predictions; `ranks`, where the
    probabilities of all classes are known, counts rows, and labels among the first 2 and 3 classes.
    Regression: `said` and `errors` (prediction less label) count by 64 quantile bins on `said_edges` and
    `error_edges`; `sums` are those of `outcome_counts.SUMS`, in units of `label_deviation`.

    `baseline`: what sequential deciding must know besides, from the rows in their order; see
    `detectors.sequential.baseline.with_baseline`. Without it rows are taken for independent, correlations are not
    watched, and thresholds are those that the theory guarantees.
    `learned`: what estimates and explanations are made from; see `detectors.learning.with_learned`. Read it through
    `lessons`.
    `sample`: some of its rows (see `detectors.drawn`), where windows are to keep some of theirs too; `with_sample`
    draws them.
    `segments`: what a segment is compared with, see `detectors.segments`. One from before there were any does not
    have it, and keeps its revision.
    """

    model: str
    version: str
    revision: str = ""
    task: Task = "binary"
    classes: tuple[str, ...] = ()
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
    said: tuple[int, ...] = ()
    said_edges: tuple[float, ...] = ()
    confusion: tuple[int, ...] = ()
    ranks: tuple[int, ...] = ()
    errors: tuple[int, ...] = ()
    error_edges: tuple[float, ...] = ()
    sums: tuple[int, ...] = ()
    label_mean: float = 0.0
    label_deviation: float = 0.0
    baseline: Baseline | None = None
    learned: Learned | None = None
    sample: bytes = b""
    segments: Segments | msgspec.UnsetType = msgspec.UNSET

    @property
    def labelled(self) -> int:
        """Rows with a prediction and a label."""
        return self.tp + self.fp + self.fn + self.tn + sum(self.confusion) + sum(self.errors)

    @property
    def performance(self) -> dict[str, float]:
        """The measures of its task, as far as each is defined; see `detectors.performance`."""
        if self.task == "multiclass":
            found = ClassCounts.of(self.confusion).measures()
        elif self.task == "regression":
            found = ErrorSums.of(self.sums, self.labelled, self.label_mean, self.label_deviation).measures()
        else:
            found = Confusion(self.tp, self.fp, self.fn, self.tn).measures()
            found["auc"] = binned_auc(self.positive_scores, self.negative_scores).value
        return {name: value for name, value in found.items() if value is not None}

    @property
    def lessons(self) -> Learned | None:
        """What was learned from its rows, under its revision; None where nothing was."""
        return None if self.learned is None else bound(self.learned, self.revision)

    def feature(self, name: str) -> FeatureReference | None:
        """The column of this name, or None."""
        return _BY_NAME.of(self).get(name)

    def to_json(self) -> bytes:
        """The reference as canonical JSON."""
        return msgspec.json.encode(self)

    @classmethod
    def from_json(cls, text: bytes | str) -> Self:
        """Read what `to_json` wrote; raises `ReferenceInvalid` when it is not a reference or was changed."""
        try:
            found = msgspec.json.decode(text, type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ReferenceInvalid(f"this is not the JSON of a reference: {error}") from error
        if found.revision != revision_of(found):
            raise ReferenceInvalid(
                f"reference of {found.model!r} version {found.version!r}: revision {found.revision!r} does "
                "not name this content; it was changed after it was built, build it again"
            )
        return found


def revision_of(reference: Reference) -> str:
    """What names the content of a reference: the beginning of the SHA-256 of its JSON."""
    blank = replace(reference, revision="")
    return hashlib.sha256(msgspec.json.encode(blank)).hexdigest()[:16]


def _by_name(reference: Reference) -> dict[str, FeatureReference]:
    return {feature.spec.name: feature for feature in reference.features}


_BY_NAME: Final = Remembered(_by_name)
