"""How surely a recovery is proven: as the step says, else as the policy does; an approval is bound to it."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from remediation.config import VerificationConfig
from remediation.errors import PlaybooksInvalid
from remediation.outcomes import Period, Tally
from remediation.playbooks.files import parse_playbooks
from remediation.playbooks.lint import lint
from remediation.playbooks.planner import next_step
from remediation.playbooks.proposal import Proposal
from remediation.policy import Policy
from remediation.policy_file import read_policy
from remediation.proof import Proof
from remediation.proving import required
from remediation.values import Plan
from remediation.verification import Observed, Segment, verify
from tests.remediation.facts import VERSIONS, config, facts


def _plan(step: str, policy: Policy | None = None) -> Plan:
    text = f"playbooks: [{{name: p, steps: [{step}]}}]"
    found = next_step(facts(), (), VERSIONS, config=config(text, policy=policy or Policy()))
    assert isinstance(found, Proposal), found
    return found.plan


def _required(plan: Plan, **more: Any) -> VerificationConfig:
    return required(plan, config(**more))


def test_a_step_says_how_surely_and_its_plan_is_bound_to_it() -> None:
    usual = _plan("{action: rollback}")
    plan = _plan("{action: rollback, verify: {within_s: 900, false_pass: 0.001, at_least_rows: 500}}")
    assert "verify" not in usual.parameters
    assert plan.parameters["verify"] == {"within_s": 900.0, "false_pass": 0.001, "at_least_rows": 500}
    assert plan.hash != usual.hash
    found = _required(plan)
    assert (found.limit_s, found.limit_windows, found.false_pass, found.rows) == (900, 0, 0.001, 500)
    assert found.false_fail == VerificationConfig().false_fail
    assert _required(usual) == VerificationConfig()


def test_the_policy_says_it_for_every_step_that_does_not() -> None:
    policy = Policy(verification=Proof(tolerance=0.02, within_s=600))
    plan = _plan("{action: rollback, verify: {within_s: 60}}", policy)
    assert plan.parameters["verify"] == {"within_s": 60.0, "tolerance": 0.02}
    assert _plan("{action: rollback}", policy).parameters["verify"] == {"within_s": 600.0, "tolerance": 0.02}
    assert _plan("{action: rollback, verify: false}", policy).parameters["verify"] is False
    assert "verify" not in _plan("{action: raise_log_detail}", policy).parameters
    assert _plan("{action: raise_log_detail, verify: {}}").parameters["verify"] is True
    assert required(None, config(policy=policy)).tolerance == 0.02
    kept = _required(plan, policy=Policy(verification=Proof(tolerance=0.5)))
    assert kept.tolerance == 0.02


def test_a_policy_file_names_it(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text("verification: {within_s: 600, at_least_rows: 200}")
    assert read_policy(file).verification == Proof(within_s=600, at_least_rows=200)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("{false_pass: 0.7}", "0.7"),
        ("{within: 60}", "within"),
        ("{at_least_rows: 0}", "0"),
        ("maybe", "maybe"),
    ],
)
def test_what_cannot_be_meant_is_told(said: str, told: str) -> None:
    text = f"playbooks: [{{name: p, steps: [{{action: rollback, verify: {said}}}]}}]"
    with pytest.raises(PlaybooksInvalid, match="verify") as refused:
        parse_playbooks(text.encode(), "p.yaml")
    assert told in str(refused.value)


def test_lint_asks_what_a_proof_after_a_mere_notice_is_meant_for() -> None:
    text = b"playbooks: [{name: p, match: {causes: [unknown]}, steps: [{action: open_issue, verify: {within_s: 60}}]}]"
    found = lint(parse_playbooks(text, "p.yaml"), policy=Policy())
    assert [each.level for each in found] == ["warning"]
    assert "changes nothing that could recover" in found[0].text


def test_fewer_rows_than_are_asked_for_do_not_pass() -> None:
    def tally(rows: int, right: float) -> Period:
        total = rows * right
        return Period(
            windows=3, tallies={"accuracy": Tally(rows=rows, total=total, squares=total)}, expected={}
        )

    seen = Segment(name="all", before=tally(5_000, 0.95), ill=tally(5_000, 0.7), since=tally(300, 0.95))
    observed = Observed(version="2", ill_version="1", since_us=0, segments=(seen,), signals=(), alerts=())
    assert verify(observed, VerificationConfig()).outcome == "pass"
    found = verify(observed, VerificationConfig(rows=301))
    assert (found.outcome, "300 of 301 rows that are asked for" in found.sentence) == ("inconclusive", True)
    worse = msgspec.structs.replace(seen, since=tally(300, 0.7))
    assert (
        verify(msgspec.structs.replace(observed, segments=(worse,)), VerificationConfig(rows=301)).outcome
        == "fail"
    )
