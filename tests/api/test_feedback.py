"""What a person says about an incident: through the API and the command, on record, made known, and taken back."""

import asyncio
import os
import subprocess
import sys

import httpx
import msgspec
import pytest

from db.audit.keeping import Keeper
from db.engine import reading
from detectors.sequential.hearing import Saying, Statement
from remediation.feedback import give_feedback
from remediation.silences import Link
from tests.api.api_world import MODEL, START_US, World, alert
from tests.api.conftest import Serve

SECOND_US = 1_000_000


def say(client: httpx.Client, said: Saying, incident: str = "inc-1", **more: str) -> httpx.Response:
    return client.post(f"/api/v1/incidents/{incident}/feedback", json={"said": said, "by": "mira", **more})


def test_what_was_said_reaches_the_judge_and_the_record(client: httpx.Client, ill: World) -> None:
    answer = say(client, "expected", why="a campaign")
    assert answer.status_code == 200
    (told,) = ill.told
    assert (told.model, told.version, told.axis, told.kind) == (MODEL, "2", "label", "performance")
    assert (told.said, told.about, told.by, told.why) == ("expected", "alert-1", "mira", "a campaign")
    assert told.after_us == START_US - 60 * SECOND_US, "heard after the window of the alert"
    assert [one["id"] for one in answer.json()] == [told.id]
    ill.sequence()
    timeline = client.get("/api/v1/incidents/inc-1").json()["timeline"]
    (entry,) = [one for one in timeline if one["what"] == "incident.feedback"]
    assert (entry["actor"], entry["detail"]["said"], entry["detail"]["why"]) == (
        "mira",
        "expected",
        "a campaign",
    )


def test_what_was_said_can_be_redacted_and_taken_back_all_the_same(client: httpx.Client, ill: World) -> None:
    say(client, "expected", why="tamara is on leave")
    ill.sequence()
    with ill.journal.reading() as unit:
        (entry,) = unit.audit_entries(action="incident.feedback")
        (intent,) = unit.audit_entries(action="incident.feedback_intended")
    assert entry.index is not None
    assert intent.index is not None
    keeper = Keeper(ill.engine, ill.folder)
    for index in (entry.index, intent.index):
        keeper.redact(index, ["actor", "detail.why"], at_us=START_US, actor="dpo", reason="art. 17")
    with reading(ill.engine) as connection:
        everything = str(connection.exec_driver_sql("SELECT * FROM audit_leaves").all())
    assert "tamara" not in everything
    assert say(client, "taken back").status_code == 200
    assert ill.told[-1].about == ill.told[0].id


def test_who_was_to_be_heard_is_on_record_also_where_the_process_died_over_it(
    client: httpx.Client, ill: World
) -> None:
    async def dies(statement: Statement) -> None:
        await ill.tell(statement)
        raise SystemError("killed after the judge had it")

    with pytest.raises(SystemError):
        asyncio.run(
            give_feedback(
                ill.journal, dies, ill.clock, incident_id="inc-1", said="expected", by="mira", why="leave"
            )
        )
    ill.sequence()
    newest = client.get("/api/v1/audit", params={"subject": "incident/inc-1"}).json()["items"][0]
    assert (newest["action"], newest["actor"]) == ("incident.feedback_intended", "mira")
    assert (newest["detail"]["said"], newest["detail"]["why"]) == ("expected", "leave")


def test_the_last_statement_is_taken_back_first(client: httpx.Client, ill: World) -> None:
    for said in ("false alarm", "new normal", "taken back", "taken back"):
        assert say(client, said).status_code == 200
        ill.sequence()
    first, second, *undone = ill.told
    assert [(one.said, one.about) for one in undone] == [("taken back", second.id), ("taken back", first.id)]
    assert len({one.id for one in ill.told}) == 4
    refused = say(client, "taken back")
    assert refused.status_code == 409
    assert "is left to be taken back" in refused.json()["detail"]
    assert say(client, "false alarm").status_code == 200
    assert len({one.id for one in ill.told}) == 5, (
        "said again after it was taken back, it is another statement"
    )


def test_what_is_said_twice_at_once_is_one_statement(client: httpx.Client, ill: World) -> None:
    say(client, "expected")
    say(client, "expected")
    assert len({one.id for one in ill.told}) == 1


@pytest.mark.parametrize(
    ("incident", "said", "status"), [("inc-9", "expected", 404), ("inc-1", "nonsense", 422)]
)
def test_what_cannot_be_is_refused(client: httpx.Client, incident: str, said: Saying, status: int) -> None:
    assert say(client, said, incident).status_code == status


def test_nothing_is_said_about_what_is_over(client: httpx.Client, ill: World) -> None:
    over = msgspec.structs.replace(alert(2, START_US), state="cleared")
    with ill.journal.transaction() as unit:
        unit.link_alerts([Link(alert=over, incident_id="inc-1")])
    answer = say(client, "expected")
    assert answer.status_code == 409
    assert "none of its alerts still fires of incident inc-1" in answer.json()["detail"]


def test_the_command_says_it(ill: World, serve: Serve) -> None:
    with serve(ill.app()) as url:
        done, unclear = (
            subprocess.run(
                [sys.executable, "-m", "deploy.cli", "incidents", "feedback", "inc-1", *options],
                env=os.environ | {"HOMEOSTAT_API_URL": url},
                capture_output=True,
                text=True,
            )
            for options in (["--new-normal", "--by", "ada"], ["--undo", "--expected"])
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        "credit-risk version 2, performance: new normal. It takes effect with the next window.\n"
    )
    assert [(one.said, one.by) for one in ill.told] == [("new normal", "ada")]
    assert unclear.returncode == 2


def test_the_true_cause_is_put_on_record(client: httpx.Client, ill: World) -> None:
    body = {"cause": "label_problem", "by": "mira", "why": "the export had the classes swapped"}
    answer = client.post("/api/v1/incidents/inc-1/cause", json=body)
    assert (answer.status_code, answer.json()["id"]) == (200, "inc-1")
    ill.sequence()
    timeline = client.get("/api/v1/incidents/inc-1").json()["timeline"]
    (entry,) = [one for one in timeline if one["what"] == "incident.cause"]
    assert (entry["actor"], entry["detail"]["cause"]) == ("mira", "label_problem")
    assert client.post("/api/v1/incidents/nothing/cause", json=body).status_code == 404
    assert client.post("/api/v1/incidents/inc-1/cause", json=body | {"cause": "moon"}).status_code == 422
