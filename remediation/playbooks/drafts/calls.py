"""Steps whose effect is outside of serving."""

from typing import Any

import msgspec

from remediation.plans import surely_changed_us
from remediation.playbooks import steps as kinds
from remediation.playbooks.drafts.values import Draft
from remediation.playbooks.scene import Scene


def refresh(step: kinds.RefreshReference, scene: Scene) -> Draft | str:
    """What the version is compared with is made anew."""
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


def called(step: kinds.OpenIssue | kinds.HttpCall | kinds.RunCommand, scene: Scene) -> Draft | str:
    """An issue, an HTTP call or a command."""
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
