"""Who may decide: rules, quorum, freezes, and glass that is broken loudly."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from remediation.approvals import Result, decide, request
from remediation.changes import Change
from remediation.errors import PolicyInvalid
from remediation.policy import Freeze, Person, Policy, Rule
from remediation.policy_file import read_policy
from remediation.values import Desired, Incident, Plan
from tests.remediation.fake_journal import FakeJournal
from tests.remediation.fakes import Faults, ManualClock, S
from tests.remediation.world import MODEL

SUNDAY_S = 1_795_305_600  # 2026-11-22T00:00:00Z
POLICY = Policy(
    people={
        "mira": Person(roles=("approver",), slack="U1", email="mira@x"),
        "otto": Person(roles=("approver", "admin"), slack="U2"),
        "ada": Person(roles=("guest",)),
    },
    rules=(Rule(models=MODEL, roles=("approver",), quorum=2),),
    freezes=(Freeze(schedule="0 2 * * 0", lasts_h=2, reason="batch night", models=MODEL),),
    break_glass=("admin",),
)


class Desk:
    """One ticket that waits under the policy."""

    def __init__(self, policy: Policy = POLICY, now_s: int = SUNDAY_S) -> None:
        self.clock, self.policy = ManualClock(now_s * S), policy
        self.journal = FakeJournal(self.clock, Faults())
        plan = Plan(
            id="plan-1",
            incident_id="inc-1",
            action="rollback",
            model=MODEL,
            from_version="2",
            from_digest="d2",
            to_version="1",
            to_digest="d1",
            epoch=2,
        )
        self.ticket = request(plan, now_us=self.clock.now_us(), ttl_s=86_400, policy=policy)
        with self.journal.transaction() as unit:
            unit.add_incident(
                Incident(id="inc-1", model=MODEL, version="2", change_us=0, opened_us=0), actor="agent"
            )
            unit.add_plan(plan, self.ticket, actor="agent")
            serving = Desired(
                model=MODEL, version="2", digest="d2", epoch=2, decided_by="x", reason="r", at_us=0
            )
            unit.set_desired(serving, expected_epoch=0, actor="x")

    def say(self, by: str, verdict: str = "approve", channel: str = "cli", **more: object) -> Result:
        answer = decide(
            self.journal,
            self.clock,
            self.ticket.id,
            verdict,  # type: ignore[arg-type]
            by=by,
            channel=channel,
            plan_hash=self.ticket.plan_hash,
            policy=self.policy,
            **{"reason": "because", **more},  # type: ignore[arg-type]
        )
        self.sentence = answer.sentence
        return answer.result

    @property
    def state(self) -> str:
        return self.journal.state.approvals[self.ticket.id].state


def released_by(name: str, **rule: object) -> Desk:
    """A ticket about a version that `name` made serve, under a rule without self-approval."""
    rules = (Rule(models=MODEL, roles=("approver",), self_approval=False, **rule),)  # type: ignore[arg-type]
    desk = Desk(msgspec.structs.replace(POLICY, rules=rules))
    desired = desk.journal.state.desired[MODEL]
    desk.journal.state.desired[MODEL] = msgspec.structs.replace(desired, decided_by=name)
    return desk


def test_who_released_a_version_does_not_approve_what_becomes_of_it() -> None:
    desk = released_by("mira")
    assert (desk.say("mira"), desk.state) == (Result.FORBIDDEN, "pending")
    assert "mira made version 2 of" in desk.sentence
    assert "otto may" in desk.sentence
    assert (desk.say("otto"), desk.state) == (Result.DONE, "approved")


def test_who_else_may_are_those_with_the_roles_of_the_ticket() -> None:
    """A playbook's step may ask for others than the rule of the policy does."""
    desk = released_by("otto")
    ticket = msgspec.structs.replace(desk.ticket, roles=("admin",))
    desk.journal.state.approvals[ticket.id] = ticket
    assert desk.say("otto") is Result.FORBIDDEN
    assert "; nobody may. Nothing was decided." in desk.sentence


def test_who_released_a_version_may_reject_and_break_the_glass() -> None:
    assert released_by("mira").say("mira", "reject") is Result.DONE
    assert released_by("otto").say("otto", break_glass=True) is Result.DONE


def reported_by(name: str, kind: str = "release", models: str = MODEL, ago_s: int = 600) -> Desk:
    """The same, of a version that a pipeline made serve; `name` put a change on record before the illness began."""
    desk = released_by("ci")
    incident = desk.journal.state.incidents["inc-1"]
    onset_us = desk.clock.now_us() - 60 * S
    desk.journal.state.incidents["inc-1"] = msgspec.structs.replace(incident, change_us=onset_us)
    change = Change(
        id="chg-1",
        kind=kind,  # type: ignore[arg-type]
        title="3.2",
        models=models,
        starts_us=onset_us - ago_s * S,
        by=name,
        recorded_us=onset_us,
    )
    with desk.journal.transaction() as unit:
        assert unit.add_change(change)
    return desk


@pytest.mark.parametrize("name", ["mira", "mira@x"])
def test_who_reported_a_release_does_not_approve_what_becomes_of_it(name: str) -> None:
    desk = reported_by(name)
    assert (desk.say("mira"), desk.state) == (Result.FORBIDDEN, "pending")
    assert "mira reported the release '3.2'" in desk.sentence
    assert "otto may" in desk.sentence
    assert (desk.say("otto"), desk.state) == (Result.DONE, "approved")
    assert reported_by(name).say("mira", "reject") is Result.DONE


@pytest.mark.parametrize(
    "other", [{"kind": "pipeline"}, {"models": "other-*"}, {"ago_s": 7_200}], ids=["kind", "model", "time"]
)
def test_who_reported_something_else_may_approve(other: dict[str, Any]) -> None:
    assert reported_by("mira", **other).say("mira") is Result.DONE


def test_a_rule_without_self_approval_needs_one_more(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("people: {mira: {roles: [a]}}\nrules: [{roles: [a], self_approval: false}]\n")
    with pytest.raises(PolicyInvalid, match=r"rules\[0\] needs 2 people .* and there are 1: .* not always"):
        read_policy(path)


def test_it_takes_two() -> None:
    desk = Desk()
    assert (desk.say("mira"), desk.state) == (Result.DONE, "pending")
    assert "1 of 2 have approved; 1 more with one of the roles approver must" in desk.sentence
    assert (desk.say("otto"), desk.state) == (Result.DONE, "approved")
    assert desk.journal.state.approvals[desk.ticket.id].decided_by == "mira and otto"


def test_one_person_counts_once_wherever_they_say_it() -> None:
    desk = Desk()
    desk.say("mira (U1)", channel="slack", identity="U1")
    for by in ("mira", "mira@x"):
        assert desk.say(by) == Result.ALREADY
    assert desk.state == "pending"
    assert [vote.by for vote in desk.journal.state.approvals[desk.ticket.id].votes] == ["mira"]


@pytest.mark.parametrize(
    ("by", "channel", "told"),
    [
        ("eve", "cli", "nobody whom the policy knows in cli"),
        ("U1", "cli", "nobody whom"),
        ("mira", "slack", "nobody whom"),
        ("ada", "rest", "needs one of the roles approver (mira, otto)"),
    ],
)
@pytest.mark.parametrize("verdict", ["approve", "reject"])
def test_who_may_not_changes_nothing(by: str, channel: str, told: str, verdict: str) -> None:
    desk = Desk()
    assert desk.say(by, verdict, channel) == Result.FORBIDDEN
    assert told in desk.sentence
    assert desk.journal.state.approvals[desk.ticket.id] == desk.ticket


def test_one_rejection_is_enough() -> None:
    desk = Desk()
    desk.say("mira")
    assert (desk.say("otto", "reject"), desk.state) == (Result.DONE, "rejected")


def test_in_a_freeze_one_can_reject_and_not_approve() -> None:
    desk = Desk(now_s=SUNDAY_S + 3 * 3_600)
    assert desk.say("mira") == Result.FROZEN
    assert "frozen until 2026-11-22 04:00 UTC: batch night" in desk.sentence
    assert (desk.say("mira", "reject"), desk.state) == (Result.DONE, "rejected")


def test_glass_is_broken_by_who_may_with_a_reason_and_loudly() -> None:
    desk = Desk(now_s=SUNDAY_S + 3 * 3_600)
    assert desk.say("mira", break_glass=True) == Result.FORBIDDEN
    for nothing in (None, "  "):
        assert desk.say("otto", break_glass=True, reason=nothing) == Result.FORBIDDEN
        assert "needs a reason" in desk.sentence
    assert (desk.say("otto", break_glass=True), desk.state) == (Result.DONE, "approved")
    assert "by otto (cli) by breaking the glass: because" in desk.sentence
    assert desk.journal.state.approvals[desk.ticket.id].broken_glass


def test_without_people_everybody_decides_alone() -> None:
    desk = Desk(Policy())
    assert (desk.say("anybody"), desk.state) == (Result.DONE, "approved")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("people: {mira: {role: [a]}}", "unknown field `role`"),
        ("rules: [{quorum: 0}]", ">= 1"),
        ("rules: [{roles: [a]}]", "rules need people"),
        ("people: {mira: {roles: [a]}}\nrules: [{roles: [a], quorum: 2}]", "needs 2 people.*there are 1"),
        ("people: {mira: {}}\nfreezes: [{schedule: never, lasts_h: 1, reason: x}]", "five fields"),
        ("people: {a: {slack: U1}, b: {slack: U1}}", "two people have the Slack id U1"),
        ("people: {mira: {}, agent: {}}", "people.agent: agent is the name in which Homeostat signs"),
        ("people: {mira: {email: API}}", "people.mira.email: API is the name in which Homeostat signs"),
        ("people: [", "YAML|expected"),
        ("", "is empty.*everybody"),
        ("# people: {mira: {}}\n", "is empty.*everybody"),
        (
            "people: {mira: {}}\nrules: []\npeople: {otto: {}}",
            "line 3, people stands there twice, first in line 1",
        ),
        (
            "people: {mira: {}}\nrules:\n  - {quorum: 1, quorum: 1}",
            "line 3, rules.0..quorum stands there twice",
        ),
    ],
)
def test_a_policy_that_could_never_work_is_refused(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(text)
    with pytest.raises(PolicyInvalid, match=told):
        read_policy(file)


def test_everything_that_is_wrong_is_told_at_once_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(
        """
people:
  mira: {roles: [approver], slak: U1}
  otto:
    roles: approver
rules:
  - {models: "*", actions: [rolback, retrain], quorum: 0}
  - models: "a*"
    quorm: 2
freezes:
  - {schedule: "0 18 * * 5", lasts_h: 9999}
channels:
  - {name: mail, kind: emial, to: [a@b.c]}
  - {name: ERP, kind: webhook, url: "https://erp.example.com", secret_env: "no name"}
limits:
  at_once: none
"""
    )
    with pytest.raises(PolicyInvalid) as refused:
        read_policy(file)
    told = str(refused.value)
    for expected in (
        "line 3, people.mira: Object contains unknown field `slak`; did you mean 'slack'?",
        "line 5, people.otto.roles is 'approver': Expected `array`, got `str`",
        "line 7, rules[0].actions[0] is 'rolback': Invalid enum value 'rolback'; did you mean 'rollback'?",
        "line 7, rules[0].quorum is 0: Expected `int` >= 1",
        "line 9, rules[1]: Object contains unknown field `quorm`; did you mean 'quorum'?",
        "line 11, freezes[0]: Object missing required field `reason`",
        "line 11, freezes[0].lasts_h is 9999: Expected `float` <= 8784",
        "line 13, channels[0].kind is 'emial': Invalid value 'emial'; did you mean 'email'?",
        "line 14, channels[1].name is 'ERP'",
        "line 14, channels[1].secret_env: Expected the name of an environment variable",
        "line 16, limits.at_once is 'none': Expected `int`, got `str`",
    ):
        assert expected in told, told
    assert [line.startswith(f"{file}: line ") for line in told.splitlines()] == [True] * 11
    file.write_text(
        """
people:
  mira: {roles: [approver]}
rules:
  - {roles: [aprover]}
operators: [admin]
escalation:
  - {after_min: 5, people: [mria]}
on_call: {people: [tom], starts: 2026-11-23T08:00:00Z}
"""
    )
    with pytest.raises(PolicyInvalid) as refused:
        read_policy(file)
    told = str(refused.value)
    for expected in (
        "line 5, rules[0] needs 1 people with one of the roles aprover",
        "did you mean 'approver'?",
        "line 6, operators names the roles admin, which nobody in people has",
        "line 8, escalation[0] names 'mria', who is not in people; did you mean 'mira'?",
        "line 9, on_call names 'tom', who is not in people (there are: mira)",
    ):
        assert expected in told, told


def test_the_policy_of_the_documentation_is_one(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "approvals.md").read_text()
    file = tmp_path / "policy.yaml"
    file.write_text(text.split("```yaml\n")[1].split("```")[0])
    policy = read_policy(file)
    assert msgspec.structs.replace(policy.rules[0]) == Rule(models="credit-*", roles=("risk",), quorum=2)
    with pytest.raises(PolicyInvalid, match="cannot be read"):
        read_policy(tmp_path / "away.yaml")
