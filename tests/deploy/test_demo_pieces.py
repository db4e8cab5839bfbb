"""The demo's own parts: the summary, the traffic, the numbers."""

import asyncio
import io
from collections.abc import Callable

import numpy as np
import pandas as pd
import uvicorn
from fastapi import FastAPI, Request, Response
from rich.console import Console

from deploy.demo.numbers import accuracy, seconds_between
from deploy.demo.result import DemoResult, IncidentResult, print_summary
from deploy.demo.story import still_ill
from deploy.demo.traffic import Answer, Traffic, World
from deploy.stack.ports import pick_free_port
from remediation.values import ModelVersion
from tests.patience import PATIENCE_S

ISSUE_KEYS = {"cause", "detected_s", "approved_s", "acted_s", "recovered_s", "outcome"} | {
    f"accuracy_{when}" for when in ("before", "during", "after")
}


def result() -> DemoResult:
    """A run in which everything went well."""
    found = IncidentResult(
        id="inc-1", fault="bad release", cause="bad_release", outcome="resolved", outcome_text="fine"
    )
    found.detected_s, found.accuracy_before, found.balanced_accuracy = (
        3.2,
        0.961,
        {"before": 0.8, "after": 0.9},
    )
    return DemoResult(
        seed=1,
        data="patients",
        faults=True,
        incidents=[found],
        accounting={"closes": True},
        audit_verified=True,
    )


def test_the_json_has_the_promised_keys() -> None:
    data = result().as_data()
    assert data.keys() >= {"incidents", "failed_requests", "audit_verified", "accounting", "report"}
    assert data["incidents"][0].keys() >= ISSUE_KEYS


def test_the_summary_tells_what_happened() -> None:
    page = io.StringIO()
    print_summary(result(), Console(file=page, width=140), kept=False)
    text = page.getvalue()
    for words in (
        "Bad release",
        "3.2 s",
        "96.1%",
        "resolved",
        "balanced accuracy",
        "homeostat demo --approve",
    ):
        assert words in text


def test_in_a_narrow_terminal_no_word_of_the_summary_is_cut_and_its_paths_can_be_copied() -> None:
    page, both = io.StringIO(), result()
    second = IncidentResult(
        id="inc-2",
        fault="the world moves",
        cause="population_shift",
        outcome="escalated",
        outcome_text="fine",
    )
    both.incidents, both.home, both.report = (
        [*both.incidents, second],
        "/a/home",
        f"/{'long/' * 20}report.pdf",
    )
    print_summary(both, Console(file=page, width=80), kept=True)
    text = page.getvalue()
    assert "…" not in text
    for words in (
        "detected after",
        "Population shift",
        "escalated",
        both.report,
        "--home /a/home audit list",
    ):
        assert words in text


def test_the_summary_does_not_hide_problems() -> None:
    bad = result()
    bad.problems, bad.audit_verified, bad.accounting = ["Something was lost."], False, {"closes": False}
    page = io.StringIO()
    print_summary(bad, Console(file=page, width=140), kept=True)
    assert "Something was lost." in page.getvalue()
    assert "NO" in page.getvalue()


def test_a_bad_release_that_a_person_has_left_is_told() -> None:
    second = ModelVersion(model="heart", version="2", digest="d2")
    (found,) = result().incidents
    assert still_ill([found], second, "1") is None
    found.outcome = "rejected"
    told = still_ill([found], second, "2")
    assert told == (
        "Version 2 is still ill because you rejected its rollback (inc-1), so the world is not moved."
    )
    assert still_ill([found], second, "3") is None
    found.outcome = "expired"
    assert "nobody decided" in (still_ill([found], second, "2") or "")


def test_numbers() -> None:
    right, wrong = (Answer(0.0, "w", 1, "1", 1, label) for label in (1, 0))
    assert accuracy([right, right, right, wrong]) == 0.75
    assert accuracy([]) is None
    assert seconds_between("2026-01-01T00:00:00+00:00", "2026-01-01T00:00:02.500000+00:00") == 2.5
    assert seconds_between(None, "2026-01-01T00:00:00Z") is None


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a real server."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            if condition():
                return
            await asyncio.sleep(0.01)


async def test_traffic_counts_answers_failures_and_every_label() -> None:
    world = World("w", pd.DataFrame({"a": [1.0, np.nan]}), np.array([1, 0]))
    app, asked, labels = FastAPI(), [], []

    @app.post("/v1/models/m/predict")
    async def predict(request: Request) -> object:
        instances = (await request.json())["instances"]
        asked.append(instances)
        if len(asked) == 2:
            return Response(status_code=500)
        return {"version": "1", "predictions": [{"id": each["id"], "prediction": 1} for each in instances]}

    async def keep(rows: list[dict[str, object]]) -> None:
        labels.extend(rows)

    port = pick_free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error"))
    serving = asyncio.create_task(server.serve())
    stop = asyncio.Event()
    traffic = Traffic(
        f"http://127.0.0.1:{port}",
        "m",
        world,
        keep,
        seed=3,
        requests_per_s=50,
        instances_per_request=4,
        label_delay_s=0.05,
    )
    await until(lambda: server.started)
    running = asyncio.create_task(traffic.run(stop))
    await until(lambda: traffic.tally.requests >= 10)
    stop.set()
    await running
    server.should_exit = True
    await serving
    tally = traffic.tally
    assert tally.requests == len(asked)
    assert len(tally.answers) + 4 * len(tally.failures) == 4 * tally.requests
    assert tally.labels_sent == len(labels) == len(tally.answers)
    assert len({row["id"] for row in labels}) == len(labels)
    assert {each["features"]["a"] for each in asked[0]} <= {1.0, None}
