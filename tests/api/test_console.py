"""The console's pages as a browser without scripts reads them, and its stream of events."""

import threading
from collections.abc import Iterator
from contextlib import closing

import httpx
import pytest

from remediation.approvals import decide
from serving.console import add_console
from tests.api.api_world import World
from tests.api.conftest import Serve
from tests.patience import PATIENCE_S


@pytest.fixture
def console(world: World, serve: Serve) -> Iterator[httpx.Client]:
    """A client of the console of a world that is empty at first."""
    app = world.app()
    add_console(app, world.services())
    with serve(app) as url, httpx.Client(base_url=url, timeout=PATIENCE_S) as client:
        yield client


@pytest.mark.parametrize("page", ["/", "/incidents", "/audit"])
def test_pages_say_that_nothing_is_there(console: httpx.Client, page: str) -> None:
    answer = console.get(page)
    assert answer.status_code == 200
    assert 'class="empty"' in answer.text
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "set-cookie" not in answer.headers


def test_the_overview_shows_what_a_person_needs_to_decide(console: httpx.Client, world: World) -> None:
    plan = world.fall_ill()
    page = console.get("/").text
    for needed in (
        "Roll back credit-risk from version 2 to 1",
        "69.4 %",
        plan.blast_radius,
        plan.undo,
        plan.hash[:12],
        "homeostat approvals approve apr-1-1",
        'role="img" aria-label="Accuracy is 70.2 %',
        "◆ breach",
    ):
        assert needed in page, needed
    assert "inputs &lt;b&gt;did not&lt;/b&gt; drift" in page
    assert "<script>" not in page
    assert " style=" not in page


def test_the_incident_page_tells_the_whole_story(console: httpx.Client, world: World) -> None:
    plan = world.fall_ill()
    world.act(plan)
    page = console.get("/incidents/inc-1").text
    for needed in (
        plan.hash,
        "Bad release",
        "Population shift",
        "acknowledge",
        "the drop began 8 s after the release",
    ):
        assert needed in page, needed


@pytest.mark.parametrize("path", ["/incidents/nobody", "/incidents/%3Cscript%3E", "/incidents/a%00b"])
def test_a_page_that_is_not_there_is_told_as_a_page(console: httpx.Client, path: str) -> None:
    answer = console.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "<script>" not in answer.text


def test_filters_that_were_left_empty_filter_nothing(console: httpx.Client, world: World) -> None:
    world.fall_ill()
    assert "inc-1" in console.get("/incidents?state=&model=").text
    assert "inc-1" not in console.get("/incidents?state=resolved").text
    assert "model.desired" not in console.get("/audit?actor=agent&action=&subject=").text


def test_the_audit_page_goes_on_to_older_entries(console: httpx.Client, world: World) -> None:
    with world.journal.transaction() as unit:
        for number in range(101):
            unit.audit(actor="test", action="test.done", subject=f"test/{number}", detail={})
    world.sequence()
    first = console.get("/audit")
    assert "test/100" in first.text
    assert "test/0<" not in first.text
    assert "test/0<" in console.get("/audit?before=1").text
    assert "before=1" in first.text


def test_a_lost_database_is_told_as_a_page(console: httpx.Client, world: World) -> None:
    world.engine.dispose()
    for name in world.folder.parent.glob("homeostat.db*"):
        name.unlink()
    answer = console.get("/")
    assert (answer.status_code, answer.headers["content-type"]) == (503, "text/html; charset=utf-8")


def test_events_go_on_where_a_page_was_and_tell_each_thing_once(console: httpx.Client, world: World) -> None:
    plan = world.fall_ill()
    events = _read(console, world, plan.hash, headers={"Last-Event-ID": "4"})
    moments = [data for kind, data in events if kind == "moment"]
    assert any("Approved by mira (rest)" in each for each in moments)
    assert not any("Plan proposed" in each for each in moments), "the page had that already"
    assert len(moments) == len(set(moments))
    assert ("changed", "") in events


def test_what_changed_between_a_page_and_its_stream_is_told(console: httpx.Client, world: World) -> None:
    assert console.get("/").status_code == 200
    world.fall_ill()
    first: list[str] = []
    with console.stream("GET", "/console/events") as answer, closing(answer):
        for line in answer.iter_lines():
            if line.startswith("event: "):
                first.append(line[7:])
            if first[-1:] == ["beat"]:
                break
    assert "changed" in first


def _read(
    client: httpx.Client, world: World, plan_hash: str, headers: dict[str, str]
) -> list[tuple[str, str]]:
    """The events until the approval of the ticket is told; it is given when the stream has begun."""

    def approve() -> None:
        decide(
            world.journal,
            world.clock,
            "apr-1-1",
            "approve",
            by="mira",
            reason=None,
            channel="rest",
            plan_hash=plan_hash,
        )
        world.sequence()

    found: list[tuple[str, str]] = []
    with client.stream("GET", "/console/events", headers=headers) as answer, closing(answer):
        assert answer.headers["content-type"].startswith("text/event-stream")
        kind, data = "", []
        deciding = threading.Thread(target=approve)
        for line in answer.iter_lines():
            if line.startswith("event: "):
                kind, data = line[7:], []
            elif line.startswith("data: "):
                data.append(line[6:])
            elif not line and kind:
                found.append((kind, "\n".join(data)))
                if kind == "beat" and not deciding.is_alive():
                    deciding.start()
                kind = ""
            if ("changed", "") in found and any("Approved by" in told for _, told in found):
                break
        deciding.join()
    return found


def test_an_open_stream_does_not_keep_the_server_from_stopping(
    world: World, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    app = world.app()
    add_console(app, world.services())
    with httpx.Client(timeout=PATIENCE_S) as client:
        with serve(app) as url:
            stream = client.send(client.build_request("GET", f"{url}/console/events"), stream=True)
            lines = stream.iter_lines()
            assert next(lines) == "retry: 2000"
        assert "" in list(lines), "the stream ended as streams end"
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
