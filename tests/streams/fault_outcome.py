"""What a run has written, and whether two runs have written the same."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from detectors.values import Accounting, Alert, MetricPoint, PaneSnapshot
from streams.deadletters import DeadLetter
from streams.judge.seals import Seal
from streams.replay.inprocess import InProcess
from streams.topics import ALERTS, DEADLETTERS, PROFILES, SEALS
from tests.streams.fault_load import Load


@dataclass
class Outcome:
    """What a run has given for some models. Points by id in their last revision, accounts by stage, model and
    partition; seals, alerts and letters as they were written. `snapshots`: the newest of each pane and source."""

    points: dict[str, MetricPoint] = field(default_factory=dict[str, MetricPoint])
    accounts: dict[tuple[str, str, int], Accounting] = field(
        default_factory=dict[tuple[str, str, int], Accounting]
    )
    seals: list[Seal] = field(default_factory=list[Seal])
    alerts: list[Alert] = field(default_factory=list[Alert])
    letters: list[DeadLetter] = field(default_factory=list[DeadLetter])
    snapshots: dict[tuple[Any, ...], PaneSnapshot] = field(
        default_factory=dict[tuple[Any, ...], PaneSnapshot]
    )
    twice: list[str] = field(default_factory=list[str])

    def take(self, topic: str, kind: bytes, value: bytes) -> None:
        """One record of an output topic, in the order of its partition."""
        if topic == SEALS:
            self.seals.append(msgspec.json.decode(value, type=Seal))
        elif topic == ALERTS:
            self.alerts.append(msgspec.json.decode(value, type=Alert))
        elif topic == DEADLETTERS:
            self.letters.append(msgspec.json.decode(value, type=DeadLetter))
        elif topic == PROFILES:
            self._take_snapshot(msgspec.msgpack.decode(value, type=PaneSnapshot))
        elif kind == b"accounting":
            account = msgspec.json.decode(value, type=Accounting)
            self.accounts[account.stage, account.model, account.partition] = account
        else:
            point = msgspec.json.decode(value, type=MetricPoint)
            known = self.points.get(point.id)
            if known is not None and point.revision <= known.revision:
                self.twice.append(f"point {point.measure} {point.window} revision {point.revision}")
            self.points[point.id] = point

    def of(self, models: Iterable[str]) -> "Outcome":
        """The part of some models."""
        wanted = set(models)
        return Outcome(
            {name: point for name, point in self.points.items() if point.model in wanted},
            {name: account for name, account in self.accounts.items() if name[1] in wanted},
            [one for one in self.seals if one.model in wanted],
            [one for one in self.alerts if one.model in wanted],
            [one for one in self.letters if one.model in wanted],
            {name: one for name, one in self.snapshots.items() if one.model in wanted},
            list(self.twice),
        )

    @property
    def final_points(self) -> dict[str, MetricPoint]:
        """Without the number of corrections that it took."""
        return {name: msgspec.structs.replace(point, revision=1) for name, point in self.points.items()}

    @property
    def profiled(self) -> dict[tuple[str, str, int], Accounting]:
        """What the profile stage has last said."""
        return {name: account for name, account in self.accounts.items() if name[0] == "profile"}

    @property
    def windows(self) -> dict[tuple[Any, ...], int]:
        """Windows and how often they were logged: once."""
        return Counter(
            (one.model, one.version, one.segment, one.axis, one.window, one.after_us, one.rows)
            for one in self.seals
        )

    def measured(self, model: str) -> dict[tuple[object, ...], tuple[int, float | None, str]]:
        """Rows, value and verdict of the points, by what they measure: without the name of the model and what is made
        of it."""
        return {
            (one.version, one.segment, one.axis, one.window, one.measure, one.feature): (
                one.rows,
                one.value,
                one.verdict,
            )
            for one in self.points.values()
            if one.model == model
        }

    @property
    def alarms(self) -> dict[Alert, int]:
        """Without those about how events arrive: they go by the broker's time, which no two runs share."""
        windows = {seal.window for seal in self.seals}
        return Counter(one for one in self.alerts if one.kind != "data_quality" or one.window in windows)

    def _take_snapshot(self, snapshot: PaneSnapshot) -> None:
        if not snapshot.version:
            return
        name = (
            snapshot.model,
            snapshot.version,
            snapshot.segment,
            snapshot.axis,
            snapshot.pane_us,
            snapshot.source,
        )
        known = self.snapshots.get(name)
        if known is not None and snapshot.sequence <= known.sequence:
            self.twice.append(f"snapshot {name} sequence {snapshot.sequence}")
        self.snapshots[name] = snapshot


def undisturbed(load: Load, flush_every: int = 64) -> Outcome:
    """The same stages on the same records, in this process, where nothing goes wrong."""
    outcome = Outcome()
    run = InProcess(load.configuration(), load.partitions, results=_Taking(outcome))  # pyright: ignore[reportArgumentType]
    run.feed(load.records(), flush_every)
    run.flush(final=True)
    run.flush(final=True)
    return outcome


class _Taking:
    def __init__(self, outcome: Outcome) -> None:
        self._outcome = outcome

    def take(self, topic: str, kind: bytes, value: bytes) -> None:
        self._outcome.take(topic, kind, value)


def assert_same(found: Outcome, expected: Outcome) -> None:
    """Two runs have given the same; says where they differ."""
    _assert_equal("accounting", found.profiled, expected.profiled)
    _assert_equal("windows", found.windows, expected.windows)
    _assert_equal("points", found.final_points, expected.final_points)
    _assert_equal("alerts", found.alarms, expected.alarms)
    assert not found.twice, f"written twice: {found.twice[:5]}"


def _assert_equal(what: str, found: Mapping[Any, Any], expected: Mapping[Any, Any]) -> None:
    lacking, beyond = expected.keys() - found.keys(), found.keys() - expected.keys()
    others = [name for name in found.keys() & expected.keys() if found[name] != expected[name]]
    if lacking or beyond or others:
        told = [
            f"{what}: {len(lacking)} lacking, {len(beyond)} beyond, {len(others)} different of {len(expected)}"
        ]
        told += [f"lacks {expected[name]} {name}" for name in list(lacking)[:2]]
        told += [f"beyond: {found[name]} {name}" for name in list(beyond)[:2]]
        told += [f"found {found[name]}\n  not {expected[name]}" for name in others[:3]]
        raise AssertionError("\n".join(told))
