"""What sequential deciding knows of a reference, what it remembers of a stream, and what it found: plain values."""

from typing import Literal

import msgspec

from detectors.codec import unpack
from detectors.columns import Integers
from detectors.values import Clocks, Value, check_no_timezone


class ScoreName(Value, frozen=True, kw_only=True, order=True):
    """A score: what of which column. `item`: a category, a value, or the other column of a pair."""

    family: str
    column: str = ""
    item: str = ""

    @property
    def key(self) -> str:
        """One text for all of it."""
        return "\x1f".join((self.family, self.column, self.item))


class Dependence(Value, frozen=True, kw_only=True):
    """How rows of the reference that follow each other depend on each other, for one score. `inflation`: of the
    variance of a mean; `freedom`: degrees with which it was estimated (0: rows are independent as far as can be
    told). `refused`: why the score is not judged, or empty."""

    inflation: float = 1.0
    freedom: float = 0.0
    refused: str = ""


class PairMoments(Value, frozen=True, kw_only=True):
    """The product of two standardised columns in the reference: mean, variance, third and fourth cumulant."""

    first: str
    second: str
    mean: float
    variance: float
    skew: float
    kurtosis: float


class Calibration(Value, frozen=True, kw_only=True):
    """What a simulation on the reference found: `factor` times the budget is the threshold that keeps it (with
    95 % confidence). `alarms` in `windows` simulated windows of `window_rows` rows."""

    factor: float
    alarms: int
    windows: int
    window_rows: int


class Stratum(Value, frozen=True, kw_only=True):
    """A phase of a season in the reference: the counters of its rows, packed (see `detectors.codec`)."""

    name: str
    rows: int
    packed: bytes

    def counters(self, size: int) -> Integers:
        """The counters, of a layout of this size; those that nothing is compared with are 0."""
        return unpack(self.packed, size)[0]


class Baseline(Value, frozen=True, kw_only=True):
    """What a reference must know besides its histograms to be judged against; see `build_baseline`.
    `dependence` by `ScoreName.key`; what is not named there has independent rows. `clocks`: those that tell the
    phases that the strata are, where it is not UTC. Raises `ReferenceInvalid` for a `timezone`, see
    `check_no_timezone`."""

    pairs: tuple[PairMoments, ...] = ()
    dependence: dict[str, Dependence] = msgspec.field(default_factory=dict[str, Dependence])
    calibration: Calibration | None = None
    strata: tuple[Stratum, ...] = ()
    note: str = ""
    clocks: Clocks | msgspec.UnsetType = msgspec.UNSET
    timezone: str | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        check_no_timezone(self.timezone)


class Opened(Value, frozen=True, kw_only=True):
    """An incident that is open: change point (start of the first window after it), window at which it was told,
    the places of the scores that told it and by how much they had moved, and whether a person has called it
    expected. `since_then`: the track of the stream since the change beside itself, in which further changes show."""

    since_us: int
    since: int
    told: int
    scores: tuple[int, ...]
    moved: tuple[float, ...]
    expected: bool = False
    since_then: "Track | None" = None


class Track(Value, frozen=True, kw_only=True):
    """What is remembered for one kind of alert. `windows` so far; the candidates for a change point: their
    windows, times (start of the next window) and shares, and as float64 the sums up to each (`at_sums`,
    `at_rows`), up to now (`sums`, `rows`) and of the baseline (`base_sums`, `base_rows`).
    `has_reference`: whether the reference is in the baseline. `caution` multiplies the threshold.
    `incidents` so far. `spread`: where the baseline is the stream (since a change, or from its beginning), sums of the
    squares of the scores, of the scores, and rows, of the windows that it has been watched for: its variances are not
    those of the reference."""

    windows: int = 0
    at: tuple[int, ...] = ()
    at_us: tuple[int, ...] = ()
    shares: tuple[float, ...] = ()
    at_sums: bytes = b""
    at_rows: bytes = b""
    sums: bytes = b""
    rows: bytes = b""
    base_sums: bytes = b""
    base_rows: bytes = b""
    has_reference: bool = True
    caution: float = 1.0
    incidents: int = 0
    opened: Opened | None = None
    spread: bytes = b""


class Feedback(Value, frozen=True, kw_only=True):
    """What a person said about an incident of a kind, and the track as it was before, so that it can be undone.
    `id`: names the statement."""

    kind: str
    said: Literal["false alarm", "expected", "new normal"]
    window: int
    before: Track
    id: str = ""


class Memory(Value, frozen=True, kw_only=True):
    """What sequential deciding remembers of a series. `plan`: names what it was counted under; another one begins
    anew. `repeats`, `pairs`: over all windows the pairs of rows that are the same subject beyond chance, and all
    pairs, both times two."""

    plan: str = ""
    windows: int = 0
    tracks: dict[str, Track] = msgspec.field(default_factory=dict[str, Track])
    repeats: float = 0.0
    pairs: float = 0.0
    feedback: tuple[Feedback, ...] = ()


class Moved(Value, frozen=True, kw_only=True):
    """One score in an alarm. `change`: difference of the means since the change point and before, in standard
    deviations of the score (counts: of the rates); `now`, `before`: rates, where it counts; `least`: the change at
    which this score alone would have alarmed; `weight`: its log evidence with its share of the budget."""

    name: ScoreName
    change: float
    least: float
    now: float | None = None
    before: float | None = None
    rows: int = 0
    weight: float = 0.0


class Change(Value, frozen=True, kw_only=True):
    """An alarm that explains itself. `statistic` reached `threshold`; the change began with the window that begins
    at `since_us`, `windows` windows ago; `in_force`: where the threshold comes from. `columns`: strongest first."""

    kind: str
    statistic: float
    threshold: float
    since_us: int
    windows: int
    in_force: Literal["simulated", "guaranteed"]
    moved: tuple[Moved, ...] = ()
    columns: tuple[str, ...] = ()


class Step(Value, frozen=True, kw_only=True):
    """What a window did to one kind of alert. `further`: an incident was open before and goes on; `opened` is then a
    change in addition to it. `expected`: the incident that ends had been called so; its end is not told."""

    kind: str
    statistic: float
    threshold: float
    opened: Change | None = None
    closed_us: int | None = None
    further: bool = False
    expected: bool = False
    reason: str = ""
