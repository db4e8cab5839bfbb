"""The profile stage: folds batches of events into panes, joins labels, and accounts for every row."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from detectors.values import UNKNOWN_MODEL, Monitor
from homeostat.contract import (
    HEADER_KIND,
    HEADER_MODEL,
    HEADER_VERSION,
    KIND_LABELS,
    ContractError,
    LabelBatch,
    PredictionBatch,
    decode,
)
from streams.control.configuration import Configuration
from streams.control.lateness import correctable_us, longest_us
from streams.control.schemas import Schema
from streams.deadletters import DeadLetter
from streams.profile.ahead import Ahead
from streams.profile.arrival_slots import SETTLED_US
from streams.profile.cold_tier import ColdConfig, ColdTier, Shelf
from streams.profile.intake import by_monitor, take_in
from streams.profile.label_join import take_labels
from streams.profile.log import ProfileLog
from streams.profile.log_time import LogTime
from streams.profile.model_state import ModelState
from streams.profile.outputs import Outputs
from streams.profile.pane import Unpacked
from streams.profile.series import ALL
from streams.profile.together import MOST_ROWS, fits, is_plain, joined
from streams.samples import Sample, accounting_samples
from streams.stages import Flush, InputRecord, Snapshot
from streams.telemetry_names import COLD_IDS, CROWDED_OUT, EVENTS, IDS, PANES, WATERMARK
from streams.times import MICROSECONDS

CORRECTION_HOLD_US = 2 * MICROSECONDS
"""A sealed pane that keeps changing (labels trickle in) is sent again at most this often."""
_MAX_PRODUCERS = 4_096


class _Models(dict[str, ModelState]):
    """The models of a partition, made when they are first asked for."""

    def __init__(
        self, partition: int, configuration: Configuration, outputs: Outputs, shelf: Shelf | None
    ) -> None:
        super().__init__()
        self.unpacked = Unpacked()
        self._shelf = shelf
        self._partition = partition
        self._configuration = configuration
        self._outputs = outputs

    def __missing__(self, name: str) -> ModelState:
        cold = None if self._shelf is None else ColdTier(name, self._shelf)
        send = self._outputs.snapshot
        self[name] = ModelState(name, self._partition, self._configuration, send, cold, self.unpacked)
        return self[name]


class ProfileStage:
    """One input partition of events. See `streams.stages.Stage` for how it is driven. `cold`: where predictions older
    than the hot horizon go; without it they stay in memory."""

    def __init__(
        self,
        partition: int,
        partitions: int,
        configuration: Configuration,
        cold: ColdConfig | None = None,
    ) -> None:
        self.offset = -1
        self._partition = partition
        self._configuration = configuration
        self._outputs = Outputs(partitions)
        self._shelf = None if cold is None else Shelf(cold)
        self._models = _Models(partition, configuration, self._outputs, self._shelf)
        self._producers: dict[str, int] = {}
        self._log = ProfileLog()
        self._ahead = Ahead(())
        self._flushed_offset = -1
        self._now_us = 0
        self._time = LogTime()

    def unconfigured(self, record: InputRecord) -> tuple[str, str] | None:
        """See `Stage`."""
        batch = self._ahead.of(record)
        if batch is not None:
            model, version = batch.model, batch.version if isinstance(batch, PredictionBatch) else ""
        else:
            headers = dict(record.headers)
            if HEADER_MODEL not in headers:
                return None
            model = headers[HEADER_MODEL].decode(errors="replace")
            version = headers.get(HEADER_VERSION, b"").decode(errors="replace")
        known = self._configuration.knows(model, version) if version else self._configuration.watches(model)
        return None if known else (model, version)

    def look_ahead(self, records: Sequence[InputRecord]) -> None:
        """See `streams.stages.Foresighted`."""
        self._ahead = Ahead(records)

    def process(self, record: InputRecord, known: PredictionBatch | LabelBatch | None = None) -> None:
        """Take one batch of predictions or labels; one that cannot be read goes to the dead letters. `known`: what the
        record holds, where that is known without its bytes."""
        self.offset = record.offset
        self.hear(record.timestamp_us)
        try:
            batch = known or self._ahead.of(record) or decode(record.value, record.headers)
        except ContractError as error:
            self._dead_letter(record, error)
            return
        if batch.sequence <= self._producers.get(batch.producer, -1):
            self._count_again(batch)
            return
        self._remember(batch.producer, batch.sequence)
        self._measure(record, batch)
        self._models.unpacked.shrink()

    def reject(self, record: InputRecord, rows: int) -> None:
        """See `streams.worker.poison.Rejecting`."""
        self.offset = record.offset
        model = dict(record.headers).get(HEADER_MODEL, b"").decode(errors="replace")
        self._refuse(model if model in self._models else UNKNOWN_MODEL, record, rows)

    def samples(self) -> Iterator[Sample]:
        """See `streams.samples.Measured`."""
        place = str(self._partition)
        for state in self._models.values():
            yield from accounting_samples(state.counts.accounting(state.model, self._partition))
            yield Sample(EVENTS, (place, state.model, "future"), state.counts.future)
            yield Sample(CROWDED_OUT, (place, state.model), state.crowded_out)
            for axis in (state.event, state.label):
                if axis.state.watermark_us > 0:
                    watermark_s = axis.state.watermark_us / MICROSECONDS
                    yield Sample(WATERMARK, (place, state.model, axis.axis), watermark_s)
        models = self._models.values()
        panes = sum(len(state.event.panes) + len(state.label.panes) for state in models)
        yield Sample(PANES, (place,), panes)
        yield Sample(IDS, (place,), sum(len(state.table) for state in models))
        yield Sample(COLD_IDS, (place,), sum(len(state.cold or ()) for state in models))

    def tick(self, now_us: int, caught_up: bool) -> None:
        """See `Stage`: idle models are sealed."""
        self._now_us = now_us
        for state in self._models.values():
            if caught_up:
                state.pass_time(now_us - SETTLED_US)
            for axis in (state.event, state.label):
                axis.tick(now_us, caught_up, state.monitor_at(axis.state.watermark_us))

    def be_silent(self, model: str, axis: str, silent_us: int, now_us: int) -> None:
        """One axis of a model has been silent for so long at the log's time `now_us`, as a recorded worker said."""
        if model not in self._models:
            return
        state = self._models[model]
        state.pass_time(now_us - SETTLED_US)
        panes = state.event if axis == "event" else state.label
        panes.be_silent(silent_us, state.monitor_at(panes.state.watermark_us))

    def hear(self, now_us: int) -> None:
        """A record of this time comes: models that are silent while others speak are sealed as those go on."""
        if not self._time.pass_to(now_us):
            return
        for state in self._models.values():
            for axis in (state.event, state.label):
                axis.hear(self._time.heard_us, state.monitor_at(axis.state.watermark_us))

    def end(self) -> None:
        """The end of a file: seal everything."""
        for state in self._models.values():
            for axis in (state.event, state.label):
                axis.seal_all(state.monitor_at(axis.state.watermark_us))

    @property
    def has_news(self) -> bool:
        """See `streams.stages.Outspoken`: panes were sealed, or something was refused."""
        return len(self._outputs) > 0

    def flush(self, final: bool = False) -> Flush | None:
        """See `Stage`."""
        hold_us = 0 if final else CORRECTION_HOLD_US
        for state in self._models.values():
            for axis in (state.event, state.label):
                axis.send_due(self._now_us, hold_us)
                mark_us = axis.state.watermark_us
                axis.drop_old(longest_us(self._configuration, state.model, mark_us, correctable_us))
            if state.counts != state.told:
                state.told = msgspec.structs.replace(state.counts)
                self._outputs.accounting(state.counts.accounting(state.model, self._partition))
        deltas = self._log.deltas(self._models.values(), self._producers, self._time)
        if self._shelf is not None:
            self._shelf.settle(name for state in self._models.values() for name in state.segment_names)
        if self.offset == self._flushed_offset and not (self._outputs or any(deltas.values())):
            return None
        self._flushed_offset = self.offset
        return Flush(self._outputs.take(), deltas)

    def snapshot(self, written: Mapping[str, Sequence[int]]) -> Snapshot:
        """See `Stage`."""
        return self._log.snapshot(written)

    def slow_work(self) -> Callable[[], None] | None:
        """See `streams.stages.Filing`: predictions that are old go to segments."""
        due = [state for state in self._models.values() if state.find_old()]

        def store() -> None:
            for state in due:
                state.store_old()

        return store if due else None

    def committed(self) -> None:
        """See `streams.stages.Filing`."""
        if self._shelf is not None:
            self._shelf.committed()

    def restore(self, offset: int, state: bytes, log: Mapping[str, Sequence[InputRecord]]) -> None:
        """See `Stage`."""
        self.offset = self._flushed_offset = offset
        self._producers, self._time = self._log.restore(state, log, self._configuration, self._models)
        for model in self._models.values():
            model.event.input_offset = offset

    def _measure(self, record: InputRecord, batch: PredictionBatch | LabelBatch) -> None:
        version = batch.version if isinstance(batch, PredictionBatch) else None
        state = self._models[batch.model]
        state.event.input_offset = record.offset
        schema = self._configuration.schema(batch.model, version)
        state.pass_time(record.timestamp_us)
        taken = take_in(record, batch, schema, state.monitor_at(int(batch.times_us[0])).max_ahead_s)
        if version is not None:
            state.arrival.open.version = version
            state.arrival.take(batch, taken, record.timestamp_us)
        if taken.evolution.notable:
            self._outputs.evolution(batch.model, version, taken.evolution)
        if taken.refused:
            self._refuse(batch.model, record, taken.refused)
            state.counts.future += taken.future
            for letter in taken.letters:
                self._outputs.letter(letter)
        before, rows = state.counts.duplicates, taken.batch
        if isinstance(rows, PredictionBatch) and rows is batch:
            rows = self._together(record, rows, state, schema)
        for part in () if rows is None else by_monitor(rows, self._configuration):
            if isinstance(part, PredictionBatch):
                state.take_predictions(part, schema)
            else:
                take_labels(state, part, schema)
        state.arrival.again(state.counts.duplicates - before)

    def _together(
        self, record: InputRecord, batch: PredictionBatch, state: ModelState, schema: Schema | None
    ) -> PredictionBatch:
        """The batch with those of the next records, as far as nothing depends on which record a row came with: these
        are taken, too, and `offset` says so."""
        run, axis, monitor = [batch], state.event, state.monitor_at(batch.span_us[0])
        if not is_plain(batch) or state.monitor_at(batch.span_us[1]) is not monitor:
            return batch
        kept_us = int((monitor.lateness_s - monitor.behind_s) * MICROSECONDS)
        rows, (first_us, last_us) = batch.rows, batch.span_us
        last_us = max(last_us, axis.state.watermark_us, axis.state.sealed_us)
        for follower, other in self._ahead.behind(record):
            (earliest_us, latest_us), at_us = other.span_us, follower.timestamp_us
            rows, first_us, last_us = rows + other.rows, min(first_us, earliest_us), max(last_us, latest_us)
            if rows > MOST_ROWS or not fits(batch, other):
                break
            if self._time.ends_second(at_us) or not state.arrival.holds(at_us):
                break
            if earliest_us < last_us - kept_us or last_us >= axis.next_seal_us(first_us, monitor):
                break
            if any(state.monitor_at(time_us) is not monitor for time_us in other.span_us):
                break
            if not self._is_measured(batch, first_us, monitor):
                break
            if other.sequence <= self._producers.get(other.producer, -1):
                break
            taken = take_in(follower, other, schema, monitor.max_ahead_s)
            if taken.batch is not other or taken.evolution.notable:
                break
            self._remember(other.producer, other.sequence)
            self._time.pass_to(at_us)
            self.offset = axis.input_offset = follower.offset
            state.arrival.take(other, taken, at_us)
            run.append(other)
        return joined(run)

    def _is_measured(self, batch: PredictionBatch, first_us: int, monitor: Monitor) -> bool:
        """Whether the panes from this time on have a reference: the others tell between which records they stood."""
        length_us = round(monitor.pane_s * MICROSECONDS)
        place = batch.model, batch.version, ALL, "event", self._partition
        return self._configuration.pane_reference(*place, first_us - first_us % length_us) is not None

    def _count_again(self, batch: PredictionBatch | LabelBatch) -> None:
        """A batch that was taken before."""
        counts = self._models[batch.model].counts
        if isinstance(batch, PredictionBatch):
            counts.received += batch.rows
            counts.duplicates += batch.rows
        else:
            counts.label_received += batch.rows
            counts.label_duplicates += batch.rows

    def _remember(self, producer: str, sequence: int) -> None:
        self._producers.pop(producer, None)
        self._producers[producer] = sequence
        if len(self._producers) > _MAX_PRODUCERS:
            del self._producers[next(iter(self._producers))]

    def _dead_letter(self, record: InputRecord, error: ContractError) -> None:
        self._refuse(UNKNOWN_MODEL, record, 1)
        letter = DeadLetter(
            reason=str(error),
            field=error.field,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            stage="profile",
            original=record.value or b"",
            headers=tuple(record.headers),
        )
        self._outputs.letter(letter)

    def _refuse(self, model: str, record: InputRecord, rows: int) -> None:
        counts = self._models[model].counts
        if dict(record.headers).get(HEADER_KIND) == KIND_LABELS.encode():
            counts.label_received += rows
            counts.label_deadlettered += rows
        else:
            counts.received += rows
            counts.deadlettered += rows
