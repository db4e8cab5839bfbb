"""A policy that does not know the demo's people stops it before anything is started, and says what to do."""

from pathlib import Path

import httpx
import pytest

from deploy.cli.client import problem
from deploy.demo.entitlement import refuse_policy
from deploy.demo.options import DemoOptions
from deploy.demo.run import run_demo
from deploy.errors import UserError
from deploy.settings import Settings

BOTH = "people: {release-manager: {roles: [ops]}, demo: {roles: [ops]}, mira: {roles: [risk]}}\n"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The policy of this home."""
    file = tmp_path / "policy.yaml"
    monkeypatch.setenv("HOMEOSTAT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HOMEOSTAT_POLICY", str(file))
    return file


async def test_a_policy_that_knows_others_stops_the_demo_before_anything_starts(file: Path) -> None:
    file.write_text("people: {mira: {roles: [ops]}}\n")
    with pytest.raises(UserError) as caught:
        await run_demo(DemoOptions(), Settings())
    told = str(caught.value)
    assert "release-manager is nobody whom the policy knows" in told
    assert "In the demo release-manager promotes odd-or-even, and demo alone approves its plans" in told
    assert "Run it without HOMEOSTAT_POLICY, or with a copy of the file that lets them." in told
    assert "{" not in told
    assert not (file.parent / "home").exists()


@pytest.mark.parametrize(
    ("text", "approve", "told"),
    [
        (BOTH, False, None),
        (BOTH + "rules: [{actions: [promote], roles: [risk]}]\n", True, "may not promote m: it needs"),
        (BOTH + "rules: [{actions: [retrain], roles: [risk]}]\n", False, "demo has none of the roles risk"),
        (BOTH + "rules: [{actions: [retrain], roles: [risk]}]\n", True, None),
        (BOTH + "rules: [{actions: [rollback], quorum: 2}]\n", False, "a rollback of m takes 2 people"),
        ("people: {release-manager: {roles: [ops]}}\n", False, "demo is nobody whom the policy knows"),
        ("people: {release-manager: {roles: [ops]}}\n", True, None),
        ('freezes: [{schedule: "* * * * *", lasts_h: 1, reason: year end}]\n', True, "m is frozen until"),
    ],
)
def test_the_demo_says_what_the_policy_forbids(
    file: Path, text: str, approve: bool, told: str | None
) -> None:
    file.write_text(text)
    if told is None:
        refuse_policy(Settings(), "m", approve=approve)
        return
    with pytest.raises(UserError, match=told):
        refuse_policy(Settings(), "m", approve=approve)


def test_a_refusal_is_told_in_words() -> None:
    kind = {"content-type": "application/problem+json"}
    answer = httpx.Response(
        403, headers=kind, json={"title": "Forbidden", "detail": "Not you.", "status": 403}
    )
    assert problem(answer) == "Not you."
