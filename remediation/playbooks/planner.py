"""The next step of an incident. Pure: facts, what was tried and registered versions in, one exact plan out.

The first playbook that matches counts. Of its steps the first is proposed that comes after those that were tried and
whose conditions hold; a step that cannot be taken is passed over, and its reason stands in the plan.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

from detectors.values import Value
from remediation.actions import RULES
from remediation.config import AgentConfig
from remediation.evidence import Facts
from remediation.identity import plan_id
from remediation.plans import NoPlan, facts_told
from remediation.playbooks.conditions import reach, unmet
from remediation.playbooks.consent import consent
from remediation.playbooks.drafts import Draft, draft
from remediation.playbooks.files import in_force
from remediation.playbooks.matching import mismatch
from remediation.playbooks.proposal import Proposal, Tried
from remediation.playbooks.scene import References, Scene
from remediation.playbooks.steps import SAFE, Step
from remediation.playbooks.values import Autonomy, Playbook
from remediation.proof import in_plan
from remediation.values import ActionKind, Desired, ModelVersion, Plan

Standing = Literal["tried", "passed over", "next", "later"]


class Considered(Value, frozen=True, kw_only=True):
    """One step of the playbook, counted from 0, and where the incident stands with it. `why`: it was passed over."""

    step: int
    action: ActionKind
    standing: Standing
    why: str = ""


class Consideration(Value, frozen=True, kw_only=True):
    """All that was weighed: the `playbook` that matches (None: none does), why those before it do not, each of its
    steps, and the answer. `proposal` is there also where the model is only observed, and the answer is none."""

    playbook: str | None
    others: dict[str, str]
    steps: tuple[Considered, ...]
    answer: Proposal | NoPlan
    proposal: Proposal | None = None


def next_step(
    facts: Facts,
    past: Sequence[Tried],
    versions: Mapping[str, ModelVersion],
    *,
    config: AgentConfig,
    references: References | None = None,
) -> Proposal | NoPlan:
    """What shall be done now about the incident in `facts`, `past` being what was tried, oldest first; or why nothing
    is. `versions` are the registered ones by name; `references` gives the reference of one of them."""
    return consider(facts, past, versions, config=config, references=references).answer


def consider(
    facts: Facts,
    past: Sequence[Tried],
    versions: Mapping[str, ModelVersion],
    *,
    config: AgentConfig,
    references: References | None = None,
) -> Consideration:
    """The same with everything that was weighed."""
    others: dict[str, str] = {}
    for playbook in in_force(config.playbooks):
        why = mismatch(playbook.match, facts)
        if why is None:
            return _through(playbook, facts, past, versions, config, references, others)
        others[playbook.name] = why
    reason = f"no playbook is for it ({facts.incident.cause}): " + "; ".join(facts_told(facts))
    return Consideration(playbook=None, others=others, steps=(), answer=NoPlan(reason=reason))


def _through(
    playbook: Playbook,
    facts: Facts,
    past: Sequence[Tried],
    versions: Mapping[str, ModelVersion],
    config: AgentConfig,
    references: References | None,
    others: dict[str, str],
) -> Consideration:
    scene = _scene(facts, versions, config, references)
    first = _first_untried(playbook, past, facts.desired)
    autonomy = config.playbooks.autonomy_of(facts.incident.model) or config.autonomy(facts.incident.model)
    seen: list[Considered] = []
    proposal: Proposal | None = None
    for position, step in enumerate(playbook.steps):
        if position < first or proposal is not None:
            standing: Standing = "later" if proposal is not None else "tried"
            seen.append(Considered(step=position, action=step.kind, standing=standing))
            continue
        found = scene if isinstance(scene, str) else _drafted(step, scene, attempt=len(past) + 1)
        if isinstance(found, Draft) and isinstance(scene, Scene):
            passed = tuple(_passed(each) for each in seen if each.standing == "passed over")
            plan = _plan(playbook, position, step, scene, found, attempt=len(past) + 1, passed=passed)
            proposal = consent(step, plan, facts.now_us, policy=config.policy, autonomy=autonomy)
            seen.append(Considered(step=position, action=step.kind, standing="next"))
        else:
            seen.append(Considered(step=position, action=step.kind, standing="passed over", why=str(found)))
    return Consideration(
        playbook=playbook.name,
        others=others,
        steps=tuple(seen),
        answer=_answer(playbook, facts, seen, proposal, autonomy),
        proposal=proposal,
    )


def _answer(
    playbook: Playbook,
    facts: Facts,
    seen: Sequence[Considered],
    proposal: Proposal | None,
    autonomy: Autonomy,
) -> Proposal | NoPlan:
    if proposal is None:
        return NoPlan(reason=_at_the_end(playbook, facts, seen), playbook=playbook.name)
    if autonomy == "observe":
        model, action = facts.incident.model, proposal.plan.action
        reason = f"Observed only (autonomy of {model}): {action} would have been proposed"
        return NoPlan(reason=reason, playbook=playbook.name, observed=True)
    return proposal


def _at_the_end(playbook: Playbook, facts: Facts, seen: Sequence[Considered]) -> str:
    """Why a person has to look: what the playbook says to that, what is known, and what became of its steps."""
    hypotheses = [each for each in facts.incident.hypotheses if each.cause == facts.incident.cause]
    reasons = hypotheses[0].reasons if hypotheses and facts.incident.cause != "unknown" else facts_told(facts)
    tried = [each.action for each in seen if each.standing == "tried"]
    passed = [_passed(each) for each in seen if each.standing == "passed over"]
    said = playbook.tell or (
        f"the playbook {playbook.name} has no further step" if tried or not passed else ""
    )
    told = [f"{said}: {'; '.join(reasons)}"] if said else []
    if tried:
        told.append(f"tried: {', '.join(tried)}")
    return "; ".join([*told, *passed])


def _passed(step: Considered) -> str:
    return f"step {step.step + 1} ({step.action}) was passed over: {step.why}"


def _scene(
    facts: Facts,
    versions: Mapping[str, ModelVersion],
    config: AgentConfig,
    references: References | None,
) -> Scene | str:
    desired, model = facts.desired, facts.incident.model
    if desired is None:
        return f"no served version of {model} is kept here, so none can be replaced"
    serving = versions.get(desired.version)
    if serving is None or not serving.digest:
        return f"version {desired.version} of {model} is not registered with a digest"
    return Scene(
        facts=facts,
        serving=serving,
        before=desired.arrangement,
        versions=versions,
        config=config,
        references=references,
    )


def _drafted(step: Step, scene: Scene, *, attempt: int) -> Draft | str:
    why = unmet(step.only_if, scene.facts, scene.config.policy, scene.no_target)
    return why if why is not None else draft(step, scene, attempt=attempt)


def _first_untried(playbook: Playbook, past: Sequence[Tried], desired: Desired | None) -> int:
    """The position after the last step of the playbook that was tried. A plan that the world overtook before anything
    was done was not."""
    tried = [
        each.plan.step
        for each in past
        if each.plan.playbook == playbook.name and each.action is not None and not _overtaken(each, desired)
    ]
    return max(tried, default=-1) + 1


def _overtaken(tried: Tried, desired: Desired | None) -> bool:
    done = tried.action is not None and any(
        step.name.startswith(("decide", "call")) for step in tried.action.steps if step.state != "failed"
    )
    return not done and desired is not None and desired.epoch != tried.plan.epoch


def _plan(
    playbook: Playbook,
    position: int,
    step: Step,
    scene: Scene,
    found: Draft,
    *,
    attempt: int,
    passed: tuple[str, ...],
) -> Plan:
    facts = scene.facts
    controls = {
        "timeout_s": step.timeout_s,
        "retries": step.retries,
        "on_failure": step.on_failure or ("next" if step.kind in SAFE else None),
        "verify": in_plan(step.verify, RULES[step.kind].verified, scene.config.policy.verification),
    }
    given = {name: value for name, value in controls.items() if value is not None}
    touched = reach(facts).told
    return Plan(
        id=plan_id(facts.incident.id, attempt),
        incident_id=facts.incident.id,
        action=step.kind,
        model=scene.serving.model,
        from_version=scene.serving.version,
        from_digest=scene.serving.digest,
        to_version=found.to.version if found.to else None,
        to_digest=found.to.digest if found.to else None,
        epoch=facts.desired.epoch if facts.desired else 0,
        parameters={**found.parameters, **given},
        evidence=(*scene.cause.reasons, *found.evidence, *_vouched(found.to), *passed),
        blast_radius=f"{found.blast_radius} {touched}".strip(),
        undo=found.undo,
        created_us=facts.now_us,
        arrangement=found.arrangement,
        from_arrangement=scene.before,
        actuator=scene.config.actuator(scene.serving.model),
        playbook=playbook.name,
        step=position,
    )


def _vouched(to: ModelVersion | None) -> tuple[str, ...]:
    """Who vouches for the version that shall serve."""
    return (f"version {to.version} is {to.signature.told}",) if to is not None and to.signature.told else ()
