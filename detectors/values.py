"""Value types that travel between the rooms: what is watched, what was measured, what was decided."""

from typing import Literal

import msgspec

from detectors.errors import ReferenceInvalid

Axis = Literal["event", "label"]
"""`event`: panes of prediction time. `label`: panes of the time at which labels became known."""

AlertKind = Literal[
    "volume",
    "data_quality",
    "data_drift",
    "prediction_drift",
    "estimated_performance",
    "concept_drift",
    "performance",
]
"""From what says least about harm to what says most."""
FeatureKind = Literal["numeric", "categorical", "embedding"]
Task = Literal["binary", "multiclass", "regression"]
Verdict = Literal["ok", "breach", "undefined"]

UNKNOWN_MODEL = "_unknown"
"""Where events are accounted that name no model."""


class Value(msgspec.Struct, frozen=True, kw_only=True):
    """Base of the value types: immutable, compared by content, encoded by msgspec."""


class FeatureSpec(Value, frozen=True, kw_only=True):
    """A feature as the model expects it. `size`: length of an embedding, a vector of numbers. `text`: a category that
    is free text; see `detectors.text`."""

    name: str
    kind: FeatureKind = "numeric"
    size: int = 0
    text: bool = False


class Budget(Value, frozen=True, kw_only=True):
    """How many false incidents a person is willing to see: `incidents` in `windows` windows, or, where `every_s` is
    above 0, in so many seconds."""

    incidents: float = 1.0
    windows: int = 1_000
    every_s: float = 0.0


class Clocks(Value, frozen=True, kw_only=True):
    """The clocks of a place: how many seconds ahead of UTC they are before any change (the first of `ahead_s`), and
    from each of `since` on, in whole quarters of an hour since the epoch. `name`: of the IANA database. Which changes
    there are is told once, by who sets up a monitor or builds a reference, so that all who read it tell the same hour.
    Raises `ReferenceInvalid` for changes that are not in order, or have not one difference each."""

    name: str = "UTC"
    since: tuple[int, ...] = ()
    ahead_s: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        if len(self.ahead_s) != len(self.since) + 1 or list(self.since) != sorted(set(self.since)):
            raise ReferenceInvalid(
                f"clocks of {self.name!r} have {len(self.since)} changes and {len(self.ahead_s)} differences from UTC; "
                "changes must come in order, and there must be one difference more"
            )


def check_no_timezone(timezone: str | msgspec.UnsetType) -> None:
    """Raises `ReferenceInvalid` for the name of a time zone in place of its `Clocks`: it must not be read as UTC."""
    if timezone not in (msgspec.UNSET, "UTC"):
        raise ReferenceInvalid(
            f"timezone is {timezone!r}, without the changes of its clocks: an older version of Homeostat wrote this; "
            "publish the monitor again (or register the model again), which builds the reference anew"
        )


class Learning(Value, frozen=True, kw_only=True):
    """A reference that is learned as events come: of the first sealed panes of a version that hold `rows` rows.
    `classes`: of a multiclass model; `season`, `clocks`: see `detectors.season`. Raises `ReferenceInvalid` for a
    `timezone`, see `check_no_timezone`."""

    rows: int
    classes: tuple[str, ...] = ()
    season: str = ""
    clocks: Clocks = Clocks()
    timezone: str = "UTC"

    def __post_init__(self) -> None:
        check_no_timezone(self.timezone)


class Monitor(Value, frozen=True, kw_only=True):
    """How one model is watched. Durations in seconds of event time.

    Windows hold `window_rows` rows, or (`window_s` above 0) so many seconds; those of label arrival have
    their own two fields. `slide_rows` or `slide_s` (0: none) make further windows that overlap, which are
    shown and not decided on. A series (version, segment) without rows for `series_ttl_s` is forgotten.
    `spread`: partitions on which the producers put the model's events.
    A prediction waits `label_horizon_s` for its label; a second one of its version is told as a duplicate within
    `hot_horizon_s`, after which it may leave memory for disk. In each partition up to `max_waiting_labels` and an
    eighth wait for their prediction. `concept`: the detectors of concept drift by name (see
    `detectors.concept.choice`), which look at windows of label arrival; none: it is not looked for. `measures`: of
    `detectors.library` (or of a package) that are shown besides those that are always there.
    `silence_s`: how long no event may come before that is told; None: by the usual traffic; 0: it is not.
    `importance`: of features to the model, by name, in any one unit; none: it is estimated from the reference.
    `learning`: how a version that comes without a reference gets one; None: not by itself.
    `behind_s`: part of `lateness_s` and `label_horizon_s` by which the input's order, not its times, is behind: a file
    is read predictions first.
    """

    model: str
    revision: int = 1
    task: Task = "binary"
    features: tuple[FeatureSpec, ...] = ()
    segments: tuple[str, ...] = ()
    window_rows: int = 1_000
    label_window_rows: int = 500
    window_s: float = 0.0
    label_window_s: float = 0.0
    slide_rows: int = 0
    slide_s: float = 0.0
    series_ttl_s: float = 86_400.0
    spread: int = 1
    pane_s: float = 10.0
    watermark_delay_s: float = 2.0
    lateness_s: float = 600.0
    behind_s: float = 0.0
    max_ahead_s: float = 300.0
    label_horizon_s: float = 86_400.0
    hot_horizon_s: float = 3_600.0
    max_waiting_labels: int = 2_000_000
    idle_s: float = 5.0
    budget: Budget = Budget()
    concept: tuple[str, ...] = ("watch",)
    measures: tuple[str, ...] = ()
    silence_s: float | None = None
    importance: tuple[tuple[str, float], ...] = ()
    learning: Learning | None = None
    autonomy: Literal["observe", "suggest", "act"] = "suggest"
    effective_us: int = 0


class MetricPoint(Value, frozen=True, kw_only=True):
    """One measure of one window. `id` names model, version, segment, window, measure and revisions of the
    configuration, so that a second write is the same write; `revision` grows when late data correct it. `low`, `high`:
    an interval of 95 % for `value`, where one is told; `naive`: what the best answer that looks at nothing scores;
    `previous`: what the version before scored in its last window. `detail`: what a person should know besides.
    `confusion`: of `accuracy`, rows by answer and truth: tp, fp, fn, tn, or of classes a matrix row by row (row:
    answer, column: truth, the last one of each "other"); not of more than 20 classes."""

    id: str
    model: str
    version: str
    segment: str = "all"
    axis: Axis
    window: str
    start_us: int
    end_us: int
    rows: int
    measure: str
    feature: str | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None
    naive: float | None = None
    previous: float | None = None
    reference: float | None = None
    threshold: float | None = None
    verdict: Verdict = "ok"
    undefined: str | None = None
    detail: str = ""
    confusion: tuple[int, ...] | msgspec.UnsetType = msgspec.UNSET
    monitor_revision: int = 1
    reference_revision: str = ""
    revision: int = 1


class Evidence(Value, frozen=True, kw_only=True):
    """Why an alert fired: one measure that crossed its threshold. `effect` ranks (threshold = 1)."""

    measure: str
    feature: str | None = None
    value: float
    reference: float | None = None
    threshold: float
    rows: int
    effect: float


class Attribution(Value, frozen=True, kw_only=True):
    """A feature's part in a change. `moved`: share of the rows that moved, beyond chance. `importance`: standard
    deviation of its effect on the model's output; `output_change`, `success_change`: by how much the mean output
    and the share of right answers moved because of it; None where that is not known."""

    feature: str
    moved: float
    importance: float | None = None
    output_change: float | None = None
    success_change: float | None = None


class Contribution(Value, frozen=True, kw_only=True):
    """One part's contribution to a change of the whole's mean: `mix`, because it has become more or less common, and
    `within`, because it changed itself. Over all parts the two sum up to the change."""

    name: str
    rows: float
    share_before: float
    share: float
    value_before: float | None
    value: float | None
    mix: float
    within: float


class Explanation(Value, frozen=True, kw_only=True):
    """realized - reference = shift + concept: by how much a measure changed because other inputs came, and what
    remains. `expected`: the reference reweighted to the window; `share`: of the change that the shift explains (None
    where the two have opposite signs); `message`: in words."""

    measure: str
    reference: float
    expected: float
    realized: float
    shift: float
    concept: float
    share: float | None = None
    message: str


class Alert(Value, frozen=True, kw_only=True):
    """The judge's decision that a series of one kind left its reference (`firing`) or is back (`cleared`).
    `attribution`: the features that carry the change, those first that mean most to the model. Of labels: `explained`,
    what of the change the shift of the data explains, and `parts`, which segments and versions carry the change of the
    mean loss (1 for a wrong answer, of a regression the absolute error), the greatest part first."""

    id: str
    model: str
    version: str
    segment: str = "all"
    kind: AlertKind
    state: Literal["firing", "cleared"]
    axis: Axis
    window: str
    start_us: int
    end_us: int
    change_us: int
    rows: int
    reason: str
    evidence: tuple[Evidence, ...] = ()
    attribution: tuple[Attribution, ...] = ()
    explained: Explanation | None = None
    parts: tuple[Contribution, ...] = ()
    monitor_revision: int = 1
    reference_revision: str = ""


class Accounting(Value, frozen=True, kw_only=True):
    """Where every event of a model went, cumulative, per stage and input partition (invariant 8).

    Predictions: received = profiled + late + deadlettered + duplicates.
    Labels: label_received = joined + waiting + orphaned + revised + label_deadlettered + label_duplicates.
    """

    model: str
    stage: str
    partition: int
    received: int = 0
    profiled: int = 0
    late: int = 0
    deadlettered: int = 0
    duplicates: int = 0
    label_received: int = 0
    joined: int = 0
    waiting: int = 0
    orphaned: int = 0
    revised: int = 0
    label_deadlettered: int = 0
    label_duplicates: int = 0


class ArrivalSlot(Value, frozen=True, kw_only=True):
    """The rows of a model that came in a slot of the broker's time, in one input partition. `version`: of the last
    ones; `measured`: those not refused, half of which were older than `lag_s` seconds when they came; `ahead`: refused
    because dated after their arrival, by up to `ahead_s`; `late`: too old to be measured, up to `late_s` before the
    newest; `twice`: with the id of an earlier one; `refused`: because they do not fit their schema."""

    start_us: int
    length_us: int
    version: str
    rows: int
    measured: int
    lag_s: float
    ahead: int
    ahead_s: float
    late: int
    late_s: float
    twice: int = 0
    refused: int = 0


class PaneSnapshot(Value, frozen=True, kw_only=True):
    """The cumulative profile of a pane as one input partition (`source`) knows it; replaces the previous one.

    `sealed_rows` is the number of rows when the pane was sealed in the order of the input (None while
    open), a function of the input's order alone, so that windows do not depend on timing. `profile` is
    `detectors.profile.Profile.to_bytes()`; empty when the record only moves the watermark. `final_us`: the
    source corrects no pane any more that ends at or before it (None where it does not say so). `stood`: of a pane
    that was counted on no reference, between which offsets of the source's input its rows stand, both included.
    `arrivals`: slots of arrival that were complete since the last snapshot.
    """

    model: str
    version: str
    segment: str = "all"
    axis: Axis
    pane_us: int
    pane_length_us: int
    source: int
    sequence: int
    rows: int
    sealed_rows: int | None
    watermark_us: int
    monitor_revision: int
    reference_revision: str
    profile: bytes
    final_us: int | None = None
    stood: tuple[int, int] | None = None
    arrivals: tuple[ArrivalSlot, ...] = ()
