"""Models behind a real-time endpoint of SageMaker.

Source: Amazon SageMaker API reference (CreateEndpointConfig, UpdateEndpoint, UpdateEndpointWeightsAndCapacities,
DescribeEndpoint).
"""

import asyncio
import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any, cast

import msgspec

from remediation.acknowledgements import Standing
from remediation.errors import StepFailed
from remediation.values import Desired
from serving.actuators.progress import Patience, loaded, refused, waiting
from serving.actuators.values import SageMakerReach
from serving.actuators.webhook import parts_of
from serving.peers import PeerTrouble

_POSSIBLE = ("shares", "replicas")
_MAX_VARIANTS = 10
_FAILED = ("Failed", "OutOfService", "UpdateRollbackFailed")
_LATER = (
    "Throttling",
    "TooManyRequests",
    "RequestLimitExceeded",
    "ServiceUnavailable",
    "InternalFailure",
    "ResourceInUse",
)
_MAY_EXIST = ("ValidationException", "ResourceInUse")
_IN_PROGRESS = re.compile(r"in.progress|Updating|Creating", re.IGNORECASE)


class Variant(msgspec.Struct, frozen=True):
    """One production variant: the SageMaker model behind it, its weight, and how many instances it shall have (None: as
    it is)."""

    model: str
    weight: float
    instances: int | None


class SageMaker:
    """Fulfils `remediation.ports.Actuator`. Where the same variants only share the traffic differently, weights are
    changed; else an endpoint configuration that is named by epoch and content is made, and the endpoint is moved to it.

    client: makes boto3's client for SageMaker; it is asked for in a thread.
    """

    proves = (
        "The endpoint is in service with the SageMaker models of the decided versions and their weights; which bytes "
        "their containers loaded is not known."
    )

    def __init__(self, reach: SageMakerReach, client: Callable[[], Any] | None = None) -> None:
        self._reach = reach
        self._client = client or (lambda: boto_client(reach))

    def refusal(self, desired: Desired) -> str | None:
        """It shares traffic among variants, and scales them."""
        cannot = [part for part in parts_of(desired.arrangement) if part not in _POSSIBLE]
        if cannot:
            return f"SageMaker endpoints know no {', '.join(cannot)}"
        if len(desired.arrangement.shares) >= _MAX_VARIANTS:
            return (
                f"an endpoint has at most {_MAX_VARIANTS} variants, not {len(desired.arrangement.shares) + 1}"
            )
        return None

    async def apply(self, desired: Desired) -> None:
        """Raises `StepFailed` when it cannot be done, `PeerTrouble` when it may be tried again."""
        await asyncio.to_thread(self._told, self._apply, desired)

    async def observe(self, desired: Desired, *, asked_us: int, now_us: int) -> Standing:
        """What the endpoint says."""
        patience: Patience = {"asked_us": asked_us, "now_us": now_us, "patience_s": self._reach.patience_s}
        try:
            return await asyncio.to_thread(self._told, self._observe, desired, patience)
        except PeerTrouble as error:
            return waiting(str(error), **patience)

    def _apply(self, desired: Desired) -> None:
        client, endpoint = self._client(), self._endpoint(desired.model)
        found = client.describe_endpoint(EndpointName=endpoint)
        name = self._config_name(desired)
        pending = found.get("PendingDeploymentSummary") or {}
        if name in (found["EndpointConfigName"], pending.get("EndpointConfigName")):
            return
        newer = _epoch_of(found["EndpointConfigName"])
        if newer is not None and newer > desired.epoch:
            raise StepFailed(f"epoch {newer} is in force at the endpoint {endpoint}: superseded")
        if found["EndpointStatus"] != "InService":
            raise PeerTrouble(
                f"the endpoint {endpoint} is {found['EndpointStatus']}; it can be changed when in service"
            )
        config = client.describe_endpoint_config(EndpointConfigName=found["EndpointConfigName"])
        wanted, has = self._variants(desired), _variants_of(config, found)
        if {key: one.model for key, one in wanted.items()} == {key: one.model for key, one in has.items()}:
            self._weigh(client, endpoint, wanted, has)
            return
        self._make_config(client, name, wanted, config)
        client.update_endpoint(EndpointName=endpoint, EndpointConfigName=name)

    def _weigh(
        self, client: Any, endpoint: str, wanted: Mapping[str, Variant], has: Mapping[str, Variant]
    ) -> None:
        if _same(wanted, has):
            return
        changes = [
            {"VariantName": key, "DesiredWeight": one.weight}
            | ({} if one.instances is None else {"DesiredInstanceCount": one.instances})
            for key, one in wanted.items()
        ]
        client.update_endpoint_weights_and_capacities(
            EndpointName=endpoint, DesiredWeightsAndCapacities=changes
        )

    def _make_config(
        self, client: Any, name: str, wanted: Mapping[str, Variant], config: Mapping[str, Any]
    ) -> None:
        """What the file and the configuration in force say of instances stays."""
        known = {one["VariantName"]: one for one in config["ProductionVariants"]}
        usual = config["ProductionVariants"][0] if config["ProductionVariants"] else {}
        variants = [
            {
                "VariantName": key,
                "ModelName": one.model,
                "InitialVariantWeight": one.weight,
                "InstanceType": known.get(key, usual).get("InstanceType", self._reach.instance_type),
                "InitialInstanceCount": one.instances
                or known.get(key, usual).get("InitialInstanceCount", self._reach.instances),
            }
            for key, one in wanted.items()
        ]
        kept = {key: config[key] for key in ("DataCaptureConfig", "KmsKeyId") if config.get(key)}
        from botocore.exceptions import ClientError

        try:
            client.create_endpoint_config(EndpointConfigName=name, ProductionVariants=variants, **kept)
        except ClientError as error:
            # An attempt whose answer was lost has made it; SageMaker says so by a code that means other things, too.
            if _code(error) not in _MAY_EXIST or not _exists(client, name):
                raise

    def _observe(self, desired: Desired, patience: Patience) -> Standing:
        client, endpoint = self._client(), self._endpoint(desired.model)
        found = client.describe_endpoint(EndpointName=endpoint)
        status = found["EndpointStatus"]
        if status in _FAILED:
            return refused(
                f"the endpoint {endpoint} is {status}: {found.get('FailureReason', 'no reason given')}"
            )
        if status != "InService":
            return waiting(f"the endpoint {endpoint} is {status}", **patience)
        config = client.describe_endpoint_config(EndpointConfigName=found["EndpointConfigName"])
        wanted, has = self._variants(desired), _variants_of(config, found, current=True)
        if not _same(wanted, has):
            now = ", ".join(f"{one.model} with {one.weight:g}" for one in has.values())
            why = found.get("FailureReason")
            return waiting(f"the endpoint {endpoint} has {now}{f' ({why})' if why else ''}", **patience)
        told = ", ".join(f"{one.model} with {one.weight:.0%}" for one in wanted.values())
        return loaded(f"the endpoint {endpoint} is in service with {told}", now_us=patience["now_us"])

    def _variants(self, desired: Desired) -> dict[str, Variant]:
        arrangement = desired.arrangement
        rest = 1.0 - sum(arrangement.shares.values())
        shares = {desired.version: rest} if rest > 1e-9 else {}
        return {
            _variant_name(version): Variant(
                self._reach.model_name.format(model=desired.model, version=version),
                share,
                arrangement.replicas,
            )
            for version, share in {**shares, **arrangement.shares}.items()
        }

    def _endpoint(self, model: str) -> str:
        return self._reach.endpoint.format(model=model, version="")

    def _config_name(self, desired: Desired) -> str:
        content = msgspec.json.encode([desired.version, desired.arrangement.hash])
        short = hashlib.sha256(content).hexdigest()[:8]
        return f"{self._endpoint(desired.model)[:30]}-homeostat-{desired.epoch}-{short}"

    def _told(self, work: Callable[..., Any], *args: Any) -> Any:
        """Run `work`; boto's errors become ours."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return work(*args)
        except ClientError as error:
            code = _code(error)
            status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
            again = status >= 500 or any(each in code for each in _LATER) or _IN_PROGRESS.search(str(error))
            raise (PeerTrouble if again else StepFailed)(f"SageMaker: {error}") from None
        except BotoCoreError as error:
            raise PeerTrouble(f"SageMaker: {error}") from None


def _code(error: Any) -> str:
    """The code of a `ClientError`."""
    return str(error.response.get("Error", {}).get("Code", ""))


def _exists(client: Any, config: str) -> bool:
    """Whether there is an endpoint configuration of this name: it says the content, too."""
    from botocore.exceptions import ClientError

    try:
        client.describe_endpoint_config(EndpointConfigName=config)
    except ClientError as error:
        if any(each in _code(error) for each in _LATER):
            raise
        return False
    return True


def boto_client(reach: SageMakerReach) -> Any:
    """Raises `StepFailed` where boto3 is not installed."""
    try:
        import boto3
        from botocore.config import Config
    except ImportError as error:
        raise StepFailed(
            "the actuator `sagemaker` needs boto3: install homeostat-server[sagemaker]"
        ) from error
    config = Config(
        connect_timeout=reach.timeout_s, read_timeout=reach.timeout_s, retries={"total_max_attempts": 1}
    )
    make = cast("Callable[..., Any]", boto3.client)
    return make("sagemaker", region_name=reach.region, endpoint_url=reach.endpoint_url, config=config)


def _variants_of(
    config: Mapping[str, Any], endpoint: Mapping[str, Any], *, current: bool = False
) -> dict[str, Variant]:
    """As they are asked for, or (`current`) as they are. Weights as shares of all."""
    models = {one["VariantName"]: one["ModelName"] for one in config["ProductionVariants"]}
    word = "Current" if current else "Desired"
    found = endpoint.get("ProductionVariants") or []
    weights = {one["VariantName"]: float(one.get(f"{word}Weight", 1.0)) for one in found}
    whole = sum(weights.values()) or 1.0
    return {
        one["VariantName"]: Variant(
            models.get(one["VariantName"], ""),
            weights[one["VariantName"]] / whole,
            one.get(f"{word}InstanceCount"),
        )
        for one in found
    }


def _same(wanted: Mapping[str, Variant], has: Mapping[str, Variant]) -> bool:
    return wanted.keys() == has.keys() and all(
        one.model == has[key].model
        and abs(one.weight - has[key].weight) < 1e-3
        and one.instances in (None, has[key].instances)
        for key, one in wanted.items()
    )


def _variant_name(version: str) -> str:
    """Letters, digits and hyphens; two versions that differ in other signs stay two."""
    plain = re.sub(r"[^A-Za-z0-9]+", "-", version).strip("-")
    if plain == version:
        return f"version-{plain}"
    return f"version-{plain[:40]}-{hashlib.sha256(version.encode()).hexdigest()[:6]}"


def _epoch_of(config_name: str) -> int | None:
    found = re.search(r"-homeostat-(\d+)-[0-9a-f]{8}$", config_name)
    return int(found[1]) if found else None
