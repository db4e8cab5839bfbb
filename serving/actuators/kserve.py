"""Models that KServe serves: their InferenceService is changed through the Kubernetes API, and read back.

Source: https://kserve.github.io/website/docs/model-serving/predictive-inference/rollout-strategies/canary and the
control plane's API `serving.kserve.io/v1beta1`.
"""

import os
import ssl
from typing import Any

import msgspec

from remediation.acknowledgements import Standing
from remediation.errors import StepFailed
from remediation.values import Desired
from serving.actuators.kserve_state import (
    ARRANGEMENT,
    DIGEST,
    EPOCH,
    MODEL,
    VERSION,
    Service,
    canary_of,
    judged,
)
from serving.actuators.progress import Patience, refused, waiting
from serving.actuators.values import KServeReach
from serving.actuators.webhook import parts_of
from serving.peers import Answer, Peer, PeerTrouble, from_environment

_POSSIBLE = ("shares", "replicas")


class KServe:
    """Patches an InferenceService (fulfils `remediation.ports.Actuator`). An annotation carries the epoch, so that an
    older decision never replaces a newer one, and the `resourceVersion` that was read goes with the patch, so that
    nobody else's change is overwritten unseen."""

    proves = (
        "KServe has the version's place in its specification, says that the newest revision is ready, and sends it the "
        "share of the traffic that was decided; which bytes its servers read there is not known."
    )

    def __init__(self, reach: KServeReach) -> None:
        self._reach = reach

    def refusal(self, desired: Desired) -> str | None:
        """It shifts whole per cents of the traffic to one other version, and says how many servers run."""
        arrangement = desired.arrangement
        cannot = [part for part in parts_of(arrangement) if part not in _POSSIBLE]
        if cannot:
            return f"KServe knows no {', '.join(cannot)}"
        if arrangement.shares and self._reach.mode == "raw":
            return "KServe shifts traffic only in its serverless mode"
        if len(arrangement.shares) > 1:
            return f"KServe shares traffic with one other version, not with {len(arrangement.shares)}"
        for version, share in arrangement.shares.items():
            if not 0 < round(share * 100) < 100 or abs(share * 100 - round(share * 100)) > 1e-6:
                return (
                    f"the share of version {version} is {share:g}; KServe takes whole per cents from 1 to 99"
                )
        return None

    async def apply(self, desired: Desired) -> None:
        """Raises `StepFailed` when it cannot be done any more, `PeerTrouble` when nobody knows whether it was done."""
        service = await self._service(desired.model)
        if service is None:
            raise StepFailed(f"there is no InferenceService {self._where(desired.model)}")
        if service.epoch > desired.epoch:
            raise StepFailed(f"epoch {service.epoch} is in force at {self._where(desired.model)}: superseded")
        if service.epoch == desired.epoch:
            if service.annotations.get(ARRANGEMENT, "") != desired.arrangement.hash:
                raise StepFailed(f"epoch {desired.epoch} is another decision at {self._where(desired.model)}")
            return
        self._check_base(service, desired)
        answer = await self._ask(
            "PATCH",
            desired.model,
            msgspec.json.encode(self._patch(service, desired)),
            "application/merge-patch+json",
        )
        if answer.status == 409:
            raise PeerTrouble(f"{self._where(desired.model)} was changed by somebody else at this moment")
        if answer.status == 404:
            raise StepFailed(f"there is no InferenceService {self._where(desired.model)} any more")

    async def observe(self, desired: Desired, *, asked_us: int, now_us: int) -> Standing:
        """What the status of the InferenceService says."""
        patience: Patience = {"asked_us": asked_us, "now_us": now_us, "patience_s": self._reach.patience_s}
        where = self._where(desired.model)
        try:
            service = await self._service(desired.model)
        except PeerTrouble as error:
            return waiting(str(error), **patience)
        if service is None:
            return refused(f"there is no InferenceService {where} any more")
        if service.epoch > desired.epoch:
            return refused(f"epoch {service.epoch} was decided since at {where}")
        if service.epoch < desired.epoch:
            return waiting(f"{where} is still at epoch {service.epoch}", **patience)
        uri, percent = self._uri(desired), canary_of(desired)
        if service.storage_uri != uri or service.percent != percent:
            return refused(f"{where} was changed by somebody else: it names {service.storage_uri}")
        return judged(service, where, percent, desired, **patience)

    def _check_base(self, service: Service, desired: Desired) -> None:
        """A canary's other part is the revision that was rolled out last, which has to be the decided version."""
        if not desired.arrangement.shares:
            return
        own = self._filled(desired.model, desired.version)
        rolled_out = service.annotations.get(VERSION) or (
            desired.version if service.storage_uri == own else None
        )
        if rolled_out != desired.version:
            raise StepFailed(
                f"{self._where(desired.model)} has rolled out version {rolled_out or 'unknown'}, not "
                f"{desired.version}: a share of the traffic would be taken from the wrong one"
            )

    def _patch(self, service: Service, desired: Desired) -> dict[str, Any]:
        arrangement = desired.arrangement
        predictor: dict[str, Any] = {"canaryTrafficPercent": canary_of(desired)}
        if service.legacy_framework is None:
            predictor["model"] = {"storageUri": self._uri(desired)}
        else:
            predictor[service.legacy_framework] = {"storageUri": self._uri(desired)}
        if arrangement.replicas is not None:
            predictor["minReplicas"] = arrangement.replicas
            predictor["maxReplicas"] = max(arrangement.replicas, service.max_replicas)
        return {
            "metadata": {
                "resourceVersion": service.resource_version,
                "annotations": {
                    MODEL: desired.model,
                    VERSION: desired.version,
                    DIGEST: desired.digest,
                    EPOCH: str(desired.epoch),
                    ARRANGEMENT: arrangement.hash,
                },
            },
            "spec": {"predictor": predictor},
        }

    def _uri(self, desired: Desired) -> str:
        """Where the newest revision reads: the version that gets the share, or the decided one."""
        return self._filled(desired.model, next(iter(desired.arrangement.shares), desired.version))

    def _filled(self, model: str, version: str) -> str:
        return self._reach.storage_uri.format(model=model, version=version)

    async def _service(self, model: str) -> Service | None:
        answer = await self._ask("GET", model)
        if answer.status == 404:
            return None
        if answer.status == 409:
            raise PeerTrouble(f"{self._where(model)} cannot be read at the moment")
        return Service.of(answer.json())

    async def _ask(
        self, method: str, model: str, body: bytes | None = None, kind: str | None = None
    ) -> Answer:
        token = self._token()
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        if kind is not None:
            headers["Content-Type"] = kind
        peer = Peer(timeout_s=self._reach.timeout_s, secrets=(token,), verify=self._trusted())
        path = f"/apis/serving.kserve.io/v1beta1/namespaces/{self._reach.namespace}/inferenceservices"
        return await peer.ask(method, f"{self._url()}{path}/{self._name(model)}", body=body, headers=headers)

    def _url(self) -> str:
        if self._reach.url is not None:
            return self._reach.url.rstrip("/")
        host = from_environment(
            "KUBERNETES_SERVICE_HOST", "set in every pod; outside of the cluster give `url`"
        )
        port = os.environ.get("KUBERNETES_SERVICE_PORT", "443")
        return f"https://{f'[{host}]' if ':' in host else host}:{port}"

    def _token(self) -> str:
        if self._reach.token_env is not None:
            return from_environment(self._reach.token_env, f"token of {self._reach.name}")
        try:
            # Read each time: Kubernetes renews it.
            return self._reach.token_file.read_text().strip()
        except OSError as error:
            raise StepFailed(f"the token of {self._reach.name} cannot be read: {error}") from error

    def _trusted(self) -> ssl.SSLContext | None:
        if self._reach.ca_file is None:
            return None
        try:
            return ssl.create_default_context(cafile=str(self._reach.ca_file))
        except OSError as error:
            raise StepFailed(f"the certificates of {self._reach.name} cannot be read: {error}") from error

    def _name(self, model: str) -> str:
        return self._reach.service.format(model=model, version="")

    def _where(self, model: str) -> str:
        return f"{self._reach.namespace}/{self._name(model)}"
