"""What an InferenceService says about itself."""

from dataclasses import dataclass
from typing import Any, Self, cast

from remediation.acknowledgements import Standing
from remediation.values import Desired
from serving.actuators.progress import loaded, refused, waiting

PREFIX = "homeostat.dev/"
MODEL, VERSION, DIGEST, EPOCH, ARRANGEMENT = (
    PREFIX + name for name in ("model", "version", "digest", "epoch", "arrangement")
)
_FAILED = ("BlockedByFailedLoad", "InvalidSpec")
_FRAMEWORKS = ("sklearn", "xgboost", "lightgbm", "onnx", "pytorch", "tensorflow", "triton", "pmml", "paddle")
"""Predictors of the schema before `model`, which KServe still takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The parts of an InferenceService that matter here."""

    annotations: dict[str, str]
    resource_version: str
    generation: int
    predictor: dict[str, Any]
    status: dict[str, Any]

    @classmethod
    def of(cls, content: Any) -> Self:
        """From the API's JSON; what is not there counts as empty."""
        whole = _table(content)
        metadata = _table(whole.get("metadata"))
        return cls(
            annotations={str(k): str(v) for k, v in _table(metadata.get("annotations")).items()},
            resource_version=str(metadata.get("resourceVersion", "")),
            generation=int(metadata.get("generation") or 0),
            predictor=_table(_table(whole.get("spec")).get("predictor")),
            status=_table(whole.get("status")),
        )

    @property
    def epoch(self) -> int:
        """The decision in force; 0 where nobody has decided yet."""
        text = self.annotations.get(EPOCH, "")
        return int(text) if text.isdecimal() else 0

    @property
    def legacy_framework(self) -> str | None:
        """The key under which an old InferenceService names its model."""
        return next((name for name in _FRAMEWORKS if name in self.predictor), None)

    @property
    def storage_uri(self) -> str | None:
        """Where the newest revision reads its model."""
        return _table(self.predictor.get(self.legacy_framework or "model")).get("storageUri")

    @property
    def percent(self) -> int | None:
        """The share of the newest revision, where it is a canary."""
        return self.predictor.get("canaryTrafficPercent")

    @property
    def max_replicas(self) -> int:
        """The most servers that may run."""
        return int(self.predictor.get("maxReplicas") or 0)


def canary_of(desired: Desired) -> int | None:
    """The percentage of the newest revision; None: all."""
    return next((round(share * 100) for share in desired.arrangement.shares.values()), None)


def judged(
    service: Service,
    where: str,
    percent: int | None,
    desired: Desired,
    *,
    asked_us: int,
    now_us: int,
    patience_s: float,
) -> Standing:
    """How far the specification has come, by what the controller says."""

    def not_yet(why: str) -> Standing:
        return waiting(f"{where}: {why}", asked_us=asked_us, now_us=now_us, patience_s=patience_s)

    status = service.status
    if int(status.get("observedGeneration") or 0) < service.generation:
        return not_yet("the controller has not seen the change yet")
    model_status = _table(status.get("modelStatus"))
    if model_status.get("transitionStatus") in _FAILED:
        info = _table(model_status.get("lastFailureInfo"))
        why = " ".join(str(info[key]) for key in ("reason", "message") if info.get(key))
        return refused(f"{where}: {model_status['transitionStatus']}{f': {why}' if why else ''}")
    ready = next((one for one in _tables(status.get("conditions")) if one.get("type") == "Ready"), {})
    if ready.get("status") != "True":
        return not_yet(f"not ready ({ready.get('reason') or ready.get('message') or 'no reason given'})")
    component = _table(_table(status.get("components")).get("predictor"))
    newest, created = component.get("latestReadyRevision"), component.get("latestCreatedRevision")
    if newest != created:
        return not_yet(f"revision {created} is not ready, {newest} serves")
    traffic = _tables(component.get("traffic"))
    wants = 100 if percent is None else percent
    gets = sum(int(one.get("percent") or 0) for one in traffic if one.get("revisionName") == newest)
    if traffic and gets != wants:
        return not_yet(f"revision {newest} gets {gets} % of the traffic, not {wants} %")
    replicas = desired.arrangement.replicas
    scaled = f", at least {replicas} servers asked for" if replicas is not None else ""
    return loaded(
        f"{where}: revision {newest or 'of the deployment'} is ready with {wants} % of the traffic{scaled}",
        now_us=now_us,
    )


def _table(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _tables(value: Any) -> list[dict[str, Any]]:
    return [_table(one) for one in cast("list[Any]", value)] if isinstance(value, list) else []
