"""The limits on real databases: whoever starts at the same time, none is exceeded."""

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from sqlalchemy import Engine

from db.journal import SqlJournal
from remediation import actions
from remediation.approvals import request
from remediation.clock import SystemClock
from remediation.limits import Limits, start
from remediation.policy import Policy
from remediation.switches import PAUSE
from remediation.turning import turn as turn_by_policy
from remediation.values import Incident, Plan
from tests.patience import PATIENCE_S

turn = partial(turn_by_policy, policy=Policy(), channel="cli")

AGENTS = 8


def _plan(number: int, model: str) -> Plan:
    return Plan(
        id=f"plan-{number}",
        incident_id=f"inc-{number}",
        action="rollback",
        model=model,
        from_version="2",
        from_digest="d2",
        to_version="1",
        to_digest="d1",
        epoch=1,
    )


@pytest.mark.parametrize(("models", "limits", "started"), [(8, Limits(at_once=3), 3), (1, Limits(), 1)])
def test_of_many_that_start_at_once_only_so_many_do(
    engine: Engine, models: int, limits: Limits, started: int
) -> None:
    journal, together = SqlJournal(engine, SystemClock()), threading.Barrier(AGENTS)
    plans = [_plan(number, f"model-{number % models}") for number in range(AGENTS)]
    with journal.transaction() as unit:
        for plan in plans:
            incident = Incident(id=plan.incident_id, model=plan.model, version="2", change_us=1, opened_us=2)
            unit.add_incident(incident, actor="agent")
            unit.add_plan(plan, request(plan, now_us=3, ttl_s=60), actor="agent")

    def attempt(plan: Plan) -> bool:
        together.wait(PATIENCE_S)
        with journal.transaction() as unit:
            action = actions.new_action(plan, now_us=SystemClock().now_us())
            return start(unit, plan, action, limits, actor="agent") is None

    with ThreadPoolExecutor(AGENTS) as pool:
        assert sum(pool.map(attempt, plans)) == started
    with journal.reading() as unit:
        assert len(unit.actions(states=actions.RUNNING)) == started


def test_a_pause_survives_and_the_last_turn_counts(engine: Engine) -> None:
    journal = SqlJournal(engine, SystemClock())
    turn(journal, SystemClock(), PAUSE, on=True, by="mira", reason="a move")
    turn(journal, SystemClock(), PAUSE, on=False, by="otto", reason="over")
    again = turn(journal, SystemClock(), PAUSE, on=True, by="ada", reason="a second move")
    with SqlJournal(engine, SystemClock()).reading() as unit:
        assert unit.switch(PAUSE) == again
