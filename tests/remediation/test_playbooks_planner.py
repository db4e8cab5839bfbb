"""Which playbook, which step, and whether people are asked."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from detectors.reference import FeatureReference, Reference
from detectors.values import Evidence, FeatureSpec
from remediation.changes import Change
from remediation.demands import Demand
from remediation.plans import NoPlan
from remediation.playbooks.conditions import labels_since
from remediation.playbooks.planner import consider, next_step
from remediation.playbooks.proposal import Proposal, Tried, controls
from remediation.policy import Freeze, Person, Policy, Rule
from remediation.training_run import parameters
from remediation.values import Action, ActionKind, Arrangement, Plan, Step
from tests.remediation.facts import (
    MODEL,
    VERSIONS,
    broken,
    config,
    facts,
    fired,
    points,
)

RISKY: frozenset[ActionKind] = frozenset(
    {
        "rollback",
        "retrain",
        "promote",
        "shift_traffic",
        "fall_back",
        "quarantine_feature",
        "pause_model",
        "refresh_reference",
    }
)


def proposed(playbooks: str, known: Any = None, *past: Tried, **more: Any) -> Proposal:
    """The proposal of these playbooks for an incident."""
    references = more.pop("references", None)
    found = next_step(
        known or facts(), past, VERSIONS, config=config(playbooks, **more), references=references
    )
    assert isinstance(found, Proposal), found
    return found


def one(step: str, match: str = "{}") -> str:
    """A file with one playbook of one step."""
    return f"playbooks: [{{name: p, match: {match}, steps: [{step}]}}]"


def tried(plan: Plan, state: Any = "failed", *steps: str) -> Tried:
    """A plan that was carried out."""
    done = tuple(Step(name=each, state="done", at_us=1) for each in steps)
    action = Action(
        id=f"act-{plan.id}",
        plan_id=plan.id,
        incident_id=plan.incident_id,
        kind=plan.action,
        model=plan.model,
        state=state,
        steps=done,
        started_us=1,
    )
    return Tried(plan=plan, action=action)


@pytest.mark.parametrize(
    ("step", "version", "arrangement", "told"),
    [
        ("{action: promote, to: 1}", "1", Arrangement(), "comes from version 1 instead of 3"),
        ("{action: promote, to: newest}", "4", Arrangement(), "comes from version 4 instead of 3"),
        ("{action: fall_back, to: last_good}", "2", Arrangement(), "comes from version 2"),
        ("{action: fall_back, constant: 0.5}", None, Arrangement(constant=0.5), "the score 0.5 instead of"),
        ("{action: pause_model}", None, Arrangement(paused=True), "refused with 503"),
        ("{action: raise_log_detail}", None, Arrangement(detailed=True), "No answer changes"),
        ("{action: scale_replicas, replicas: 4}", None, Arrangement(replicas=4), "4 servers answer"),
        (
            "{action: shadow, to: newest}",
            None,
            Arrangement(shadows=("4",), digests={"4": "d4"}),
            "Version 4 scores every request",
        ),
        (
            "{action: quarantine_feature, features: [x], impute: 1.5}",
            None,
            Arrangement(imputed={"x": 1.5}),
            "as if x is 1.5",
        ),
    ],
)
def test_each_step_becomes_an_exact_plan(
    step: str, version: str | None, arrangement: Arrangement, told: str
) -> None:
    plan = proposed(one(step)).plan
    assert (plan.to_version, plan.to_digest) == (version, version and f"d{version}")
    assert (plan.arrangement, plan.from_arrangement) == (arrangement, Arrangement())
    assert (plan.from_version, plan.epoch, plan.playbook, plan.step) == ("3", 3, "p", 0)
    assert told in plan.blast_radius
    assert plan.undo
    assert plan.hash != replace(plan, step=1).hash != replace(plan, arrangement=Arrangement(paused=True)).hash


def test_traffic_is_shifted_in_shares_with_the_controls_of_the_step() -> None:
    step = (
        "{action: shift_traffic, to: last_good, shares: [0.1, 1], hold_s: 60, timeout_s: 30, retries: 2, "
        "on_failure: next}"
    )
    plan = proposed(one(step)).plan
    found = controls(plan)
    assert (found.shares, found.hold_s, found.timeout_s, found.retries) == ((0.1, 1.0), 60, 30, 2)
    assert (plan.to_version, plan.arrangement.shares, found.on_failure) == ("2", {}, "next")


def test_what_is_called_is_in_the_plan_and_takes_an_address_that_is_set() -> None:
    plan = proposed(one("{action: open_issue, url_env: ISSUES, title: help}")).plan
    assert (plan.parameters["url_env"], plan.parameters["title"]) == ("ISSUES", "help")
    assert plan.parameters["facts"]["cause"] == "bad_release"
    assert controls(plan).on_failure == "next"
    undone = proposed(one("{action: run_command, argv: [sh, up.sh], undo: [sh, down.sh]}")).plan
    assert (undone.parameters["argv"], controls(undone).undo) == (
        ["sh", "up.sh"],
        {"argv": ["sh", "down.sh"]},
    )
    unset = next_step(facts(), (), VERSIONS, config=config(one("{action: http_call, url_env: NOWHERE}")))
    assert isinstance(unset, NoPlan)
    assert "NOWHERE is not set" in unset.outcome


def test_the_worst_features_are_quarantined_with_the_usual_value() -> None:
    """Those whose values are missing already are not called missing once more."""
    columns = tuple(
        FeatureReference(
            spec=FeatureSpec(name=name), missing=0, edges=(1.0, 2.0, 3.0), counts=(10, 10, 30, 10)
        )
        for name in ("x", "y", "chol")
    )
    reference = Reference(
        model=MODEL, version="3", rows=60, effective_rows=60, rows_identify=True, features=columns
    )
    evidence = (
        broken("chol", value=0.9),
        broken("x", "missing_rate", 0.8),
        broken("y", value=0.1),
        broken("z", value=0.99),
    )
    known = facts("upstream_data_break", alerts=(fired("data_quality", *evidence),))
    plan = proposed("", known, references=lambda model, version: reference).plan
    assert plan.action == "quarantine_feature", "an issue is opened only where an address is set"
    assert plan.arrangement.imputed == {"chol": 3.0, "x": 3.0}
    missing = proposed(one("{action: quarantine_feature, impute: missing}"), known).plan
    assert missing.arrangement.imputed == {"chol": None}
    assert "step 1 (open_issue) was passed over" in " ".join(plan.evidence)


def test_an_ill_canary_loses_its_share() -> None:
    known = facts()
    arrangement = Arrangement(shares={"3": 0.1}, digests={"3": "d3"}, detailed=True)
    desired = replace(known.deployments[1], epoch=7, arrangement=arrangement)
    plan = proposed("", replace(known, desired=desired)).plan
    assert (plan.from_version, plan.to_version, plan.epoch) == ("2", "2", 7)
    assert plan.arrangement == Arrangement(detailed=True)
    assert plan.blast_radius.endswith("The illness touches 10% of the requests.")


def test_how_much_is_touched_is_told() -> None:
    alerts = (fired("data_drift", segment="region=north"), fired("data_drift", segment="region=south"))
    plan = proposed("", facts(alerts=alerts)).plan
    told = (
        "The illness touches about 6,000 requests per minute, only the segments region=north, region=south."
    )
    assert plan.blast_radius.endswith(told)


CONDITIONS = [
    ("target_is_safe: true", {}, {"points": ()}, "no version is safe to go back to"),
    ("target_is_safe: false", {"points": ()}, {}, "there is a version that is safe"),
    ("labels_at_least: 900", {"points": points("3", end_s=60)}, {}, "0 labels have come"),
    (
        "traffic_at_least: 100",
        {"alerts": (fired("data_drift"),)},
        {"alerts": (fired("data_drift", rows=5),)},
        "requests per minute are 60",
    ),
    (
        "max_segments: 1",
        {"alerts": (fired(segment="a"),)},
        {"alerts": (fired(segment="a"), fired(segment="b"))},
        "touches 2 segments",
    ),
    ("max_segments: 1", {"alerts": (fired(segment="a"),)}, {}, "touches the whole traffic"),
    (
        "change_recorded: [release]",
        {"changes": (Change(id="c", kind="release", title="t", starts_us=1, by="ada", recorded_us=1),)},
        {},
        "no change of kind release",
    ),
    (
        "no_change_recorded: [holiday]",
        {},
        {"changes": (Change(id="c", kind="holiday", title="t", starts_us=1, by="ada", recorded_us=1),)},
        "a change of kind holiday is recorded",
    ),
]


@pytest.mark.parametrize(("condition", "holds", "fails", "why"), CONDITIONS)
def test_a_condition_that_does_not_hold_passes_the_step_over_and_says_so(
    condition: str, holds: dict[str, Any], fails: dict[str, Any], why: str
) -> None:
    steps = f"{{action: pause_model, only_if: {{{condition}}}}}, {{action: fall_back, constant: 0}}"
    assert proposed(one(steps), facts(**holds)).plan.action == "pause_model"
    found = proposed(one(steps), facts(**fails)).plan
    assert (found.action, found.step) == ("fall_back", 1)
    assert why in found.evidence[-1]


def test_the_first_playbook_that_matches_counts_and_the_others_say_why_not() -> None:
    text = """
    playbooks:
      - {name: loans, match: {models: "loan*"}, steps: [{action: pause_model}]}
      - {name: v9, match: {versions: "9"}, steps: [{action: pause_model}]}
      - {name: shifts, match: {causes: [population_shift]}, steps: [{action: pause_model}]}
      - {name: grave, match: {severity: critical}, steps: [{action: pause_model}]}
      - {name: sure, match: {min_confidence: 0.95}, steps: [{action: pause_model}]}
      - {name: night, match: {during: [{schedule: "0 3 * * *", lasts_h: 1}]}, steps: [{action: pause_model}]}
      - {name: quality, match: {kinds: [data_quality]}, steps: [{action: pause_model}]}
      - {name: some, match: {segments: ["region=*"]}, steps: [{action: pause_model}]}
      - {name: slow, match: {measures: ["latency*"]}, steps: [{action: pause_model}]}
      - {name: mine, match: {models: "can*", causes: [bad_release]}, steps: [{action: fall_back, constant: 0}]}
    """
    found = consider(facts(), (), VERSIONS, config=config(text))
    assert found.playbook == "mine"
    assert [*found.others] == ["loans", "v9", "shifts", "grave", "sure", "night", "quality", "some", "slow"]
    assert found.others["shifts"] == "it is for population_shift, not bad_release"
    assert found.others["slow"] == "it is for latency* alone, not accuracy"
    alone = consider(
        facts(), (), VERSIONS, config=config(text.replace('"can*"', '"dog*"') + "\n    built_in: false")
    )
    assert alone.playbook is None
    assert isinstance(alone.answer, NoPlan)


def test_steps_follow_one_another_until_none_is_left() -> None:
    text = one("{action: rollback, on_failure: next}, {action: retrain}")
    first = proposed(text)
    second = proposed(text, None, tried(first.plan, "failed", "decide", "publish", "acknowledge"))
    assert (second.plan.action, second.plan.step, second.plan.id) == ("retrain", 1, "plan-x-2")
    past = (tried(first.plan, "failed", "decide"), tried(second.plan, "reverted", "collect", "decide"))
    last = next_step(facts(), past, VERSIONS, config=config(text))
    assert isinstance(last, NoPlan)
    assert "tried: rollback, retrain" in last.outcome


def test_a_plan_that_the_world_overtook_is_proposed_again() -> None:
    first = proposed("")
    moved = replace(facts(), desired=replace(facts().deployments[-1], epoch=9))
    again = proposed("", moved, tried(first.plan, "failed"), Tried(plan=first.plan))
    assert (again.plan.action, again.plan.step, again.plan.epoch) == ("rollback", 0, 9)


def test_a_candidate_has_to_be_better_by_what_alarmed_or_by_what_the_playbook_says() -> None:
    recall = Evidence(measure="recall", value=0.5, threshold=0.7, rows=500, effect=9.0)
    known = facts("concept_shift", alerts=(fired("performance", recall),))
    plan = proposed(one("{action: retrain}"), known).plan
    asked = parameters(plan).demand
    assert (asked.better, asked.not_worse) == ("recall", {"balanced_accuracy": 0.02, "f1": 0.02})
    assert plan.parameters["gate"].startswith(
        "recall on held-out groups better than the champion's by over 0"
    )
    assert (
        "better than the champion's by over 0, balanced accuracy not worse by over 0.02" in plan.blast_radius
    )
    gate = "{better: precision, by: 0.01, not_worse: {recall: 0.1}}"
    said = parameters(proposed(one(f"{{action: retrain, gate: {gate}}}"), known).plan).demand
    assert (said.better, said.by, said.not_worse["recall"]) == ("precision", 0.01, 0.1)
    drift = facts("population_shift", alerts=(fired("data_drift", recall),))
    assert parameters(proposed(one("{action: retrain}"), drift).plan).demand == Demand()


def test_labels_of_one_class_are_not_taken_for_all_of_a_window() -> None:
    whole = points("3", end_s=60)
    classes = tuple(replace(each, measure="class_recall", feature="c", rows=25) for each in whole)
    known = facts(points=(*whole, *classes))
    assert labels_since(known) == labels_since(facts(points=whole)) == 1_000


def test_nothing_is_trained_on_what_is_known_to_be_wrong() -> None:
    for cause, accept in (("upstream_data_break", "broken_data"), ("label_problem", "bad_labels")):
        known = facts(cause)  # type: ignore[arg-type]
        found = next_step(known, (), VERSIONS, config=config(one("{action: retrain}")))
        assert isinstance(found, NoPlan), cause
        assert accept in found.reason
        assert proposed(one(f"{{action: retrain, accept: [{accept}]}}"), known).plan.action == "retrain"


@pytest.mark.parametrize("cause", ["label_problem", "serving_problem", "traffic_change", "unknown"])
def test_what_no_version_mends_is_told_to_people(cause: Any) -> None:
    found = next_step(facts(cause), (), VERSIONS, config=config())
    assert isinstance(found, NoPlan)
    assert found.outcome.startswith("A person has to look: ")


def test_autonomy_and_freezes() -> None:
    text = one("{action: rollback, act: true, approval: {roles: [risk], quorum: 2, until_min: 5}}")
    asks = proposed(text)
    assert (asks.approval_needed, asks.roles, asks.quorum, asks.ttl_s) == (True, ("risk",), 2, 300)
    acts = "autonomy: {'can*': act, '*': observe}\n" + text
    assert not proposed(acts).approval_needed
    frozen = Policy(freezes=(Freeze(schedule="* * * * *", lasts_h=1, reason="x"),))
    assert proposed(acts, policy=frozen).approval_needed
    observed = next_step(facts(), (), VERSIONS, config=config(text.join(["autonomy: {'*': observe}\n", ""])))
    assert isinstance(observed, NoPlan)
    assert observed.outcome == f"Observed only (autonomy of {MODEL}): rollback would have been proposed."


def test_a_policy_is_not_weakened() -> None:
    people = {"ada": Person(roles=("risk",)), "otto": Person(roles=("risk", "ops"))}
    policy = Policy(people=people, rules=(Rule(roles=("risk", "ops"), quorum=2),))
    found = proposed(one("{action: rollback, approval: {roles: [ops, dev], quorum: 1}}"), policy=policy)
    assert (found.roles, found.quorum) == (("ops",), 2)
    other = proposed(one("{action: rollback, approval: {roles: [dev]}}"), policy=policy)
    assert other.roles == ("risk", "ops")


STEPS = {
    "rollback": "",
    "retrain": "",
    "promote": "to: newest",
    "shift_traffic": "to: newest, shares: [0.5, 1]",
    "shadow": "to: newest",
    "fall_back": "constant: 0.5",
    "quarantine_feature": "features: [x], impute: missing",
    "pause_model": "",
    "raise_log_detail": "",
    "refresh_reference": "reason: r",
    "scale_replicas": "replicas: 3",
    "open_issue": "url_env: ISSUES",
    "http_call": "url_env: ISSUES",
    "run_command": "argv: [x]",
}


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(sorted(STEPS)),
    safe=st.sampled_from(["", "safe: false", "safe: true"]),
    act=st.booleans(),
    autonomy=st.sampled_from(["observe", "suggest", "act"]),
    replicas=st.sampled_from([None, 2, 3, 5]),
    frozen=st.booleans(),
)
def test_nothing_risky_without_consent(
    kind: Any, safe: str, act: bool, autonomy: str, replicas: int | None, frozen: bool
) -> None:
    if safe == "safe: true" and kind in RISKY:
        safe = ""
    said = ", ".join(
        each for each in (f"action: {kind}", STEPS[kind], safe, f"act: {str(act).lower()}") if each
    )
    text = f"autonomy: {{'*': {autonomy}}}\n" + one(f"{{{said}}}")
    freeze = (Freeze(schedule="* * * * *", lasts_h=1, reason="x"),) if frozen else ()
    known = facts()
    desired = replace(known.deployments[-1], arrangement=Arrangement(replicas=replicas))
    found = next_step(
        replace(known, desired=desired), (), VERSIONS, config=config(text, policy=Policy(freezes=freeze))
    )
    if isinstance(found, NoPlan):
        assert found.observed or replicas == 3
        return
    assert autonomy != "observe"
    shrinks = kind == "scale_replicas" and (replicas or 0) > 3
    if kind in RISKY or shrinks or safe == "safe: false":
        assert found.plan.risky
    if found.plan.risky:
        assert found.approval_needed or (act and autonomy == "act" and not frozen)
    else:
        assert not found.approval_needed
        assert kind not in RISKY


def test_where_nothing_is_known_of_the_model_nothing_is_proposed() -> None:
    for known, versions in ((replace(facts(), desired=None), VERSIONS), (facts(), {})):
        found = next_step(known, (), versions, config=config())
        assert isinstance(found, NoPlan)
        assert "step 1 (rollback) was passed over" in found.reason
