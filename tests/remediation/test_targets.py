"""Which version is safe to go back to, and what comes in now."""

from typing import Any

import msgspec

from detectors.reference import FeatureReference, Reference
from detectors.values import FeatureSpec
from remediation.errors import Unusable
from remediation.looks import Looks
from remediation.targets import flaw, rollback_target
from remediation.values import Plan, Signed
from tests.remediation.facts import VERSIONS, facts, points
from tests.remediation.fakes import ManualClock, S
from tests.remediation.world import MODEL, World, point


def _target(**more: Any) -> tuple[str | None, str]:
    known = facts(points=points("1", "2"), **more)
    found, reasons = rollback_target(known, VERSIONS["3"], VERSIONS)
    return (found.version if found else None), "; ".join(reasons)


def test_what_has_no_value_in_todays_traffic_cannot_be_asked_for() -> None:
    assert _target()[0] == "2"
    assert _target(gone=frozenset({"chol"})) == (
        None,
        "version 2: it needs chol, which has no value in today's traffic; "
        "version 1: it needs chol, which has no value in today's traffic",
    )
    assert _target(gone=frozenset({"other"}))[0] == "2"


def test_a_version_whose_files_cannot_be_used_is_passed_over() -> None:
    found, why = _target(unsound={"2": "its file is gone"})
    assert found == "1"
    assert "version 2: its file is gone" in why


def test_a_version_whose_signature_is_refused_is_passed_over() -> None:
    bad = Signed(state="wrong", refused=True, why="the key 0f3a91c2 that signed it was revoked (stolen)")
    versions = {**VERSIONS, "2": msgspec.structs.replace(VERSIONS["2"], signature=bad)}
    found, reasons = rollback_target(facts(points=points("1", "2")), VERSIONS["3"], versions)
    assert found is not None
    assert found.version == "1"
    assert (
        reasons[0]
        == "version 2: its signature forbids it: the key 0f3a91c2 that signed it was revoked (stolen)"
    )


async def test_a_ticket_says_who_vouches_and_a_key_revoked_meanwhile_stops_the_plan() -> None:
    world = World()
    opening = await world.bad_release()
    known = world.registry.entries[MODEL, "1"]

    def signed(signature: Signed) -> None:
        world.registry.entries[MODEL, "1"] = msgspec.structs.replace(known, signature=signature)

    signed(Signed(state="valid", key="0f3a91c2"))
    await world.agent.receive(opening)
    await world.run(lambda: bool(world.journal.state.approvals))
    (plan,) = world.journal.state.plans.values()
    assert "version 1 is signed by the key 0f3a91c2" in plan.evidence
    signed(Signed(state="wrong", refused=True, why="the key was revoked"))
    await world.run()
    assert world.serves() == "2"
    failed = [step.detail for action in world.journal.state.actions.values() for step in action.steps]
    assert any("version 1 must not serve: the key was revoked" in each for each in failed), failed


async def test_what_is_gone_is_told_by_the_newest_window_of_the_ill_version() -> None:
    world = World()
    opening = await world.bad_release()
    now_us = world.clock.now_us()
    for version, end_us, feature, value in (
        ("2", now_us - 4 * S, "radius", 1.0),
        ("2", now_us - 2 * S, "radius", 0.2),
        ("2", now_us - 2 * S, "texture", 1.0),
        ("1", now_us - S, "radius", 1.0),
    ):
        world.record(
            point(version, end_us=end_us, value=value, axis="event", measure="missing_rate", feature=feature)
        )
    await world.agent.receive(opening)
    await world.run()
    (incident,) = world.incidents()
    assert incident.state == "escalated"
    assert "version 1: it needs texture, which has no value in today's traffic" in incident.outcome


class _Registry:
    """One file and the references of two versions."""

    def __init__(self, kinds: dict[str, Any]) -> None:
        self.kinds = kinds
        self.file: bytes | None = b"onnx"

    def onnx(self, model: str, version: str) -> bytes:
        if self.file is None:
            raise Unusable(f"the registry has no file of {model} version {version}")
        return self.file

    def reference(self, model: str, version: str) -> Reference:
        columns = (
            FeatureReference(
                spec=FeatureSpec(name="x", kind=self.kinds[version]), missing=0, edges=(), counts=()
            ),
        )
        return Reference(
            model=model, version=version, rows=9, effective_rows=9, rows_identify=True, features=columns
        )


def _plan(**changes: Any) -> Plan:
    digest = "sha256:c3df4eab9b0a9ed33e6a0b3bb4f0e47f9b3bd6d6c1b8a0a6f4b6d6a2c0f4e4a1"
    plan = Plan(
        id="p",
        incident_id="i",
        action="rollback",
        model=MODEL,
        from_version="2",
        from_digest="d2",
        to_version="1",
        to_digest=digest,
        epoch=1,
    )
    return msgspec.structs.replace(plan, **changes)


def test_what_a_version_consists_of_is_looked_at() -> None:
    registry: Any = _Registry({"1": "numeric", "2": "numeric"})
    looks = Looks(registry, ManualClock(), 300 * S)
    told = flaw(registry, looks, _plan()) or ""
    assert "its file has the digest sha256:" in told
    good = _plan(to_digest=told.split()[5].rstrip(","))
    assert flaw(registry, looks, good) is None
    registry.kinds["2"] = "categorical"
    assert flaw(registry, looks, good) == "it takes x for numeric (today it is categorical)"
    registry.file = None
    assert "has no file of cancer version 1" in (flaw(registry, looks, good) or "")
    assert flaw(registry, looks, _plan(to_version=None)) is None
    assert flaw(registry, looks, _plan(to_version="2")) is None


async def test_a_target_whose_file_was_changed_is_not_proposed() -> None:
    world = World()
    world.registry.add(MODEL, "0", "good:0")
    await world.deploy("0")
    world.pass_time(20)
    opening = await world.bad_release()
    world.registry.artifacts[MODEL, "1"] = b"other bytes"
    await world.agent.receive(opening)
    await world.run()
    assert world.serves() == "0"
    (plan,) = world.journal.state.plans.values()
    assert any("version 1: its file has the digest" in each for each in plan.evidence)
