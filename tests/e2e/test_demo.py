"""What `homeostat demo` must show, on the embedded stack."""

import json
import sqlite3

import httpx
import pytest
from pypdf import PdfReader

from tests.e2e.conftest import DemoRun, homeostat
from tests.patience import PATIENCE_S

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1_200)]


def test_it_ends_well(demo: DemoRun) -> None:
    assert demo.run.code == 0, demo.run.err
    assert demo.data["problems"] == []
    assert "Traceback" not in demo.run.err
    assert demo.run.out == ""


def test_both_incidents_are_found_and_end_in_recovery(demo: DemoRun) -> None:
    release, shift = demo.data["incidents"]
    assert (release["cause"], release["action"], release["outcome"]) == (
        "bad_release",
        "rollback",
        "resolved",
    )
    assert (shift["cause"], shift["action"], shift["outcome"]) == ("population_shift", "retrain", "resolved")
    for incident in (release, shift):
        for step in ("detected_s", "approved_s", "acted_s", "recovered_s"):
            assert incident[step] > 0, (incident["cause"], step)


def test_the_bad_release_is_undone_without_a_trace_in_accuracy(demo: DemoRun) -> None:
    release = demo.data["incidents"][0]
    assert min(release["rows_before"], release["rows_after"]) >= 2_000
    assert abs(release["accuracy_after"] - release["accuracy_before"]) <= 0.02
    assert release["accuracy_during"] < release["accuracy_before"] - 0.1


def test_retraining_closes_at_least_half_of_the_gap(demo: DemoRun) -> None:
    scores = demo.data["incidents"][1]["balanced_accuracy"]
    assert scores["after"] > scores["constant"]
    assert scores["after"] - scores["before"] >= 0.5 * (scores["all_data"] - scores["before"])


def test_nothing_is_lost(demo: DemoRun) -> None:
    assert demo.data["failed_requests"] == 0
    books = demo.data["accounting"]
    assert books["closes"]
    assert books["predictions"]["received"] == demo.data["predictions"]
    assert books["predictions"]["missing"] == books["labels"]["missing"] == 0


def test_everything_together_stays_below_four_gib(demo: DemoRun) -> None:
    assert 0 < demo.data["peak_memory_mib"] < 4_096


def test_the_report_is_a_pdf(demo: DemoRun) -> None:
    assert demo.data["report"].endswith(".pdf"), demo.data["report_message"]
    text = "\n".join(page.extract_text() for page in PdfReader(demo.data["report"]).pages)
    assert "odd-or-even" in text


def test_an_edit_of_the_audit_log_is_shown(demo: DemoRun, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert demo.data["audit_verified"]
    before = homeostat(demo.home, "audit", "verify", "--json")
    assert json.loads(before.out)["ok"]
    copy = tmp_path_factory.mktemp("edited") / "homeostat.db"
    with sqlite3.connect(demo.home / "homeostat.db") as source, sqlite3.connect(copy) as edited:
        source.backup(edited)
        changed = edited.execute(
            "UPDATE audit_leaves SET personal = replace(personal, 'release-manager', 'nobody')"
        )
        assert changed.rowcount
    (copy.parent / "audit").symlink_to(demo.home / "audit")
    after = homeostat(copy.parent, "audit", "verify", "--json")
    assert after.code == 1
    assert not json.loads(after.out)["ok"]


def test_the_commands_tell_the_same_story(demo: DemoRun) -> None:
    ids = {
        each["id"] for each in json.loads(homeostat(demo.home, "incidents", "list", "--json").out)["items"]
    }
    assert ids == {*(each["id"] for each in demo.data["incidents"]), *demo.data["passed"]}
    for group in ("approvals", "actions", "models", "audit"):
        listed = homeostat(demo.home, group, "list")
        assert listed.code == 0, listed.err
        assert "odd-or-even" in listed.out or group == "audit"
    assert "healthy" in homeostat(demo.home, "status").out


def test_a_second_demo_on_the_same_home_says_so(demo: DemoRun) -> None:
    second = homeostat(demo.folder, "demo")
    assert second.code == 1
    assert "already runs" in second.err
    assert "Traceback" not in second.err


def test_the_api_answers_with_problems(demo: DemoRun) -> None:
    answer = httpx.get(f"{demo.console}/api/v1/incidents/nothing", timeout=PATIENCE_S)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
