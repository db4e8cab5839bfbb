"""How each kind of step becomes the core of a plan, or the reason why it cannot. Pure."""

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec.structs import replace

from detectors.values import Value
from remediation.evidence import ARRIVALS, BREAK_MEASURES, CERTAIN_BREAKS, strongest
from remediation.identity import plan_id, seed
from remediation.plans import surely_changed_us
from remediation.playbooks import steps as kinds
from remediation.playbooks.scene import Scene
from remediation.values import Arrangement, ModelVersion

_AGAIN = "As it was before, from the record of this plan."


class Draft(Value, frozen=True, kw_only=True):
    """What a step would do: the version that serves afterwards (None: the same, or the one that is trained), how it
    answers, what the action needs besides, and the sentences."""

    blast_radius: str
    undo: str
    arrangement: Arrangement
    to: ModelVersion | None = None
    parameters: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])
    evidence: tuple[str, ...] = ()


def draft(step: kinds.Step, scene: Scene, *, attempt: int) -> Draft | str:
    """The core of the plan for `step`, the `attempt`-th of the incident; or why there is none."""
    if isinstance(step, kinds.Retrain):
        return _retrain(step, scene, attempt)
    return _MAKERS[type(step)](step, scene)


def _rollback(step: kinds.Rollback, scene: Scene) -> Draft | str:
    del step
    model, ill = scene.serving.model, scene.facts.version
    if scene.is_canary:
        return Draft(
            blast_radius=f"No request of {model} goes to version {ill} any more; version {scene.serving.version} "
            "answers all of them.",
            undo=f"Version {ill} gets {scene.before.shares[ill]:.0%} of the requests again.",
            arrangement=_without(scene.before, ill),
            to=scene.serving,
            evidence=(f"version {ill} answers {scene.before.shares[ill]:.0%} of the requests",),
        )
    target, reasons = scene.last_good()
    if target is None:
        return "no version is safe to go back to: " + "; ".join(reasons)
    return _replaced(scene, target, tuple(reasons))


def _promote(step: kinds.Promote, scene: Scene) -> Draft | str:
    target, reasons = scene.version(step.to)
    return "; ".join(reasons) if target is None else _replaced(scene, target, tuple(reasons))


def _shift(step: kinds.ShiftTraffic, scene: Scene) -> Draft | str:
    target, reasons = scene.version(step.to)
    if target is None:
        return "; ".join(reasons)
    shares = ", then ".join(f"{share:.0%}" for share in step.shares)
    return Draft(
        blast_radius=f"Version {target.version} answers {shares} of the requests of {scene.serving.model} instead of "
        f"version {scene.serving.version}; each share is watched for {step.hold_s:g} s before the next.",
        undo=f"Version {scene.serving.version} answers every request again.",
        arrangement=_answering(scene.before, target.version),
        to=target,
        parameters={"shares": list(step.shares), "hold_s": step.hold_s},
        evidence=tuple(reasons),
    )


def _shadow(step: kinds.Shadow, scene: Scene) -> Draft | str:
    target, reasons = scene.version(step.to)
    if target is None:
        return "; ".join(reasons)
    if target.version in scene.before.shadows:
        return f"version {target.version} scores every request already"
    after = replace(
        scene.before,
        shadows=(*scene.before.shadows, target.version),
        digests={**scene.before.digests, target.version: target.digest},
    )
    return Draft(
        blast_radius=f"Version {target.version} scores every request of {scene.serving.model} beside version "
        f"{scene.serving.version}. No answer changes.",
        undo=f"Version {target.version} scores no request any more.",
        arrangement=after,
        parameters={"version": target.version},
        evidence=tuple(reasons),
    )


def _fall_back(step: kinds.FallBack, scene: Scene) -> Draft | str:
    if step.to is not None:
        target, reasons = scene.version(step.to)
        return "; ".join(reasons) if target is None else _replaced(scene, target, tuple(reasons))
    if step.constant == scene.before.constant:
        return f"every request is answered with {step.constant:g} already"
    return Draft(
        blast_radius=f"Every request of {scene.serving.model} is answered with the score {step.constant:g} instead of "
        "the model's.",
        undo=f"Version {scene.serving.version} answers again.",
        arrangement=replace(scene.before, constant=step.constant),
        parameters={"constant": step.constant},
    )


def _quarantine(step: kinds.QuarantineFeature, scene: Scene) -> Draft | str:
    known, worst = scene.serving.features, step.features == "worst"
    found = broken_features(scene, step.min_share) if worst else dict.fromkeys(step.features, "")
    strangers = [each for each in found if known and each not in known]
    if strangers and not worst:
        return f"version {scene.serving.version} has no feature {', '.join(strangers)}"
    names = [each for each in found if each not in strangers and each not in scene.before.imputed]
    imputed = {each: _value(step.impute, each, scene) for each in names}
    # Where the values are missing already, calling them missing changes nothing.
    helps = [each for each in names if not (imputed[each] is None and found[each] == "missing_rate")]
    chosen = {each: imputed[each] for each in (helps[: step.at_most] if worst else helps)}
    if not chosen:
        return "no feature is to blame that a quarantine would help"
    told = ", ".join(
        f"{name} is {'missing' if value is None else format(value, '.4g')}" for name, value in chosen.items()
    )
    return Draft(
        blast_radius=f"Whatever arrives, {scene.serving.model} scores every request as if {told}.",
        undo="The model sees again what arrives.",
        arrangement=replace(scene.before, imputed={**scene.before.imputed, **chosen}),
        parameters={"features": list(chosen), "impute": step.impute},
    )


def broken_features(scene: Scene, min_share: float) -> dict[str, str]:
    """The features that a firing data-quality alert shows to be broken in so much of the rows, each with the measure
    that shows it, the worst first."""
    found = strongest(scene.facts.firing("data_quality"), (BREAK_MEASURES | CERTAIN_BREAKS) - ARRIVALS)
    broken: dict[str, str] = {}
    for each in found:
        if each.feature is not None and (each.measure in CERTAIN_BREAKS or each.value >= min_share):
            broken.setdefault(each.feature, each.measure)
    return broken


def _value(impute: str | float, feature: str, scene: Scene) -> float | None:
    if isinstance(impute, str):
        return scene.median(feature) if impute == "median" else None
    return float(impute)


def _pause(step: kinds.PauseModel, scene: Scene) -> Draft | str:
    del step
    if scene.before.paused:
        return f"{scene.serving.model} is paused already"
    return Draft(
        blast_radius=f"Every request of {scene.serving.model} is refused with 503 until somebody resumes it.",
        undo=f"Version {scene.serving.version} answers again.",
        arrangement=replace(scene.before, paused=True),
    )


def _detail(step: kinds.RaiseLogDetail, scene: Scene) -> Draft | str:
    del step
    if scene.before.detailed:
        return f"every request of {scene.serving.model} is logged in full already"
    return Draft(
        blast_radius=f"Each request of {scene.serving.model} is logged in full. No answer changes.",
        undo="Requests are logged as before.",
        arrangement=replace(scene.before, detailed=True),
    )


def _scale(step: kinds.ScaleReplicas, scene: Scene) -> Draft | str:
    if scene.before.replicas == step.replicas:
        return f"{step.replicas} servers of {scene.serving.model} are asked for already"
    now = "as many as run now" if scene.before.replicas is None else f"{scene.before.replicas}"
    return Draft(
        blast_radius=f"{step.replicas} servers answer for {scene.serving.model} instead of {now}. No answer changes.",
        undo=f"The number of servers is {now} again.",
        arrangement=replace(scene.before, replicas=step.replicas),
        parameters={"replicas": step.replicas},
    )


def _refresh(step: kinds.RefreshReference, scene: Scene) -> Draft | str:
    model, ill = scene.serving.model, scene.facts.version
    return Draft(
        blast_radius=f"Version {ill} of {model} is compared with its last {step.rows:,} rows since the change. "
        "No answer changes; what is usual now raises no alert any more.",
        undo=f"Register the former reference of version {ill} again.",
        arrangement=scene.before,
        parameters={
            "reason": step.reason,
            "rows": step.rows,
            "model": model,
            "version": ill,
            "since_us": surely_changed_us(scene.facts),
            "until_us": scene.facts.now_us,
        },
    )


def _called(step: kinds.OpenIssue | kinds.HttpCall | kinds.RunCommand, scene: Scene) -> Draft | str:
    given = msgspec.to_builtins(step)
    own = {name: given[name] for name in _own_fields(step) if name in given}
    if isinstance(step, kinds.RunCommand):
        own["argv"] = list(step.argv)
        undo = {"argv": list(step.undo)} if step.undo else None
        what = f"The command {' '.join(step.argv)} runs on the agent's machine."
    else:
        if not scene.config.configured(step.url_env):
            return f"the environment variable {step.url_env} is not set"
        own |= {"url_env": step.url_env, "facts": _known(scene)}
        undo = msgspec.to_builtins(step.undo) if isinstance(step, kinds.HttpCall) and step.undo else None
        what = f"What is known is posted to the address in {step.url_env}."
    own.pop("undo", None)
    if undo is not None:
        own["undo"] = undo
    told = "A call that the playbook names takes it back." if undo else "Nothing takes it back."
    return Draft(
        blast_radius=f"{what} No answer of the model changes by it alone.",
        undo=told,
        arrangement=scene.before,
        parameters=own,
    )


def _known(scene: Scene) -> dict[str, Any]:
    incident = scene.facts.incident
    return {
        "incident": incident.id,
        "model": incident.model,
        "version": incident.version,
        "severity": incident.severity,
        "cause": incident.cause,
        "summary": incident.summary,
    }


def _own_fields(step: kinds.Common) -> list[str]:
    shared = set(kinds.Common.__struct_fields__)
    return [name for name in step.__struct_fields__ if name not in shared]


def _retrain(step: kinds.Retrain, scene: Scene, attempt: int) -> Draft | str:
    facts, current = scene.facts, scene.serving
    if scene.cause.cause == "upstream_data_break" and "broken_data" not in step.accept:
        return "a candidate would learn from data that are broken; `accept: [broken_data]` allows it"
    if scene.cause.cause == "label_problem" and "bad_labels" not in step.accept:
        return "a candidate would learn from labels that cannot be trusted; `accept: [bad_labels]` allows it"
    with_past = scene.cause.cause != "concept_shift" if step.with_past is None else step.with_past
    margin = scene.config.retraining.margin
    return Draft(
        blast_radius=f"A candidate is trained on archived, labelled events of {current.model}. Only if it beats "
        f"version {current.version} on recent cases that it never saw, every prediction comes from it.",
        undo=f"Version {current.version} serves again; it stays registered, and comes back by itself if the "
        "candidate fails.",
        arrangement=_answering(scene.before, None),
        parameters={
            "since_us": surely_changed_us(facts),
            "until_us": facts.now_us,
            "with_past": with_past,
            "seed": seed(plan_id(facts.incident.id, attempt)),
            "gate": f"balanced accuracy and F1 on held-out groups above the champion's, by over {margin:g}",
        },
    )


def _replaced(scene: Scene, target: ModelVersion, reasons: tuple[str, ...]) -> Draft:
    """Another version answers every request."""
    current = scene.serving
    return Draft(
        blast_radius=f"Every prediction of {current.model} comes from version {target.version} instead of "
        f"{current.version}, on all inference servers, within seconds and without a dropped request.",
        undo=f"Promote version {current.version} again; its artifact stays registered."
        + ("" if scene.before == Arrangement() else f" {_AGAIN}"),
        arrangement=_answering(scene.before, target.version),
        to=target,
        evidence=reasons,
    )


def _answering(before: Arrangement, version: str | None) -> Arrangement:
    """A version answers every request: what stood in its way is over, and what has to do with data stays."""
    after = replace(before, shares={}, constant=None, paused=False)
    shadows = tuple(each for each in after.shadows if each != version)
    digests = {name: digest for name, digest in after.digests.items() if name in shadows}
    return replace(after, shadows=shadows, digests=digests)


def _without(before: Arrangement, version: str) -> Arrangement:
    shares = {name: share for name, share in before.shares.items() if name != version}
    kept = {*shares, *before.shadows}
    digests = {name: digest for name, digest in before.digests.items() if name in kept}
    return replace(before, shares=shares, digests=digests)


_MAKERS: dict[type[kinds.Common], Callable[[Any, Scene], Draft | str]] = {
    kinds.Rollback: _rollback,
    kinds.Promote: _promote,
    kinds.ShiftTraffic: _shift,
    kinds.Shadow: _shadow,
    kinds.FallBack: _fall_back,
    kinds.QuarantineFeature: _quarantine,
    kinds.PauseModel: _pause,
    kinds.RaiseLogDetail: _detail,
    kinds.ScaleReplicas: _scale,
    kinds.RefreshReference: _refresh,
    kinds.OpenIssue: _called,
    kinds.HttpCall: _called,
    kinds.RunCommand: _called,
}
