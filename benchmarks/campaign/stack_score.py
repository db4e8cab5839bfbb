"""What a scenario on a stack was worth: read from the REST API, and held against the audit log."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from benchmarks.campaign.scenarios import Scenario
from benchmarks.campaign.score import Done, Outcome, harm, said_of_the_fault
from benchmarks.campaign.stack_people import APPROVER, People
from benchmarks.campaign.stack_player import Played
from remediation.values import CLOSED_INCIDENTS

_BOOKS_S = 20


@dataclass(frozen=True)
class Judged:
    """An outcome, how long it took, and what the records say that does not fit together, as sentences."""

    outcome: Outcome
    wall_s: float
    problems: tuple[str, ...]


async def judged(played: Played, people: People, window_s: float) -> Judged:
    """Judge what happened to one model."""
    listed = await people.incidents(played.model)
    incidents = [await people.get(f"/incidents/{each['id']}") for each in listed]
    later = [each for each in incidents if _us(each["diagnosed_at"]) >= played.onset_us]
    actions = sorted(
        (each for incident in incidents for each in incident["actions"]), key=lambda each: each["started_at"]
    )
    about = {each["id"] for each in later}
    told_us = min((_us(each["opened_at"]) for each in later), default=None)
    outcome = Outcome(
        scenario=played.scenario,
        found=said_of_the_fault(played.scenario, [each["cause"] for each in later]),
        acted=tuple(each["kind"] for each in actions if each["incident_id"] in about),
        harm=tuple(harm(played.scenario, map(_done, actions), played.bad)),
        endless=sum(each["state"] not in CLOSED_INCIDENTS for each in incidents),
        delay=None if told_us is None else (told_us - played.onset_us) / (window_s * 1e6),
    )
    problems = [each async for each in _unaudited(incidents, people)]
    problems += await _unaccounted(played, people)
    return Judged(outcome, played.wall_s, tuple(problems))


def broken(scenario: Scenario, wall_s: float, why: str) -> Judged:
    """A scenario that could not be played to its end."""
    lost = Outcome(scenario=scenario, found="not played", acted=(), harm=(), endless=1, delay=None)
    return Judged(lost, wall_s, (why,))


def _done(action: dict[str, Any]) -> Done:
    decided = any(each["name"] == "decide" for each in action["steps"])
    return Done(action["kind"], action["to_version"], decided)


def _us(moment: str | None) -> float:
    return datetime.fromisoformat(moment).timestamp() * 1e6 if moment else -1.0


async def _unaudited(incidents: Sequence[dict[str, Any]], people: People) -> AsyncGenerator[str]:
    """Whatever the API says was decided or done, and the audit log does not."""
    for incident in incidents:
        for kind in ("approvals", "actions"):
            for each in incident[kind]:
                entries = await people.audited(f"{kind[:-1]}/{each['id']}")
                if not entries:
                    yield f"{kind[:-1]} {each['id']} of {incident['id']} is not in the audit log"
                elif each["state"] == "approved" and APPROVER not in {one["actor"] for one in entries}:
                    yield f"approval {each['id']}: the audit log does not name {APPROVER}"


async def _unaccounted(played: Played, people: People) -> list[str]:
    """Events that were sent and have come to nothing."""
    sent = {"received": played.sent, "label_received": played.labels}
    books: dict[str, Any] = {}
    for _ in range(_BOOKS_S):
        books = (await people.get("/accounting"))["models"].get(played.model) or {}
        counted = {**books.get("predictions", {}), **books.get("labels", {})}
        if books.get("closes") and sent.items() <= counted.items():
            return []
        await asyncio.sleep(1.0)
    return [f"{played.model}: sent {sent}, the books say {books}"]
