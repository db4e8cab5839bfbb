"""Playbooks over REST, and every kind of plan in one sentence."""

from typing import Any

import httpx
import pytest

from remediation.playbooks.files import parse_playbooks
from remediation.playbooks.planner import next_step
from remediation.playbooks.proposal import Proposal
from serving import words
from tests.api.api_world import World
from tests.api.conftest import Serve
from tests.patience import PATIENCE_S
from tests.remediation.facts import MODEL, VERSIONS, config, facts
from tests.remediation.test_playbooks_planner import one

TEXT = b"""
playbooks:
  - {name: mine, match: {models: "credit*"}, steps: [{action: fall_back, constant: 0}]}
autonomy: {"credit*": observe}
"""


def test_what_is_in_force_is_told_in_the_order_in_which_it_is_asked(world: World, serve: Serve) -> None:
    world.playbooks = parse_playbooks(TEXT, "mine.yaml")
    with serve(world.app()) as url:
        answer = httpx.get(f"{url}/api/v1/playbooks", timeout=PATIENCE_S).json()
    first, second = answer["playbooks"][:2]
    assert (first["name"], first["built_in"], first["match"]) == ("mine", False, {"models": "credit*"})
    assert first["steps"] == [{"action": "fall_back", "constant": 0.0}]
    assert (second["name"], second["built_in"]) == ("bad release (built in)", True)
    assert answer["autonomy"] == {"credit*": "observe"}


def test_a_plan_tells_its_playbook(client: httpx.Client, ill: World) -> None:
    plan = client.get("/api/v1/incidents/inc-1").json()["plans"][0]
    assert (plan["playbook"], plan["step"], plan["risky"]) == ("", 0, True)


@pytest.mark.parametrize(
    ("step", "told"),
    [
        ("{action: rollback}", "Roll back cancer from version 3 to 2"),
        ("{action: retrain}", "Retrain cancer and replace version 3 if the candidate is better"),
        ("{action: promote, to: 4}", "Promote version 4 of cancer instead of 3"),
        (
            "{action: shift_traffic, to: 4, shares: [0.1, 1]}",
            "Send 10 %, then 100 % of cancer's requests to version 4 instead of 3",
        ),
        ("{action: shadow, to: 4}", "Let version 4 score cancer's requests beside version 3"),
        ("{action: fall_back, to: last_good}", "Fall back to version 2 of cancer instead of 3"),
        (
            "{action: fall_back, constant: 0.5}",
            "Answer every request of cancer with 0.5 instead of version 3",
        ),
        (
            "{action: quarantine_feature, features: [x], impute: missing}",
            "Quarantine in cancer: replace x by nothing before version 3 scores",
        ),
        ("{action: pause_model}", "Pause cancer: refuse every request"),
        ("{action: raise_log_detail}", "Log each request of cancer in full"),
        ("{action: scale_replicas, replicas: 4}", "Run 4 servers of cancer"),
        ("{action: refresh_reference, reason: r}", "Compare version 3 of cancer with what comes from now on"),
        ("{action: open_issue, url_env: ISSUES}", "Open an issue about cancer version 3"),
        ("{action: http_call, url_env: ISSUES}", "Call the address in ISSUES about cancer version 3"),
        ("{action: run_command, argv: [make, again]}", "Run `make again` for cancer version 3"),
    ],
)
def test_every_kind_of_plan_is_told_in_one_sentence(step: str, told: str) -> None:
    found: Any = next_step(facts(), (), VERSIONS, config=config(one(step)))
    assert isinstance(found, Proposal)
    assert words.headline(found.plan) == told
    assert found.plan.model == MODEL
