"""What was decided about a window: the value types of `decide`."""

from typing import Literal

import msgspec

from detectors.concept.values import ConceptMemory
from detectors.estimation.trust import Lesson
from detectors.quality.values import QualityMemory
from detectors.sequential.values import Memory
from detectors.service.values import ServiceMemory
from detectors.slices.values import Tally
from detectors.values import AlertKind, Attribution, Axis, Contribution, Explanation, Value, Verdict


class Window(Value, frozen=True, kw_only=True):
    """Which window of which series. `window` is its name; times in microseconds of the axis."""

    model: str
    version: str
    segment: str = "all"
    axis: Axis
    window: str
    start_us: int
    end_us: int
    rows: int


class Decision(Value, frozen=True, kw_only=True):
    """The verdict on one measure of one window, and why.

    `low`, `high`, `naive`, `detail`: see `Measurement`; `previous`, `confusion`: see `MetricPoint`. `threshold`: the
    value beyond which it breaches (None where it is only shown). `effect`: distance from the reference, the threshold's
    distance being 1. `change_us`: start of the first window of an unbroken row of breaches.
    """

    kind: AlertKind
    measure: str
    feature: str | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None
    naive: float | None = None
    previous: float | None = None
    reference: float | None = None
    threshold: float | None = None
    rows: int = 0
    effect: float = 0.0
    verdict: Verdict = "ok"
    undefined: str | None = None
    detail: str = ""
    confusion: tuple[int, ...] | msgspec.UnsetType = msgspec.UNSET
    reason: str = ""
    change_us: int | None = None


class Transition(Value, frozen=True, kw_only=True):
    """A kind of alert that began or ended with this window; `decisions` are its breaches, strongest first;
    `attribution`, `explained`, `parts`: see `Alert`."""

    kind: AlertKind
    state: Literal["firing", "cleared"]
    change_us: int
    reason: str
    decisions: tuple[Decision, ...] = ()
    attribution: tuple[Attribution, ...] = ()
    explained: Explanation | None = None
    parts: tuple[Contribution, ...] = ()


class Streak(Value, frozen=True, kw_only=True):
    """Consecutive breaching windows of one measure, since the start of the first."""

    windows: int
    start_us: int


class Standing(Value, frozen=True, kw_only=True):
    """What people have said about a kind of alert that is decided on window by window. `caution`: by which changes must
    be larger to be told; `expected`: the alert goes on in silence; `renew`: what the next window shows is the normal;
    `normal`: what a measure is compared with instead of the reference."""

    caution: float = 1.0
    expected: bool = False
    renew: bool = False
    normal: dict[str, float] = msgspec.field(default_factory=dict[str, float])


class KindFeedback(Value, frozen=True, kw_only=True):
    """A statement, and how it stood before: whether the alert was firing, and what had been said."""

    id: str
    firing: bool
    standing: Standing


class KindState(Value, frozen=True, kw_only=True):
    """What one kind of alert remembers. `clean`: windows in a row without a breach, since `clean_us`; `standing`,
    `feedback`: what people have said about it, where no sequential test decides on it."""

    firing: bool = False
    clean: int = 0
    clean_us: int = 0
    streaks: dict[str, Streak] = msgspec.field(default_factory=dict[str, Streak])
    standing: Standing = Standing()
    feedback: tuple[KindFeedback, ...] = ()

    @property
    def told(self) -> bool:
        """Whether an alert is open that nobody has called expected."""
        return self.firing and not self.standing.expected


class SeriesState(Value, frozen=True, kw_only=True):
    """What deciding remembers of a series (model, version, segment, axis) between windows; plain JSON. `memory`:
    of the sequential tests, once a profile was handed in; `concept`: of the detectors of concept drift;
    `lessons`: what windows of labels have shown about estimates; `quality`: findings about the data that go on;
    `service`: what is usual of the service, and what has become of it;
    `heard`: ids of the last statements of people that were taken; `tally`: what the labels have shown, for other series
    to be held against."""

    kinds: dict[AlertKind, KindState] = msgspec.field(default_factory=dict[AlertKind, KindState])
    memory: Memory | None = None
    lessons: tuple[Lesson, ...] = ()
    quality: QualityMemory | None = None
    service: ServiceMemory | None = None
    concept: ConceptMemory | None = None
    heard: tuple[str, ...] = ()
    tally: Tally | None = None


class Judgement(Value, frozen=True, kw_only=True):
    """The outcome of deciding about one window."""

    decisions: tuple[Decision, ...]
    transitions: tuple[Transition, ...]
    state: SeriesState
