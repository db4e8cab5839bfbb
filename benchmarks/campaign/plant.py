"""One scenario played: simulated serving, the judge, and the agent in virtual time, with a person who decides."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import msgspec
import numpy as np

from benchmarks.campaign.learning import LoggedEvents, Regression, Scorer, evaluation, reference_of
from benchmarks.campaign.outstanding import Outstanding
from benchmarks.campaign.population import FEATURES, SPECS, Behaviour, of_artifact
from benchmarks.campaign.scenarios import Scenario
from benchmarks.campaign.stored import Inbox, Live, StoredPoints
from benchmarks.campaign.world import GOOD, amount, behaviour, rows
from detectors.values import Monitor
from homeostat.contract import LabelBatch, PredictionBatch, encode_labels, encode_predictions, headers_of
from remediation.changes import Change
from remediation.config import RetrainingConfig, VerificationConfig
from remediation.values import Arrangement, Desired
from streams.control.configuration import Configuration
from streams.stages import InputRecord
from streams.topics import EVENTS
from tests.remediation.fake_journal import FakeJournal, FakeUnit
from tests.remediation.fakes import Faults, ManualClock
from tests.remediation.world import World

MODEL = "loan"
WINDOW_ROWS = 400
LABEL_ROWS = 250
_STEP_ROWS = 100
_STEPS = WINDOW_ROWS // _STEP_ROWS
_SWEEPS = 6
_START_US = 1_760_000_400_000_000 // 600_000_000 * 600_000_000
_PANES_PER_WINDOW = 8


class _Journal(FakeJournal):
    """Points are kept beside, by series, for a run has tens of thousands."""

    def __init__(self, clock: ManualClock, points: StoredPoints) -> None:
        super().__init__(clock, Faults())
        self._points = points

    @contextmanager
    def transaction(self) -> Generator[FakeUnit]:
        with super().transaction() as unit:
            vars(unit)["points"] = self._points.points
            yield unit

    @contextmanager
    def reading(self) -> Generator[FakeUnit]:
        with super().reading() as unit:
            vars(unit)["points"] = self._points.points
            yield unit


class Plant(World):
    """The parts, and time. `at`: windows of events since the start."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.window_us = round(WINDOW_ROWS / scenario.pace * 1e6)
        self.configuration = Configuration()
        self.configuration.add_monitor(_monitor(self.window_us / 1e6))
        clock = ManualClock(_START_US)
        self.inbox = Inbox()
        window_s = self.window_us / 1e6
        patience: dict[str, Any] = {
            "retraining": RetrainingConfig(collect_s=10 * window_s),
            "verification": VerificationConfig(windows=2, limit_s=25 * window_s),
            "approval_ttl_s": 20 * window_s,
        }
        super().__init__(patience, (MODEL,), _Journal(clock, self.inbox.stored), clock)
        vars(self.registry)["reference"] = self.configuration.reference
        self.archive = LoggedEvents()
        self.trainer = Regression()
        self.scorer = Scorer()
        self.agent = self.new_agent()
        self.at = 0.0
        self.behaviours: dict[str, Behaviour] = {}
        self.intended: dict[str, Behaviour] = {}
        self.rng = np.random.default_rng([scenario.seed, 1])
        self.process = Live(self.configuration, 1, results=self.inbox)
        self._outstanding = Outstanding()
        self._sent = 0

    # -- people who release and decide -------------------------------------------------------------

    async def release(self, version: str, runs: Behaviour, intended: Behaviour) -> None:
        """Register a version and make it serve. `intended`: as it was evaluated before it was released."""
        self.registry.add(MODEL, version, intended.artifact(), FEATURES)
        self.behaviours[version] = runs
        rng = np.random.default_rng(self.scenario.seed)
        features, labels = evaluation(intended, rng)
        self.configuration.add_reference(reference_of(MODEL, version, intended, features, labels, rng))
        await self.deploy(version, MODEL)

    def record_changes(self) -> None:
        """What people put on record about the time."""
        with self.journal.transaction() as unit:
            for number, (kind, title, at) in enumerate(self.scenario.changes):
                at_us = self.time_us(at)
                unit.add_change(
                    Change(
                        id=f"change-{number}",
                        kind=kind,
                        title=title,
                        starts_us=at_us,
                        by="ben",
                        recorded_us=at_us,
                    )
                )

    async def _announce(self, desired: Desired) -> None:
        trained = self.trainer.made.get(desired.digest)
        if trained is not None and desired.version not in self.behaviours:
            self.behaviours[desired.version] = of_artifact(trained.onnx)
            self.configuration.add_reference(
                msgspec.structs.replace(trained.reference, version=desired.version)
            )

    # -- time --------------------------------------------------------------------------------------

    async def step(self) -> None:
        """Let a quarter of a window pass."""
        before_us = self.clock.now_us()
        self.clock.advance(self.window_us / _STEPS / 1e6)
        sent = self._serve(before_us, self.clock.now_us())
        self._tell_labels(self.clock.now_us())
        if not sent:
            self.process.tick(0, self.clock.now_us())
        self.process.flush()
        self.at += 1 / _STEPS
        for alert in self.inbox.new_alerts():
            await self.agent.receive(alert)
        for _ in range(_SWEEPS if self.busy() else 0):
            for said in self.serving.acknowledgements:
                self.agent.acknowledge(said)
            self.serving.acknowledgements.clear()
            await self.agent.sweep()
            await self.agent.idle()
            if self.verdict is not None:
                self.click(self.verdict)

    def time_us(self, at: float) -> int:
        """The moment so many windows after the start."""
        return _START_US + round(at * self.window_us)

    def busy(self) -> bool:
        """Whether an incident is open."""
        return bool(self.journal.state.incidents) and not self.all_closed()

    def _serve(self, from_us: int, until_us: int) -> bool:
        desired = self.serving.serves[MODEL]
        arrangement = desired.arrangement
        count = amount(self.scenario, self.at, _STEP_ROWS, self.rng)
        if arrangement.paused or not count:
            return False
        times_us = np.sort(self.rng.integers(from_us, until_us, count))
        shares = [(desired.version, 1 - sum(arrangement.shares.values())), *arrangement.shares.items()]
        chosen = self.rng.choice(len(shares), count, p=[share for _, share in shares])
        for place, (version, _) in enumerate(shares):
            if (chosen == place).any():
                self._send(version, arrangement, times_us[chosen == place])
        return True

    def _send(self, version: str, arrangement: Arrangement, times_us: Any) -> None:
        found = rows(
            self.scenario,
            self.behaviours[version],
            arrangement,
            self.rng,
            times_us,
            self.at,
            float(self.window_us),
        )
        ids = [f"{self._sent}-{number}" for number in range(len(times_us))]
        batch = PredictionBatch.of(
            model=MODEL,
            version=version,
            producer="campaign",
            sequence=self._sent,
            ids=ids,
            times_us=times_us,
            predictions=found.predictions,
            scores=found.scores,
            features=dict(found.features),
            latencies_ms=found.latencies_ms,
            statuses=np.where(found.failed, "timeout", "ok").tolist(),
        )
        self._feed(encode_predictions(batch), batch)
        self.archive.note(ids, version, found)
        self._outstanding.add(ids, found)

    def _tell_labels(self, now_us: int) -> None:
        due = self._outstanding.due(self.scenario, self.at, now_us, self.window_us, self.rng)
        if due is None:
            return
        batch = LabelBatch.of(
            model=MODEL,
            producer="campaign",
            sequence=self._sent,
            ids=due.ids,
            times_us=due.times_us,
            values=due.values,
        )
        self._feed(encode_labels(batch), batch)
        self.archive.note_labels(due.ids, due.values, due.times_us)

    def _feed(self, value: bytes, batch: PredictionBatch | LabelBatch) -> None:
        record = InputRecord(
            EVENTS, 0, self._sent, MODEL.encode(), value, tuple(headers_of(batch)), self.clock.now_us()
        )
        self._sent += 1
        self.process.feed([record], flush_every=1 << 62)


async def play(scenario: Scenario) -> Plant:
    """The scenario from its start until its incidents have ended, or for 60 windows after the fault."""
    plant = Plant(scenario)
    await plant.release("1", GOOD, GOOD)
    plant.record_changes()
    second_at = scenario.onset if scenario.cause == "bad_release" else scenario.release
    second = behaviour(scenario.fault, scenario.size)
    while plant.at < scenario.onset + (60.0 if plant.busy() else 24.0):
        if second_at is not None and plant.at >= second_at and "2" not in plant.behaviours:
            intended = second if scenario.fault == "wrong_model" else behaviour(None, 0.0)
            await plant.release("2", second, intended)
        await plant.step()
    return plant


def _monitor(window_s: float) -> Monitor:
    return Monitor(
        model=MODEL,
        features=SPECS,
        window_rows=WINDOW_ROWS,
        label_window_rows=LABEL_ROWS,
        pane_s=min(window_s / _PANES_PER_WINDOW, 300.0),
        watermark_delay_s=window_s / 200,
        lateness_s=2 * window_s,
        label_horizon_s=100 * window_s,
        hot_horizon_s=100 * window_s,
        idle_s=window_s / 10,
        series_ttl_s=400 * window_s,
        silence_s=600.0,
    )
