"""Steps that make another version answer, or prepare it."""

from msgspec import to_builtins
from msgspec.structs import replace

from remediation.demands import demanded
from remediation.evidence import OUTCOMES, broken_inputs, strongest
from remediation.identity import plan_id, seed
from remediation.plans import surely_changed_us
from remediation.playbooks import steps as kinds
from remediation.playbooks.drafts.values import WITH_INCIDENT, Draft, answering, without
from remediation.playbooks.scene import Scene
from remediation.values import Arrangement, ModelVersion

_AGAIN = "As it was before, from the record of this plan."


def rollback(step: kinds.Rollback, scene: Scene) -> Draft | str:
    """Back to the last good version; an ill one that answers only a share loses it."""
    del step
    model, ill = scene.serving.model, scene.facts.version
    if scene.is_canary:
        return Draft(
            blast_radius=f"No request of {model} goes to version {ill} any more; version {scene.serving.version} "
            "answers all of them.",
            undo=f"Version {ill} gets {scene.before.shares[ill]:.0%} of the requests again.",
            arrangement=without(scene.before, ill),
            to=scene.serving,
            evidence=(f"version {ill} answers {scene.before.shares[ill]:.0%} of the requests",),
        )
    target, reasons = scene.last_good()
    if target is None:
        return "no version is safe to go back to: " + "; ".join(reasons)
    return _replaced(scene, target, tuple(reasons))


def promote(step: kinds.Promote, scene: Scene) -> Draft | str:
    """The version that is named."""
    target, reasons = scene.version(step.to)
    return "; ".join(reasons) if target is None else _replaced(scene, target, tuple(reasons))


def shift(step: kinds.ShiftTraffic, scene: Scene) -> Draft | str:
    """The same in shares."""
    target, reasons = scene.version(step.to)
    if target is None:
        return "; ".join(reasons)
    shares = ", then ".join(f"{share:.0%}" for share in step.shares)
    return Draft(
        blast_radius=f"Version {target.version} answers {shares} of the requests of {scene.serving.model} instead of "
        f"version {scene.serving.version}; each share is watched for {step.hold_s:g} s before the next.",
        undo=f"Version {scene.serving.version} answers every request again.",
        arrangement=answering(scene.before),
        to=target,
        parameters={"shares": list(step.shares), "hold_s": step.hold_s},
        evidence=tuple(reasons),
    )


def shadow(step: kinds.Shadow, scene: Scene) -> Draft | str:
    """A version beside the one that answers."""
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
        undo=f"Version {target.version} scores no request any more." + ("" if step.keep else WITH_INCIDENT),
        arrangement=after,
        parameters={"version": target.version} | ({"keep": True} if step.keep else {}),
        evidence=tuple(reasons),
    )


def fall_back(step: kinds.FallBack, scene: Scene) -> Draft | str:
    """A version, or a constant."""
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


def retrain(step: kinds.Retrain, scene: Scene, attempt: int) -> Draft | str:
    """A candidate that has to beat the version that serves; never from what is known to be wrong."""
    facts, current = scene.facts, scene.serving
    if scene.cause.cause == "upstream_data_break" and "broken_data" not in step.accept:
        return "a candidate would learn from data that are broken; `accept: [broken_data]` allows it"
    if scene.cause.cause == "label_problem" and "bad_labels" not in step.accept:
        return "a candidate would learn from labels that cannot be trusted; `accept: [bad_labels]` allows it"
    if "broken_data" not in step.accept and (why := _spoiled(scene)) is not None:
        return f"{why}, and a candidate would learn that; `accept: [broken_data]` allows it"
    with_past = scene.cause.cause != "concept_shift" if step.with_past is None else step.with_past
    told = strongest(facts.firing(*OUTCOMES))
    asked = demanded(told, better=step.gate.better, by=step.gate.by, not_worse=step.gate.not_worse)
    return Draft(
        blast_radius=f"A candidate is trained on archived, labelled events of {current.model}. Only if it beats "
        f"version {current.version} on recent cases that it never saw ({asked.told}), every prediction comes from it.",
        undo=f"Version {current.version} serves again; it stays registered, and comes back by itself if the "
        "candidate fails.",
        arrangement=answering(scene.before),
        parameters={
            "since_us": surely_changed_us(facts),
            "until_us": facts.now_us,
            "with_past": with_past,
            "seed": seed(plan_id(facts.incident.id, attempt)),
            "gate": asked.told,
            "demand": to_builtins(asked),
        }
        | ({"accept": list(step.accept)} if step.accept else {}),
    )


def _spoiled(scene: Scene) -> str | None:
    """What is wrong with the inputs of today, whatever the cause is called; None where nothing is known of it."""
    if scene.before.imputed:
        return f"{', '.join(sorted(scene.before.imputed))} is in quarantine: what arrives is replaced"
    return broken_inputs(scene.facts.quality())


def _replaced(scene: Scene, target: ModelVersion, reasons: tuple[str, ...]) -> Draft:
    """Another version answers every request."""
    current = scene.serving
    return Draft(
        blast_radius=f"Every prediction of {current.model} comes from version {target.version} instead of "
        f"{current.version}, on all inference servers, within seconds and without a dropped request.",
        undo=f"Promote version {current.version} again; its artifact stays registered."
        + ("" if scene.before == Arrangement() else f" {_AGAIN}"),
        arrangement=answering(scene.before),
        to=target,
        evidence=reasons,
    )
