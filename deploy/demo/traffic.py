"""A service in small: subjects are sent to the model over HTTP, and the truth comes back later as labels."""

import asyncio
import heapq
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import httpx
import numpy as np
import pandas as pd


@dataclass(frozen=True, slots=True)
class World:
    """Those who come: one row of `features` per subject, and what the truth (0/1) will turn out to be."""

    name: str
    features: pd.DataFrame
    labels: np.ndarray


@dataclass(frozen=True, slots=True)
class Answer:
    """One prediction that a subject got. `time_s` is the wall clock."""

    time_s: float
    world: str
    subject: int
    version: str
    prediction: int
    label: int


@dataclass(slots=True)
class Tally:
    """What the traffic has seen so far."""

    answers: list[Answer] = field(default_factory=list)
    requests: int = 0
    failures: list[str] = field(default_factory=list)
    labels_sent: int = 0

    def accuracy(
        self, *, version: str | None = None, world: str | None = None, since_s: float = 0.0
    ) -> float | None:
        """Share of right answers, or None when nobody asked."""
        rows = [
            a.prediction == a.label
            for a in self.answers
            if (version is None or a.version == version)
            and (world is None or a.world == world)
            and a.time_s >= since_s
        ]
        return float(np.mean(rows)) if rows else None


LabelSink = Callable[[list[dict[str, object]]], Awaitable[None]]
"""Sends labels, in the JSON form of the gate, on their way."""


class Traffic:
    """Open-loop load: `requests_per_s` requests of `instances_per_request` subjects drawn with replacement.

    Args:
        url: base URL of the inference server.
        model: name of the model.
        world: who comes first.
        send_labels: where labels go.
        seed: of the draw.
        requests_per_s: requests a second; the pace does not slow down when answers are late.
        instances_per_request: instances in a request.
        label_delay_s: how late a label is.
    """

    def __init__(
        self,
        url: str,
        model: str,
        world: World,
        send_labels: LabelSink,
        *,
        seed: int,
        requests_per_s: float = 25.0,
        instances_per_request: int = 24,
        label_delay_s: float = 1.0,
    ) -> None:
        self.tally = Tally()
        self._path = f"{url}/v1/models/{model}/predict"
        self._model = model
        self._world = world
        self._encoded = _encode(world)
        self._send_labels = send_labels
        self._rng = np.random.default_rng(seed)
        self._interval_s = 1.0 / requests_per_s
        self._instances = instances_per_request
        self._label_delay_s = label_delay_s
        self._due: list[tuple[float, str, int]] = []
        self._sequence = 0

    @property
    def world(self) -> World:
        """Who comes now."""
        return self._world

    def switch(self, world: World) -> None:
        """From the next request on, others come."""
        self._world, self._encoded = world, _encode(world)

    async def run(self, stop: asyncio.Event) -> None:
        """Send until `stop`, then wait for the answers under way and for the labels that are still out."""
        limits = httpx.Limits(max_connections=32, max_keepalive_connections=32)
        answered = asyncio.Event()
        async with httpx.AsyncClient(timeout=30.0, limits=limits) as client, asyncio.TaskGroup() as group:
            group.create_task(self._deliver_labels(answered))
            async with asyncio.TaskGroup() as requests:
                next_s = time.monotonic()
                while not stop.is_set():
                    requests.create_task(self._request(client))
                    next_s += self._interval_s
                    await asyncio.sleep(max(0.0, next_s - time.monotonic()))
            answered.set()

    async def _request(self, client: httpx.AsyncClient) -> None:
        world, encoded = self._world, self._encoded
        subjects = self._rng.integers(0, len(encoded), self._instances)
        first = self._sequence
        self._sequence += len(subjects)
        ids = [f"{world.name}-{subject}-{first + i}" for i, subject in enumerate(subjects)]
        body = (
            '{"instances":['
            + ",".join(
                f'{{"id":"{id_}","features":{encoded[p]}}}' for id_, p in zip(ids, subjects, strict=True)
            )
            + "]}"
        )
        self.tally.requests += 1
        try:
            response = await client.post(
                self._path, content=body, headers={"content-type": "application/json"}
            )
            response.raise_for_status()
        except httpx.HTTPError as error:
            self.tally.failures.append(f"{type(error).__name__}: {error}")
            return
        answer = response.json()
        now_s = time.time()
        for id_, subject, row in zip(ids, subjects, answer["predictions"], strict=True):
            label = int(world.labels[subject])
            self.tally.answers.append(
                Answer(now_s, world.name, int(subject), answer["version"], int(row["prediction"]), label)
            )
            heapq.heappush(self._due, (now_s + self._label_delay_s, id_, label))

    async def _deliver_labels(self, answered: asyncio.Event) -> None:
        while self._due or not answered.is_set():
            now_s = time.time()
            batch: list[dict[str, object]] = []
            while self._due and self._due[0][0] <= now_s:
                due_s, id_, label = heapq.heappop(self._due)
                batch.append(
                    {"kind": "label", "model": self._model, "id": id_, "value": label, "time": due_s}
                )
            if batch:
                await self._send_labels(batch)
                self.tally.labels_sent += len(batch)
            await asyncio.sleep(0.1)


def _encode(world: World) -> list[str]:
    """Every subject's features as JSON text, once: the sender must not take the CPU from the stack it shows."""
    columns = list(world.features.columns)
    return [
        json.dumps({c: None if np.isnan(v) else float(v) for c, v in zip(columns, row, strict=True)})
        for row in world.features.to_numpy(dtype=float)
    ]
