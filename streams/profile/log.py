"""How the state of a profile stage is kept: changes in the state topics, and a small record of where they stand."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec
import structlog

from detectors.errors import ProfileInvalid
from streams.control.configuration import Configuration
from streams.profile.arrival_slots import OpenSlot
from streams.profile.cold_segment import SegmentInfo
from streams.profile.cold_store import SegmentError
from streams.profile.counts import Counts
from streams.profile.log_time import LogTime
from streams.profile.model_state import ModelState
from streams.profile.pane import Pane, PaneRecord
from streams.profile.panes import AxisState
from streams.profile.series import SeriesCodes
from streams.ranges import Segment, add_segment, joined_ranges
from streams.stages import Delta, InputRecord, OffsetRange, Snapshot
from streams.topics import PROFILE_IDS, PROFILE_PANES

_log = structlog.get_logger()

_ROWS_PER_DELTA = 8_192


class _ModelSnapshot(msgspec.Struct, array_like=True):
    model: str
    series: list[tuple[str, tuple[str, ...]]]
    counts: Counts
    event: AxisState
    label: AxisState
    segments: list[Segment]
    pane_offsets: list[int]
    cold: list[SegmentInfo] = []
    arrival: OpenSlot = msgspec.field(default_factory=OpenSlot)


class _StageSnapshot(msgspec.Struct, array_like=True):
    models: list[_ModelSnapshot]
    producers: dict[str, int]
    time: LogTime = msgspec.field(default_factory=LogTime)


class _Pending(msgspec.Struct):
    """Deltas whose offsets are not known yet, and the state of the moment at which they were taken: whose rows
    and which panes, in the order of the deltas."""

    snapshot: _StageSnapshot
    rows_of: list[tuple[str, int]]
    panes: list[Pane]
    live: dict[str, list[Pane]]
    before_us: dict[str, int]
    cut_us: dict[str, int]


class ProfileLog:
    """The state topics of one input partition, as far as its stage needs them for a restore."""

    def __init__(self) -> None:
        self._segments: dict[str, list[Segment]] = {}
        self._pending: _Pending | None = None

    def deltas(
        self, models: Iterable[ModelState], producers: Mapping[str, int], time: LogTime
    ) -> dict[str, list[Delta]]:
        """What has changed since the last call, by topic; `snapshot` must follow. Afterwards the models forget
        what is too old."""
        models = list(models)
        rows = [
            (state, piece, latest_us)
            for state in models
            for piece, latest_us in state.table.take_changed(_ROWS_PER_DELTA)
        ]
        panes = [
            (pane, Delta(state.model.encode(), msgspec.msgpack.encode(pane.record(state.model, axis.axis))))
            for state in models
            for axis in (state.event, state.label)
            for pane in axis.changed_panes()
        ]
        for pane, _ in panes:
            pane.changed = False
        cut_us: dict[str, int] = {}
        for state in models:
            pieces, cut_us[state.model] = state.age(_ROWS_PER_DELTA)
            rows += [(state, piece, latest_us) for piece, latest_us in pieces]
        self._pending = _Pending(
            snapshot=_StageSnapshot(
                [_small(state) for state in models], dict(producers), msgspec.structs.replace(time)
            ),
            rows_of=[(state.model, latest_us) for state, _, latest_us in rows],
            panes=[pane for pane, _ in panes],
            live={
                state.model: [*state.event.panes.values(), *state.label.panes.values()] for state in models
            },
            before_us={state.model: state.horizon_us for state in models},
            cut_us=cut_us,
        )
        return {
            PROFILE_IDS: [Delta(state.model.encode(), piece) for state, piece, _ in rows],
            PROFILE_PANES: [delta for _, delta in panes],
        }

    def snapshot(self, written: Mapping[str, Sequence[int]]) -> Snapshot:
        """The state at the last `deltas`, which now stand at these offsets."""
        if self._pending is None:
            raise ValueError("snapshot was called without a flush before it")
        pending, self._pending = self._pending, None
        for (model, last_us), offset in zip(pending.rows_of, written.get(PROFILE_IDS, ()), strict=True):
            add_segment(self._segments.setdefault(model, []), offset, last_us)
        for pane, offset in zip(pending.panes, written.get(PROFILE_PANES, ()), strict=True):
            pane.offset = offset
        models = pending.snapshot.models
        for model in models:
            before_us = max(pending.before_us[model.model], pending.cut_us[model.model])
            kept = [one for one in self._segments.get(model.model, []) if one[2] >= before_us]
            self._segments[model.model] = kept
            model.segments = list(kept)
            model.pane_offsets = sorted(pane.offset for pane in pending.live[model.model])
        needed: dict[str, list[OffsetRange]] = {
            PROFILE_IDS: joined_ranges((first, last) for m in models for first, last, _ in m.segments),
            PROFILE_PANES: joined_ranges((offset, offset) for m in models for offset in m.pane_offsets),
        }
        return Snapshot(msgspec.msgpack.encode(pending.snapshot), needed)

    def restore(
        self,
        state: bytes,
        log: Mapping[str, Sequence[InputRecord]],
        configuration: Configuration,
        models: Mapping[str, ModelState],
    ) -> tuple[dict[str, int], LogTime]:
        """Fill the models (empty ones, made as they are asked for) from a snapshot; returns the producers, and how far
        the log was."""
        found = msgspec.msgpack.decode(state, type=_StageSnapshot)
        rows: dict[str, list[bytes]] = {}
        for record in log.get(PROFILE_IDS, ()):
            rows.setdefault((record.key or b"").decode(), []).append(record.value or b"")
        panes = {record.offset: record for record in log.get(PROFILE_PANES, ())}
        for saved in found.models:
            model = models[saved.model]
            model.series, model.counts = SeriesCodes(saved.series), saved.counts
            model.told = msgspec.structs.replace(saved.counts)
            model.event.state, model.label.state = saved.event, saved.label
            model.arrival.open = saved.arrival
            model.event.forget_silence()
            model.label.forget_silence()
            self._segments[saved.model] = list(saved.segments)
            _restore_cold(model, saved.cold)
            model.table.restore(rows.get(saved.model, ()), model.horizon_us)
            model.look_for_waiting()
            for place in saved.pane_offsets:
                _restore_pane(model, panes[place], configuration)
        return found.producers, found.time


def _restore_cold(model: ModelState, cold: list[SegmentInfo]) -> None:
    if model.cold is not None:
        model.cold.restore(cold)
    elif cold:
        raise SegmentError(
            f"the last checkpoint of model {model.model!r} has predictions in {len(cold)} segments (the first is "
            f"{cold[0].name}), and HOMEOSTAT_SEGMENTS is not set; set it to the place that it had"
        )


def _restore_pane(model: ModelState, record: InputRecord, configuration: Configuration) -> None:
    found = msgspec.msgpack.decode(record.value or b"", type=PaneRecord)
    axis = model.event if found.axis == "event" else model.label
    try:
        pane = Pane.of_record(found, configuration)
    except ProfileInvalid as error:
        _log.error(
            "A pane cannot be corrected any more: its reference is gone from the control topic.",
            model=model.model,
            version=found.version,
            pane_us=found.pane_us,
            reason=str(error),
        )
        return
    pane.offset = record.offset
    axis.add(pane)


def _small(state: ModelState) -> _ModelSnapshot:
    replace = msgspec.structs.replace
    return _ModelSnapshot(
        model=state.model,
        series=list(state.series),
        counts=replace(state.counts),
        event=replace(state.event.state),
        label=replace(state.label.state),
        arrival=state.arrival.copy(),
        segments=[],
        pane_offsets=[],
        cold=[] if state.cold is None else state.cold.manifest(),
    )
