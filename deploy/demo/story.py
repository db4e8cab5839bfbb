"""The story: a healthy day, a bad release, a world that moves; told by what the stack itself finds out."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncGenerator, Sequence

from deploy.demo.numbers import accuracy, balanced_accuracy_once_each
from deploy.demo.options import DemoOptions
from deploy.demo.result import DemoResult, IncidentResult
from deploy.demo.scenario import Scenario
from deploy.demo.screen import Screen
from deploy.demo.session import Session, demo_monitor
from deploy.demo.traffic import Answer, Traffic, World
from deploy.demo.watching import IncidentWatch
from remediation.training import SklearnTrainer
from remediation.training_values import TrainedModel, TrainingSet
from remediation.values import ModelVersion

_DRAIN_S = 30.0


class Story:
    """One run on a stack that is up. `result` fills as it goes."""

    def __init__(
        self,
        scenario: Scenario,
        session: Session,
        screen: Screen,
        options: DemoOptions,
        first: "asyncio.Task[TrainedModel]",
        result: DemoResult,
    ) -> None:
        self._scenario = scenario
        self._session = session
        self._screen = screen
        self._options = options
        self._first = first
        self._result = result
        self._watch = IncidentWatch(session, screen, options, scenario.model)
        result.passed = self._watch.passed
        self._traffic = Traffic(
            session.addresses.serving,
            scenario.model,
            scenario.healthy,
            session.send_labels,
            seed=options.seed,
        )

    async def play(self) -> None:
        """All of it."""
        first = await self._healthy_start()
        async with self._traffic_flowing():
            await self._healthy_day(first)
            second = await self._release()
            await self._world_moves(first, second)
        await self._settle()

    async def _healthy_start(self) -> ModelVersion:
        trained = await self._first
        version = await self._session.register(trained, "demo: first version")
        self._screen.step(
            f"Version {version.version} trained on {trained.rows} {self._scenario.unit}: {trained.algorithm}, "
            f"F1 {trained.metrics['f1']:.3f} in cross-validation; registered in MLflow."
        )
        await self._session.watch(demo_monitor(self._scenario.model, trained.features))
        await self._session.release(version, "first release", self._options.step_timeout_s)
        self._screen.step(f"Version {version.version} serves, through ONNX Runtime.")
        return version

    async def _healthy_day(self, first: ModelVersion) -> None:
        self._screen.chapter("A healthy day")
        before = await self._collect(first.version, self._scenario.healthy, self._options.side_rows)
        self._screen.step(
            f"{len(before):,} {self._scenario.unit}, accuracy {_percent(before)}; the monitors are quiet."
        )

    async def _release(self) -> ModelVersion:
        """Version 2: with a real fault, or, without faults, a harmless retraining."""
        faulty = self._options.faults
        self._screen.chapter("A bad release" if faulty else "A harmless release")
        data = self._scenario.faulty if faulty else self._scenario.train
        version = await self._session.register(
            await self._trained(data, self._options.seed + 1), "demo: second version"
        )
        before = self._answers(None, self._scenario.healthy)
        released_s = time.time()
        await self._session.release(version, "weekly release", self._options.step_timeout_s)
        self._screen.step(
            f"Version {version.version} is released" + (f": {self._scenario.fault}." if faulty else ".")
        )
        if not faulty:
            await self._collect(version.version, self._scenario.healthy, self._options.side_rows)
            return version
        found = await self._watch.follow("bad release", released_s)
        if found is None:
            self._result.problems.append("The bad release was not found.")
            return version
        during = self._answers(version.version, self._scenario.healthy)
        serving = await self._session.calls.serves(self._scenario.model) or version.version
        after = await self._collect(
            serving, self._scenario.healthy, self._options.side_rows, since_s=time.time()
        )
        self._keep(found, before, during, after)
        return version

    async def _world_moves(self, first: ModelVersion, second: ModelVersion) -> None:
        if not self._options.faults:
            self._screen.chapter("Nothing else happens")
            await self._collect(
                second.version, self._scenario.healthy, self._options.side_rows, since_s=time.time()
            )
            return
        left = still_ill(self._result.incidents, second, await self._session.calls.serves(second.model))
        if left is not None:
            self._screen.warn(left)
            self._result.problems.append(left)
            return
        self._screen.chapter("The world moves")
        before = self._answers(first.version, self._scenario.healthy)
        moved_s = time.time()
        self._traffic.switch(self._scenario.shifted)
        self._screen.step(f"{self._scenario.shift}.")
        found = await self._watch.follow(
            "the world moves", moved_s, on_ticket=lambda: self._traffic.switch(self._scenario.later)
        )
        if found is None:
            self._result.problems.append("The shift was not found.")
            return
        serving = await self._session.calls.serves(self._scenario.model) or first.version
        after = await self._collect(
            serving, self._scenario.later, self._options.side_rows, since_s=time.time()
        )
        during = [
            each for each in self._answers(first.version, None) if each.world != self._scenario.healthy.name
        ]
        self._keep(found, before, during, after if serving != first.version else [])
        await self._compare(found, first, serving)

    async def _compare(self, found: IncidentResult, first: ModelVersion, serving: str) -> None:
        """The retrained model beside the old one and the best possible one, on subjects that none of them knows."""
        best = await self._trained(self._scenario.oracle, self._options.seed)
        old = await asyncio.to_thread(self._session.registry.onnx, first.model, first.version)
        new = await asyncio.to_thread(self._session.registry.onnx, first.model, serving)
        later = self._scenario.later
        scores = {"constant": 0.5}
        for name, onnx in (("before", old), ("after", new), ("all_data", best.onnx)):
            scores[name] = await asyncio.to_thread(balanced_accuracy_once_each, onnx, later)
        found.balanced_accuracy = scores

    async def _settle(self) -> None:
        """Wait until everything that was sent has come through, and compare with what was sent."""
        tally = self._traffic.tally
        self._result.requests, self._result.failed_requests = tally.requests, len(tally.failures)
        self._result.predictions = len(tally.answers)
        self._result.problems += [f"A request failed: {failure}" for failure in tally.failures[:3]]
        self._screen.chapter("The books")
        self._screen.waiting("waiting for the last events")
        deadline = time.monotonic() + _DRAIN_S
        while time.monotonic() < deadline:
            if await self._accounted():
                break
            await asyncio.sleep(0.3)
        closes = self._result.accounting["closes"]
        text = f"{self._result.predictions:,} predictions and {tally.labels_sent:,} labels"
        if closes:
            self._screen.step(f"Every event is accounted for: {text}.")
        else:
            self._result.problems.append(
                f"Not every event is accounted for: sent {text}; {self._result.accounting}"
            )

    async def _accounted(self) -> bool:
        """Both equations close, and their left sides are what this process has sent."""
        tally = self._traffic.tally
        books = await self._session.calls.get("/accounting")
        model = books["models"].get(self._scenario.model)
        unknown = books["models"].get("_unknown", {"closes": True})
        sent = {"predictions": len(tally.answers), "labels": tally.labels_sent}
        closes = (
            model is not None
            and model["closes"]
            and unknown["closes"]
            and model["predictions"]["received"] == sent["predictions"]
            and model["labels"]["label_received"] == sent["labels"]
        )
        self._result.accounting = {"closes": bool(closes), "sent": sent, **(model or {})} | {
            "closes": bool(closes)
        }
        return bool(closes)

    @contextlib.asynccontextmanager
    async def _traffic_flowing(self) -> AsyncGenerator[None]:
        """Requests come within the block; at its end the last answers and labels are waited for."""
        stop = asyncio.Event()
        running = asyncio.create_task(self._traffic.run(stop))
        try:
            yield
        finally:
            stop.set()
            await running

    async def _trained(self, data: TrainingSet, seed: int) -> TrainedModel:
        return await asyncio.to_thread(SklearnTrainer().train, data, seed=seed)

    async def _collect(self, version: str, world: World, rows: int, since_s: float = 0.0) -> list[Answer]:
        """Wait for so many answers of a version to subjects of a world."""
        deadline = time.monotonic() + self._options.step_timeout_s
        while True:
            answers = [each for each in self._answers(version, world) if each.time_s >= since_s]
            count = f"{len(answers):,} of {rows:,} {self._scenario.unit}"
            self._screen.waiting(f"version {version}: {count}, accuracy {_percent(answers)}")
            if len(answers) >= rows or time.monotonic() > deadline:
                return answers
            await asyncio.sleep(0.25)

    def _answers(self, version: str | None, world: World | None) -> list[Answer]:
        return [
            each
            for each in self._traffic.tally.answers
            if (version is None or each.version == version) and (world is None or each.world == world.name)
        ]

    def _keep(
        self, found: IncidentResult, before: list[Answer], during: list[Answer], after: list[Answer]
    ) -> None:
        found.accuracy_before, found.rows_before = accuracy(before), len(before)
        found.accuracy_during, found.rows_during = accuracy(during), len(during)
        found.accuracy_after, found.rows_after = accuracy(after), len(after)
        self._result.incidents.append(found)
        self._screen.step(
            f"Accuracy before {_percent(before)}, during {_percent(during)}, after {_percent(after)} "
            f"({len(before):,} / {len(during):,} / {len(after):,} {self._scenario.unit})."
        )

    async def unexpected(self) -> list[str]:
        """Incidents that nobody's fault explains."""
        page = await self._session.calls.get("/incidents")
        expected = {*(each.id for each in self._result.incidents), *self._result.passed}
        return [json.dumps(each["summary"]) for each in page["items"] if each["id"] not in expected]


def still_ill(incidents: Sequence[IncidentResult], second: ModelVersion, serving: str | None) -> str | None:
    """Why nothing more can be shown: the bad release still serves, because a person has left it. None otherwise."""
    left = next((each for each in incidents if each.outcome in ("rejected", "expired")), None)
    if left is None or serving != second.version:
        return None
    why = (
        "you rejected its rollback"
        if left.outcome == "rejected"
        else "nobody decided about its rollback in time"
    )
    return f"Version {second.version} is still ill because {why} ({left.id}), so the world is not moved."


def _percent(answers: list[Answer]) -> str:
    value = accuracy(answers)
    return "-" if value is None else f"{value:.1%}"
