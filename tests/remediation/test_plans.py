"""Where to go back to, and when not, with the playbooks that come with Homeostat."""

from typing import Any

import pytest
from msgspec.structs import replace

from detectors.values import MetricPoint
from remediation.config import AgentConfig
from remediation.evidence import Facts
from remediation.plans import NoPlan
from remediation.playbooks.planner import next_step
from remediation.values import Cause, Desired, Hypothesis, Incident, ModelVersion, Plan
from tests.remediation.fakes import S
from tests.remediation.world import MODEL, alert, point

CONFIG = AgentConfig(alerts_topic="a", acknowledgements_topic="b", desired_topic="c")


def _version(version: str, **more: Any) -> ModelVersion:
    return ModelVersion(
        **{"model": MODEL, "version": version, "digest": f"d{version}", "features": ("x", "y"), **more}
    )


def _deployment(version: str, epoch: int) -> Desired:
    return Desired(
        model=MODEL,
        version=version,
        digest=f"d{version}",
        epoch=epoch,
        decided_by="ada",
        reason="r",
        at_us=epoch * S,
    )


def _facts(points: list[MetricPoint], versions: str = "123", blamed: frozenset[str] = frozenset()) -> Facts:
    deployments = tuple(_deployment(version, n + 1) for n, version in enumerate(versions))
    ill = versions[-1]
    return Facts(
        incident=Incident(id="inc-x", model=MODEL, version=ill, change_us=50 * S, opened_us=60 * S),
        alerts=(alert(version=ill, at_us=58 * S, change_us=50 * S),),
        points=tuple(points),
        deployments=deployments,
        desired=deployments[-1],
        blamed=blamed,
        now_us=70 * S,
    )


def _points(**breaches: bool) -> list[MetricPoint]:
    return [
        point(name[1:], end_us=40 * S + n * S, value=0.9, breach=ill)
        for name, ill in breaches.items()
        for n in (0, 1)
    ]


def _plan(facts: Facts, versions: dict[str, ModelVersion], cause: Cause = "bad_release") -> Plan | NoPlan:
    hypothesis = Hypothesis(cause=cause, confidence=0.9, reasons=("because",))
    incident = replace(facts.incident, cause=cause, confidence=0.9, hypotheses=(hypothesis,))
    found = next_step(replace(facts, incident=incident), (), versions, config=CONFIG)
    if isinstance(found, NoPlan):
        return found
    assert found.approval_needed
    return found.plan


def test_back_to_the_last_good_version() -> None:
    versions = {each: _version(each) for each in "123"}
    plan = _plan(_facts(_points(v1=False, v2=False)), versions)
    assert isinstance(plan, Plan)
    assert (plan.from_version, plan.to_version, plan.to_digest, plan.epoch) == ("3", "2", "d2", 3)
    assert "version 2 instead of 3" in plan.blast_radius
    assert "Promote version 3 again" in plan.undo
    same = _plan(_facts(_points(v1=False, v2=False)), versions)
    assert isinstance(same, Plan)
    assert same.hash == plan.hash


@pytest.mark.parametrize(
    ("two", "points", "blamed", "why"),
    [
        (None, {"v2": False}, "", "not in the registry"),
        ({"digest": "other"}, {"v2": False}, "", "its digest in the registry is other"),
        ({"features": ()}, {"v2": False}, "", "features are not registered"),
        ({"features": ("x", "z")}, {"v2": False}, "", "it needs z"),
        ({}, {"v2": True}, "", "not in order in its last windows"),
        ({}, {}, "", "no measured window"),
        ({}, {"v2": False}, "2", "found to be a bad release"),
    ],
)
def test_an_unsafe_version_is_passed_over_with_its_reason(
    two: dict[str, Any] | None, points: dict[str, bool], blamed: str, why: str
) -> None:
    versions = {"1": _version("1"), "3": _version("3")}
    if two is not None:
        versions["2"] = _version("2", **two)
    further = _plan(_facts(_points(**points, v1=False), blamed=frozenset(blamed)), versions)
    assert isinstance(further, Plan)
    assert further.to_version == "1"
    assert any(why in sentence for sentence in further.evidence)
    nowhere = _plan(_facts(_points(**points), versions="23", blamed=frozenset(blamed)), versions)
    assert isinstance(nowhere, NoPlan)
    assert why in nowhere.reason


def test_other_causes_ask_for_a_retraining_and_an_unknown_one_for_people() -> None:
    versions = {each: _version(each) for each in "123"}
    facts = _facts([])
    for cause, with_past in (
        ("population_shift", True),
        ("concept_shift", False),
    ):
        plan = _plan(facts, versions, cause)
        assert isinstance(plan, Plan)
        assert (plan.action, plan.to_version, plan.parameters["with_past"]) == ("retrain", None, with_past)
        assert plan.parameters["since_us"] == 53 * S, "the window before may hold rows from before the change"
        assert plan.parameters["until_us"] == plan.created_us
    broken = _plan(facts, versions, "upstream_data_break")
    assert isinstance(broken, NoPlan), "nothing is trained on broken data"
    assert "mended where it comes from" in broken.reason
    unknown = _plan(facts, versions, "unknown")
    assert isinstance(unknown, NoPlan)
    assert "performance of version 3 left its reference" in unknown.reason


def test_a_model_that_is_not_decided_or_not_registered_is_left_to_people() -> None:
    facts = _facts([])
    assert isinstance(_plan(facts, {}), NoPlan)
    undecided = Facts(**{name: getattr(facts, name) for name in facts.__struct_fields__} | {"desired": None})
    assert isinstance(_plan(undecided, {"3": _version("3")}), NoPlan)
