"""The profile stage: folds batches of events into panes, joins labels, and accounts for every row."""

from collections.abc import Mapping, Sequence

import msgspec
import structlog

from detectors.errors import ProfileInvalid
from detectors.values import PaneSnapshot
from homeostat.contract import (
    HEADER_KIND,
    HEADER_MODEL,
    HEADER_VERSION,
    KIND_LABELS,
    ContractError,
    PredictionBatch,
    decode,
    partition_of,
)
from streams.control import Configuration
from streams.counts import Counts
from streams.deadletters import UNKNOWN_MODEL, DeadLetter
from streams.label_join import take_labels
from streams.model_state import ModelState
from streams.panes import MICROSECONDS, AxisPanes, AxisState, Pane, PaneRecord
from streams.ranges import Segment, add_segment, joined_ranges
from streams.stages import Delta, Flush, InputRecord, OffsetRange, OutputRecord, Snapshot
from streams.topics import DEADLETTERS, METRICS, PROFILE_IDS, PROFILE_PANES, PROFILES

_log = structlog.get_logger()

CORRECTION_HOLD_US = 2 * MICROSECONDS
"""A sealed pane that keeps changing (labels trickle in) is sent again at most this often."""
_ROWS_PER_DELTA = 8_192
_MAX_PRODUCERS = 4_096
_NEVER_US = -(2**62)


class _ModelSnapshot(msgspec.Struct, array_like=True):
    model: str
    versions: list[str]
    counts: Counts
    event: AxisState
    label: AxisState
    segments: list[Segment]
    pane_offsets: list[int]


class _StageSnapshot(msgspec.Struct, array_like=True):
    models: list[_ModelSnapshot]
    producers: dict[str, int]


class _Pending(msgspec.Struct):
    """A flush between `flush` and `snapshot`: whose deltas stand where in the lists, and the state of that
    moment."""

    snapshot: _StageSnapshot
    rows_of: list[tuple[str, int]]
    panes: list[Pane]
    live: dict[str, list[Pane]]


class ProfileStage:
    """One input partition of events. See `streams.stages.Stage` for how it is driven."""

    def __init__(self, partition: int, partitions: int, configuration: Configuration) -> None:
        self.offset = -1
        self._partition = partition
        self._partitions = partitions
        self._configuration = configuration
        self._models: dict[str, ModelState] = {}
        self._segments: dict[str, list[Segment]] = {}
        self._producers: dict[str, int] = {}
        self._outputs: list[OutputRecord] = []
        self._pending: _Pending | None = None
        self._flushed_offset = -1
        self._now_us = 0

    def unconfigured(self, record: InputRecord) -> tuple[str, str] | None:
        """See `Stage`."""
        headers = dict(record.headers)
        model, version = headers.get(HEADER_MODEL), headers.get(HEADER_VERSION)
        if model is None or version is None:
            return None
        names = model.decode(errors="replace"), version.decode(errors="replace")
        return None if self._configuration.knows(*names) else names

    def process(self, record: InputRecord) -> None:
        """Take one batch of predictions or labels; one that cannot be read goes to the dead letters."""
        self.offset = record.offset
        try:
            batch = decode(record.value, record.headers)
        except ContractError as error:
            self._dead_letter(record, error)
            return
        state = self._model(batch.model)
        predictions = isinstance(batch, PredictionBatch)
        if batch.sequence <= self._producers.get(batch.producer, -1):
            if predictions:
                state.counts.received += batch.rows
                state.counts.duplicates += batch.rows
            else:
                state.counts.label_received += batch.rows
                state.counts.label_duplicates += batch.rows
            return
        self._remember(batch.producer, batch.sequence)
        if predictions:
            state.take_predictions(batch)
        else:
            take_labels(state, batch)

    def tick(self, now_us: int, caught_up: bool) -> None:
        """See `Stage`: idle models are sealed."""
        self._now_us = now_us
        for state in self._models.values():
            for axis in (state.event, state.label):
                axis.tick(now_us, caught_up, state.monitor_at(axis.state.watermark_us))

    def end(self) -> None:
        """The end of a file: seal everything."""
        for state in self._models.values():
            for axis in (state.event, state.label):
                axis.seal_all(state.monitor_at(axis.state.watermark_us))

    def flush(self, final: bool = False) -> Flush | None:
        """See `Stage`."""
        hold_us = 0 if final else CORRECTION_HOLD_US
        for state in self._models.values():
            for axis in (state.event, state.label):
                axis.send_due(self._now_us, hold_us)
                axis.drop_old(int(state.monitor_at(axis.state.watermark_us).lateness_s * MICROSECONDS))
            self._account(state)
        rows = self._changed_rows()
        panes = [
            (state.model, axis, pane)
            for state in self._models.values()
            for axis in (state.event, state.label)
            for pane in axis.panes.values()
            if pane.changed
        ]
        if self.offset == self._flushed_offset and not (self._outputs or rows or panes):
            return None
        deltas = {
            PROFILE_IDS: [Delta(model.encode(), data) for model, data, _ in rows],
            PROFILE_PANES: [
                Delta(model.encode(), msgspec.msgpack.encode(_record(model, axis, pane)))
                for model, axis, pane in panes
            ],
        }
        for _, _, pane in panes:
            pane.changed = False
        outputs, self._outputs = self._outputs, []
        self._flushed_offset = self.offset
        self._pending = _Pending(
            snapshot=self._small_state(),
            rows_of=[(model, last_us) for model, _, last_us in rows],
            panes=[pane for _, _, pane in panes],
            live={
                state.model: [*state.event.panes.values(), *state.label.panes.values()]
                for state in self._models.values()
            },
        )
        return Flush(outputs, deltas)

    def snapshot(self, written: Mapping[str, Sequence[int]]) -> Snapshot:
        """See `Stage`."""
        if self._pending is None:
            raise ValueError("snapshot was called without a flush before it")
        pending, self._pending = self._pending, None
        for (model, last_us), offset in zip(pending.rows_of, written.get(PROFILE_IDS, ()), strict=True):
            add_segment(self._segments.setdefault(model, []), offset, last_us)
        for pane, offset in zip(pending.panes, written.get(PROFILE_PANES, ()), strict=True):
            pane.offset = offset
        for model in pending.snapshot.models:
            model.segments = self._live_segments(model)
            model.pane_offsets = sorted(pane.offset for pane in pending.live[model.model])
        models = pending.snapshot.models
        needed: dict[str, list[OffsetRange]] = {
            PROFILE_IDS: joined_ranges((first, last) for m in models for first, last, _ in m.segments),
            PROFILE_PANES: joined_ranges((offset, offset) for m in models for offset in m.pane_offsets),
        }
        return Snapshot(msgspec.msgpack.encode(pending.snapshot), needed)

    def restore(self, offset: int, state: bytes, log: Mapping[str, Sequence[InputRecord]]) -> None:
        """See `Stage`."""
        found = msgspec.msgpack.decode(state, type=_StageSnapshot)
        self.offset = self._flushed_offset = offset
        self._producers = found.producers
        rows: dict[str, list[bytes]] = {}
        for record in log.get(PROFILE_IDS, ()):
            rows.setdefault((record.key or b"").decode(), []).append(record.value or b"")
        panes = {record.offset: record for record in log.get(PROFILE_PANES, ())}
        for saved in found.models:
            model = self._model(saved.model)
            model.versions, model.counts = saved.versions, saved.counts
            model.told = msgspec.structs.replace(saved.counts)
            model.event.state, model.label.state = saved.event, saved.label
            model.event.forget_silence()
            model.label.forget_silence()
            self._segments[saved.model] = list(saved.segments)
            model.table.restore(rows.get(saved.model, ()), self._horizon_us(model))
            model.note_waiting(model.table.rows["time_us"])
            for place in saved.pane_offsets:
                self._restore_pane(model, panes[place])

    def _restore_pane(self, model: ModelState, record: InputRecord) -> None:
        found = msgspec.msgpack.decode(record.value or b"", type=PaneRecord)
        axis = model.event if found.axis == "event" else model.label
        try:
            pane = Pane.of_record(found, self._configuration)
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
        axis.panes[pane.key] = pane

    def _model(self, name: str) -> ModelState:
        found = self._models.get(name)
        if found is None:
            found = ModelState(name, self._partition, self._configuration, self._send_snapshot)
            self._models[name] = found
        return found

    def _remember(self, producer: str, sequence: int) -> None:
        self._producers.pop(producer, None)
        self._producers[producer] = sequence
        if len(self._producers) > _MAX_PRODUCERS:
            del self._producers[next(iter(self._producers))]

    def _send_snapshot(self, snapshot: PaneSnapshot) -> None:
        headers = (
            (HEADER_MODEL, snapshot.model.encode()),
            (HEADER_VERSION, snapshot.version.encode()),
        )
        self._outputs.append(
            OutputRecord(
                PROFILES,
                partition_of(snapshot.model, 0, self._partitions),
                snapshot.model.encode(),
                msgspec.msgpack.encode(snapshot),
                headers,
            )
        )

    def _account(self, state: ModelState) -> None:
        if state.counts == state.told:
            return
        state.told = msgspec.structs.replace(state.counts)
        value = state.counts.accounting(state.model, self._partition)
        self._outputs.append(
            OutputRecord(
                METRICS,
                partition_of(state.model, 0, self._partitions),
                state.model.encode(),
                msgspec.json.encode(value),
                (("kind", b"accounting"),),
            )
        )

    def _dead_letter(self, record: InputRecord, error: ContractError) -> None:
        counts = self._model(UNKNOWN_MODEL).counts
        if dict(record.headers).get(HEADER_KIND) == KIND_LABELS.encode():
            counts.label_received += 1
            counts.label_deadlettered += 1
        else:
            counts.received += 1
            counts.deadlettered += 1
        letter = DeadLetter(
            reason=str(error),
            field=error.field,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            stage="profile",
            original=record.value or b"",
        )
        self._outputs.append(OutputRecord(DEADLETTERS, 0, UNKNOWN_MODEL.encode(), letter.to_json()))

    def _changed_rows(self) -> list[tuple[str, bytes, int]]:
        """Model, rows and their latest time, in pieces that fit a record. Afterwards what is too old is
        forgotten."""
        found: list[tuple[str, bytes, int]] = []
        for state in self._models.values():
            rows = state.table.take_changed()
            for start in range(0, len(rows), _ROWS_PER_DELTA):
                part = rows[start : start + _ROWS_PER_DELTA]
                found.append((state.model, part.tobytes(), int(part["time_us"].max())))
            state.table.expire(self._horizon_us(state))
        return found

    def _horizon_us(self, state: ModelState) -> int:
        if state.clock_us == _NEVER_US:
            return _NEVER_US
        return state.clock_us - int(state.monitor_at(state.clock_us).label_horizon_s * MICROSECONDS)

    def _live_segments(self, model: _ModelSnapshot) -> list[Segment]:
        before = self._horizon_us(self._models[model.model])
        kept = [segment for segment in self._segments.get(model.model, []) if segment[2] >= before]
        self._segments[model.model] = kept
        return list(kept)

    def _small_state(self) -> _StageSnapshot:
        replace = msgspec.structs.replace
        return _StageSnapshot(
            models=[
                _ModelSnapshot(
                    model=state.model,
                    versions=list(state.versions),
                    counts=replace(state.counts),
                    event=replace(state.event.state),
                    label=replace(state.label.state),
                    segments=[],
                    pane_offsets=[],
                )
                for state in self._models.values()
            ],
            producers=dict(self._producers),
        )


def _record(model: str, axis: AxisPanes, pane: Pane) -> PaneRecord:
    return pane.record(model, axis.axis)
