"""How each kind of step becomes the core of a plan, or the reason why it cannot. Pure."""

from collections.abc import Callable
from typing import Any

from remediation.playbooks import steps as kinds
from remediation.playbooks.drafts import answers, calls, versions
from remediation.playbooks.drafts.values import Draft
from remediation.playbooks.scene import Scene

__all__ = ["Draft", "draft"]


def draft(step: kinds.Step, scene: Scene, *, attempt: int) -> Draft | str:
    """The core of the plan for `step`, the `attempt`-th of the incident; or why there is none."""
    if isinstance(step, kinds.Retrain):
        return versions.retrain(step, scene, attempt)
    return _MAKERS[type(step)](step, scene)


_MAKERS: dict[type[kinds.Common], Callable[[Any, Scene], Draft | str]] = {
    kinds.Rollback: versions.rollback,
    kinds.Promote: versions.promote,
    kinds.ShiftTraffic: versions.shift,
    kinds.Shadow: versions.shadow,
    kinds.FallBack: versions.fall_back,
    kinds.QuarantineFeature: answers.quarantine,
    kinds.PauseModel: answers.pause,
    kinds.RaiseLogDetail: answers.detail,
    kinds.ScaleReplicas: answers.scale,
    kinds.RefreshReference: calls.refresh,
    kinds.OpenIssue: calls.called,
    kinds.HttpCall: calls.called,
    kinds.RunCommand: calls.called,
}
