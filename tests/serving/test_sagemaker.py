"""The actuator `sagemaker` against moto's server. moto knows no UpdateEndpoint: the test adds that one operation."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from remediation.errors import StepFailed
from remediation.values import Arrangement, Desired
from serving.actuators.sagemaker import SageMaker, boto_client
from serving.actuators.values import SageMakerReach
from serving.peers import PeerTrouble

S = 1_000_000
REGION = "eu-west-1"


@pytest.fixture(scope="module")
def aws() -> Iterator[str]:
    from moto.sagemaker.responses import SageMakerResponse
    from moto.server import ThreadedMotoServer

    def update_endpoint(self: Any) -> str:
        backend = self.sagemaker_backend
        endpoint = backend.endpoints[self._get_param("EndpointName")]
        name = self._get_param("EndpointConfigName")
        config = backend.describe_endpoint_config(name)
        endpoint.endpoint_config_name = name
        endpoint.production_variants = endpoint._process_production_variants(config["ProductionVariants"])
        return json.dumps({"EndpointArn": endpoint.arn})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SageMakerResponse, "update_endpoint", update_endpoint, raising=False)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
        server.start()
        host, port = server.get_host_and_port()
        try:
            yield f"http://{host}:{port}"
        finally:
            server.stop()


@pytest.fixture
def reach(aws: str, request: pytest.FixtureRequest) -> SageMakerReach:
    name = str(abs(hash(request.node.name)))[:10]
    return SageMakerReach(
        name="aws", models="*", region=REGION, endpoint=f"{{model}}-{name}", endpoint_url=aws, timeout_s=30.0
    )


@pytest.fixture
def client(reach: SageMakerReach) -> Any:
    """boto3's client, with three models and an endpoint on the first."""
    client = boto_client(reach)
    for version in ("1", "2", "3"):
        with contextlib.suppress(client.exceptions.ClientError):
            client.create_model(ModelName=f"m-{version}", ExecutionRoleArn="arn:aws:iam::123456789012:role/r")
    first = {
        "VariantName": "version-1",
        "ModelName": "m-1",
        "InitialInstanceCount": 2,
        "InitialVariantWeight": 1.0,
        "InstanceType": "ml.m5.xlarge",
    }
    name = _endpoint(reach)
    client.create_endpoint_config(EndpointConfigName=f"{name}-first", ProductionVariants=[first])
    client.create_endpoint(EndpointName=name, EndpointConfigName=f"{name}-first")
    return client


def _endpoint(reach: SageMakerReach) -> str:
    return reach.endpoint.format(model="m")


def desired(version: str, epoch: int, **arrangement: Any) -> Desired:
    return Desired(
        model="m",
        version=version,
        digest=f"sha256:{version}",
        epoch=epoch,
        decided_by="agent",
        reason="test",
        at_us=0,
        arrangement=Arrangement(**arrangement),
    )


async def _state(actuator: SageMaker, wanted: Desired, after_s: float = 1.0) -> tuple[str, str]:
    found = await actuator.observe(wanted, asked_us=0, now_us=round(after_s * S))
    return found.state, found.sentence


class Counting:
    """A client whose calls are counted, and of which one may lose its answer after the effect."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.called: list[str] = []
        self.lose: str | None = None

    def __getattr__(self, name: str) -> Any:
        from botocore.exceptions import ReadTimeoutError

        def call(**arguments: Any) -> Any:
            self.called.append(name)
            answer = getattr(self._client, name)(**arguments)
            if name == self.lose:
                self.lose = None
                raise ReadTimeoutError(endpoint_url="aws")
            return answer

        return call


async def test_traffic_is_shifted_in_steps(client: Any, reach: SageMakerReach) -> None:
    counting = Counting(client)
    actuator = SageMaker(reach, lambda: counting)
    digests = {"2": "sha256:2"}
    for epoch, share in enumerate((0.1, 0.5), start=5):
        wanted = desired("1", epoch, shares={"2": share}, digests=digests)
        await actuator.apply(wanted)
        assert (await _state(actuator, wanted))[1].endswith(f"m-1 with {1 - share:.0%}, m-2 with {share:.0%}")
    # The second step moved weights alone: no instance was replaced.
    assert counting.called.count("update_endpoint") == 1
    assert counting.called.count("update_endpoint_weights_and_capacities") == 1
    whole = desired("2", 7)
    await actuator.apply(whole)
    assert await _state(actuator, whole) == (
        "loaded",
        f"the endpoint {_endpoint(reach)} is in service with m-2 with 100%",
    )
    found = client.describe_endpoint(EndpointName=_endpoint(reach))
    config = client.describe_endpoint_config(EndpointConfigName=found["EndpointConfigName"])
    (variant,) = config["ProductionVariants"]
    assert (variant["InstanceType"], variant["InitialInstanceCount"]) == ("ml.m5.xlarge", 2)
    assert (await _state(actuator, desired("1", 8)))[0] == "waiting"
    assert (await _state(actuator, desired("1", 8), after_s=1_801))[0] == "refused"
    with pytest.raises(StepFailed, match="epoch 7 is in force"):
        await actuator.apply(desired("1", 6))


@pytest.mark.parametrize("lost", ["create_endpoint_config", "update_endpoint"])
async def test_a_lost_answer_is_one_effect(client: Any, reach: SageMakerReach, lost: str) -> None:
    counting = Counting(client)
    counting.lose = lost
    actuator = SageMaker(reach, lambda: counting)
    with pytest.raises(PeerTrouble):
        await actuator.apply(desired("2", 5))
    await actuator.apply(desired("2", 5))
    await actuator.apply(desired("2", 5))
    assert counting.called.count("update_endpoint") == 1
    assert (await _state(actuator, desired("2", 5)))[0] == "loaded"


@pytest.mark.parametrize("code", ["ValidationException", "ResourceInUse"])
async def test_a_configuration_that_is_there_is_known_by_its_name_and_not_by_words(
    client: Any, reach: SageMakerReach, code: str
) -> None:
    from botocore.exceptions import ClientError

    class Refusing(Counting):
        made = True

        def create_endpoint_config(self, **arguments: Any) -> None:
            if self.made:
                client.create_endpoint_config(**arguments)
            raise ClientError({"Error": {"Code": code, "Message": "la configuration est connue"}}, "Create")

    refusing = Refusing(client)
    wanted = desired("2", 5)
    await SageMaker(reach, lambda: refusing).apply(wanted)
    assert (await _state(SageMaker(reach, lambda: client), wanted))[0] == "loaded"
    refusing.made = False
    with pytest.raises((StepFailed, PeerTrouble), match="la configuration est connue"):
        await SageMaker(reach, lambda: refusing).apply(desired("3", 6))


async def test_servers_are_scaled(client: Any, reach: SageMakerReach) -> None:
    actuator = SageMaker(reach, lambda: client)
    more = desired("1", 5, replicas=4)
    await actuator.apply(more)
    assert (await _state(actuator, more))[0] == "loaded"
    (variant,) = client.describe_endpoint(EndpointName=_endpoint(reach))["ProductionVariants"]
    assert variant["DesiredInstanceCount"] == 4


async def test_what_sagemaker_refuses_is_told(client: Any, reach: SageMakerReach) -> None:
    actuator = SageMaker(reach, lambda: client)
    with pytest.raises(StepFailed, match="Could not find model"):
        await actuator.apply(desired("9", 5))
    assert (await _state(actuator, desired("1", 5)))[0] == "loaded"
    assert actuator.refusal(desired("1", 5, shadows=("2",))) == "SageMaker endpoints know no shadows"
    assert actuator.refusal(desired("1", 5, shares={"2": 0.1})) is None


async def test_an_endpoint_in_trouble(client: Any, reach: SageMakerReach) -> None:
    class Told:
        def __init__(self, status: str) -> None:
            self.status = status

        def describe_endpoint(self, **arguments: Any) -> dict[str, Any]:
            return {
                **client.describe_endpoint(**arguments),
                "EndpointStatus": self.status,
                "FailureReason": "disk",
            }

    updating, failed = (
        SageMaker(reach, lambda status=status: Told(status)) for status in ("Updating", "Failed")
    )
    with pytest.raises(PeerTrouble, match="is Updating"):
        await updating.apply(desired("2", 5))
    assert (await _state(updating, desired("2", 5)))[0] == "waiting"
    assert (await _state(failed, desired("2", 5)))[1].endswith("is Failed: disk")
    nobody = SageMaker(
        SageMakerReach(name="a", models="*", region=REGION, endpoint_url="http://127.0.0.1:1", timeout_s=1.0)
    )
    with pytest.raises(PeerTrouble):
        await nobody.apply(desired("2", 5))
    assert (await _state(nobody, desired("2", 5)))[0] == "waiting"
