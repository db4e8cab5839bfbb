"""Models that a service of yours serves: it is told by a signed request, and asked what is in force."""

from typing import Annotated, Literal

import msgspec

from remediation.acknowledgements import Standing
from remediation.errors import StepFailed
from remediation.values import Arrangement, Desired
from serving.actuators.progress import Patience, loaded, refused, waiting
from serving.actuators.values import Part, WebhookReach
from serving.peers import Peer, PeerTrouble, from_environment
from serving.signing import signed_headers


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What the service answers. `state`: of the decision with this `epoch`. `digest`, `arrangement` (the hash): where
    it knows them they are compared."""

    epoch: Annotated[int, msgspec.Meta(ge=0)]
    state: Literal["loaded", "waiting", "refused"]
    version: str | None = None
    digest: str | None = None
    arrangement: str | None = None
    detail: str = ""


class Webhook:
    """Posts the desired state with the key `model:epoch`, and reads the state (fulfils `remediation.ports.Actuator`).
    Both are signed, see `serving.signing`."""

    proves = (
        "What the service that was told says about itself; digest and arrangement too, where it names them."
    )

    def __init__(self, reach: WebhookReach) -> None:
        self._reach = reach

    def refusal(self, desired: Desired) -> str | None:
        """Why the service cannot do this: what it `supports` says the file."""
        wanted = parts_of(desired.arrangement)
        cannot = [part for part in wanted if part not in self._reach.supports]
        if cannot:
            has = ", ".join(self._reach.supports) or "nothing beside a version"
            return f"{self._reach.name} supports {has}, and this needs {', '.join(cannot)}"
        return None

    async def apply(self, desired: Desired) -> None:
        """Raises `StepFailed` when the service refuses for good, `PeerTrouble` when nobody knows."""
        body = msgspec.json.encode(
            {**msgspec.to_builtins(desired), "arrangement_hash": desired.arrangement.hash}
        )
        secret, url = self._secret(), from_environment(self._reach.url_env, f"address of {self._reach.name}")
        headers = {
            **signed_headers(secret, body),
            "Content-Type": "application/json",
            "Idempotency-Key": f"{desired.model}:{desired.epoch}",
        }
        peer = self._asking(secret, url)
        answer = await peer.ask("POST", url, body=body, headers=headers)
        if answer.status >= 300:
            raise StepFailed(f"{self._reach.name} refused epoch {desired.epoch}: {peer.told(answer)}")

    async def observe(self, desired: Desired, *, asked_us: int, now_us: int) -> Standing:
        """What the service says."""
        patience: Patience = {"asked_us": asked_us, "now_us": now_us, "patience_s": self._reach.patience_s}
        try:
            state = await self._state(desired.model)
        except PeerTrouble as error:
            return waiting(str(error), **patience)
        if state is None or state.epoch < desired.epoch:
            return waiting(f"{self._reach.name} does not know epoch {desired.epoch} yet", **patience)
        if state.epoch > desired.epoch:
            return refused(f"{self._reach.name} was told of epoch {state.epoch} since")
        if state.state == "refused":
            return refused(f"{self._reach.name} refused: {state.detail or 'it gave no reason'}")
        if state.state == "waiting":
            return waiting(f"{self._reach.name}: {state.detail or 'not in force yet'}", **patience)
        return self._judged(state, desired, now_us)

    def _judged(self, state: State, desired: Desired, now_us: int) -> Standing:
        told = {
            "version": (state.version, desired.version),
            "digest": (state.digest, desired.digest),
            "arrangement": (state.arrangement, desired.arrangement.hash),
        }
        for what, (says, wants) in told.items():
            if says is not None and says != wants:
                return refused(f"{self._reach.name} says {what} {says}, decided was {wants or 'none'}")
        proven = "with the digest" if state.digest is not None else "without a digest"
        return loaded(
            f"{self._reach.name} says that version {desired.version} serves ({proven})", now_us=now_us
        )

    async def _state(self, model: str) -> State | None:
        secret = self._secret()
        url = from_environment(self._reach.state_url_env, f"state of {self._reach.name}").replace(
            "{model}", model
        )
        answer = await self._asking(secret, url).ask("GET", url, headers=signed_headers(secret, b""))
        if answer.status == 404:
            return None
        try:
            return msgspec.convert(answer.json(), State)
        except msgspec.ValidationError as error:
            raise PeerTrouble(f"{self._reach.name} answers what is no state: {error}") from error

    def _secret(self) -> str:
        return from_environment(self._reach.secret_env, f"secret of {self._reach.name}")

    def _asking(self, secret: str, url: str) -> Peer:
        return Peer(timeout_s=self._reach.timeout_s, secrets=(secret, url))


def parts_of(arrangement: Arrangement) -> list[Part]:
    """Which parts of an arrangement are used."""
    used: dict[Part, bool] = {
        "shares": bool(arrangement.shares),
        "shadows": bool(arrangement.shadows),
        "constant": arrangement.constant is not None,
        "imputed": bool(arrangement.imputed),
        "paused": arrangement.paused,
        "detailed": arrangement.detailed,
        "replicas": arrangement.replicas is not None,
    }
    return [part for part, is_used in used.items() if is_used]
