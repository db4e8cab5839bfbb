"""One scenario of the campaign on a stack that runs: in real time from shortly before anything happens."""

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

import homeostat
from benchmarks.campaign.outstanding import Outstanding
from benchmarks.campaign.population import FEATURES, Behaviour
from benchmarks.campaign.scenarios import Scenario
from benchmarks.campaign.stack_models import specs, trained
from benchmarks.campaign.stack_people import People
from benchmarks.campaign.stack_service import Line, Service
from benchmarks.campaign.world import GOOD, Rows, amount, behaviour, rows
from deploy.demo.session import Session
from deploy.errors import UserError
from detectors.values import Monitor
from remediation.values import CLOSED_INCIDENTS, Arrangement

WINDOW_ROWS, LABEL_ROWS = 400, 250
_BEFORE = 10.5
"""Windows before the onset that are played as they happen: harmless releases come up to nine before it."""
_AFTER, _PATIENCE = 24.0, 120.0
"""Windows after the onset, and as many while an incident is open: windows are short here, and what the agent does takes
as long as ever."""
_HISTORY_STEPS, _LIVE_STEPS = 4, 20
"""Requests in a window."""
_SLOW_S = 100.0
"""A window of what came before a silence, which is told by the usual traffic: it is known by slots of ten minutes."""
_LOADED_S = 90.0


@dataclass(frozen=True, kw_only=True)
class Played:
    """How it went. `onset_us`: when the fault began; `bad`: the version that a release made ill, or empty."""

    scenario: Scenario
    model: str
    onset_us: int
    bad: str
    wall_s: float
    sent: int
    labels: int


class Player:
    """Sends one scenario's traffic and releases its versions. Time is in windows since the start (`at`). What comes
    earlier than `_BEFORE` windows before the onset is sent as fast as it goes, with times of its own; after that a
    window takes `window_s` seconds."""

    def __init__(
        self,
        scenario: Scenario,
        number: int,
        window_s: float,
        session: Session,
        service: Service,
        people: People,
    ) -> None:
        self._scenario = scenario
        self._model = f"loan-{number:02d}"
        self._names = tuple(f"{name}_{number:02d}" for name in FEATURES)
        self._session = session
        self._service = service
        self._people = people
        self._window_us = window_s * 1e6
        self._history_us = self._window_us
        if scenario.fault == "silence":
            self._history_us = _SLOW_S * 1e6
        self._live_at = scenario.onset - _BEFORE
        self._rng = np.random.default_rng([scenario.seed, 1])
        self._line = Line(scenario, np.random.default_rng([scenario.seed, 2]))
        self._outstanding = Outstanding()
        self._sent = self._labels = 0
        self._onset_us = 0
        self._changes = sorted(scenario.changes, key=lambda each: each[2])
        service.lines[self._model] = self._line

    async def play(self) -> Played:
        """From its start until its incidents have ended, or for `_PATIENCE` windows after the fault."""
        began_s = time.monotonic()
        await self._session.watch(self._monitor())
        await self._register("1", GOOD, GOOD)
        second = behaviour(self._scenario.fault, self._scenario.size)
        is_bad = self._scenario.cause == "bad_release"
        second_at = self._scenario.onset if is_bad else self._scenario.release
        if second_at is not None:
            usual = self._scenario.fault == "wrong_model"
            await self._register("2", second, second if usual else behaviour(None, 0.0))
        await self._people.release(self._model, "1")
        await self._loaded()
        await self._live(second_at, await self._history())
        # Nobody is alarmed because the play is over.
        await self._session.watch(replace(self._monitor(), revision=2, silence_s=0.0))
        return Played(
            scenario=self._scenario,
            model=self._model,
            onset_us=self._onset_us,
            bad="2" if is_bad else "",
            wall_s=time.monotonic() - began_s,
            sent=self._service.logged.get(self._model, 0),
            labels=self._labels,
        )

    async def _register(self, expected: str, runs: Behaviour, intended: Behaviour) -> None:
        made = await asyncio.to_thread(trained, self._model, self._names, runs, intended, self._scenario.seed)
        version = await self._session.register(made, f"campaign, seed {self._scenario.seed}")
        if version.version != expected:
            raise UserError(
                f"{self._model}: the registry calls a version {version.version} that is {expected} here"
            )
        self._line.behaviours[version.version] = runs

    async def _loaded(self) -> None:
        deadline = time.monotonic() + _LOADED_S
        while await self._service.serves(self._model) is None:
            if time.monotonic() > deadline:
                raise UserError(f"{self._model}: version 1 was not loaded within {_LOADED_S:.0f} s")
            await asyncio.sleep(0.2)

    # -- time --------------------------------------------------------------------------------------

    async def _history(self) -> float:
        """What came before, as fast as it is answered; up to which moment (microseconds) it came."""
        starts_us = until_us = time.time() * 1e6 - self._live_at * self._history_us
        for step in range(int(self._live_at * _HISTORY_STEPS)):
            at = step / _HISTORY_STEPS
            from_us = starts_us + at * self._history_us
            until_us = from_us + self._history_us / _HISTORY_STEPS
            await self._record_changes(at, int(from_us))
            await self._step(at, int(from_us), int(until_us), _HISTORY_STEPS, self._history_us)
        return until_us

    async def _live(self, second_at: float | None, before_us: float) -> None:
        """From where the history ended: what is sent in the first step came while that was being sent, for nobody is
        silent because a machine is slow."""
        at, step_s = self._live_at, self._window_us / 1e6 / _LIVE_STEPS
        next_s = time.monotonic()
        busy, looked_at = False, at
        while at < self._scenario.onset + (_PATIENCE if busy else _AFTER):
            next_s = max(next_s + step_s, time.monotonic())
            await asyncio.sleep(next_s - time.monotonic())
            if second_at is not None and at >= second_at:
                second_at = None
                await self._people.release(self._model, "2")
            now_us = time.time() * 1e6
            await self._record_changes(at, int(now_us))
            await self._step(at, int(before_us), int(now_us), _LIVE_STEPS, self._window_us)
            before_us, at = now_us, at + 1 / _LIVE_STEPS
            if at - looked_at >= 1.0 or at >= self._scenario.onset + _AFTER:
                looked_at, busy = at, await self._busy()

    async def _record_changes(self, at: float, now_us: int) -> None:
        while self._changes and self._changes[0][2] <= at:
            kind, title, _ = self._changes.pop(0)
            moment = datetime.fromtimestamp(now_us / 1e6, UTC).isoformat()
            await self._people.record(self._model, kind, f"{self._model}: {title}", moment)

    async def _busy(self) -> bool:
        """Whether an incident is open."""
        incidents = await self._people.incidents(self._model)
        return any(each["state"] not in CLOSED_INCIDENTS for each in incidents)

    # -- events ------------------------------------------------------------------------------------

    async def _step(self, at: float, from_us: int, until_us: int, steps: int, window_us: float) -> None:
        """Events of a part of a window, and the labels that are due by then."""
        if at >= self._scenario.onset and not self._onset_us:
            self._onset_us = int(time.time() * 1e6)
        self._line.at = at
        count = amount(self._scenario, at, WINDOW_ROWS / steps, self._rng)
        if count:
            times_us = np.sort(self._rng.integers(from_us, max(until_us, from_us + 1), count))
            await self._send(times_us, at, window_us)
        due = self._outstanding.due(self._scenario, at, until_us, window_us, self._rng)
        if due is not None:
            homeostat.label(self._model, id=due.ids, value=due.values, time=due.times_us / 1e6)
            self._labels += len(due.ids)

    async def _send(self, times_us: npt.NDArray[np.int64], at: float, window_us: float) -> None:
        found = rows(self._scenario, GOOD, Arrangement(), self._rng, times_us, at, window_us)
        ids = [f"{self._sent + number}" for number in range(len(times_us))]
        self._sent += len(ids)
        self._line.times_s = dict(zip(ids, (times_us / 1e6).tolist(), strict=True))
        self._line.failed.clear()
        columns = [found.features[name] for name in FEATURES]
        if await self._service.ask(self._model, ids, self._names, columns):
            self._outstanding.add(ids, self._answered(ids, found))

    def _answered(self, ids: list[str], found: Rows) -> Rows:
        """The rows with what has become of them."""
        found.failed = np.array([one in self._line.failed for one in ids])
        return found

    def _monitor(self) -> Monitor:
        window_s, history_s = self._window_us / 1e6, self._history_us / 1e6
        all_s = history_s * (self._live_at + _PATIENCE)
        return Monitor(
            model=self._model,
            features=specs(self._names),
            window_rows=WINDOW_ROWS,
            label_window_rows=LABEL_ROWS,
            pane_s=window_s / (1 if self._scenario.fault == "silence" else 8),
            watermark_delay_s=0.5,
            lateness_s=max(60.0, 2 * history_s),
            label_horizon_s=max(3_600.0, all_s),
            hot_horizon_s=max(3_600.0, all_s),
            idle_s=5.0,
            series_ttl_s=max(86_400.0, all_s),
            silence_s=3 * window_s,
        )
