"""Steps that change how the version that serves answers, and not which one does."""

from msgspec.structs import replace

from remediation.evidence import ARRIVALS, BREAK_MEASURES, CERTAIN_BREAKS, strongest
from remediation.playbooks import steps as kinds
from remediation.playbooks.drafts.values import WITH_INCIDENT, Draft
from remediation.playbooks.scene import Scene


def quarantine(step: kinds.QuarantineFeature, scene: Scene) -> Draft | str:
    """Features are replaced before scoring."""
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
        grown = each.value - (each.reference or 0.0)
        if each.feature is not None and (each.measure in CERTAIN_BREAKS or grown >= min_share):
            broken.setdefault(each.feature, each.measure)
    return broken


def _value(impute: str | float, feature: str, scene: Scene) -> float | None:
    if isinstance(impute, str):
        return scene.median(feature) if impute == "median" else None
    return float(impute)


def pause(step: kinds.PauseModel, scene: Scene) -> Draft | str:
    """Every request is refused."""
    del step
    if scene.before.paused:
        return f"{scene.serving.model} is paused already"
    return Draft(
        blast_radius=f"Every request of {scene.serving.model} is refused with 503 until somebody resumes it.",
        undo=f"Version {scene.serving.version} answers again.",
        arrangement=replace(scene.before, paused=True),
    )


def detail(step: kinds.RaiseLogDetail, scene: Scene) -> Draft | str:
    """Every request is logged in full."""
    if scene.before.detailed:
        return f"every request of {scene.serving.model} is logged in full already"
    return Draft(
        blast_radius=f"Each request of {scene.serving.model} is logged in full. No answer changes.",
        undo="Requests are logged as before." + ("" if step.keep else WITH_INCIDENT),
        arrangement=replace(scene.before, detailed=True),
        parameters={"keep": True} if step.keep else {},
    )


def scale(step: kinds.ScaleReplicas, scene: Scene) -> Draft | str:
    """So many servers run."""
    if scene.before.replicas == step.replicas:
        return f"{step.replicas} servers of {scene.serving.model} are asked for already"
    now = "as many as run now" if scene.before.replicas is None else f"{scene.before.replicas}"
    return Draft(
        blast_radius=f"{step.replicas} servers answer for {scene.serving.model} instead of {now}. No answer changes.",
        undo=f"The number of servers is {now} again.",
        arrangement=replace(scene.before, replicas=step.replicas),
        parameters={"replicas": step.replicas},
    )
