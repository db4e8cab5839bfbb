"""Who serves what, as the inference servers themselves said it."""

from typing import Literal

from detectors.values import Value
from remediation.clock import seconds
from remediation.config import ExecutionConfig
from remediation.values import Acknowledgement, Desired

_EPOCHS_KEPT = 8


class Standing(Value, frozen=True, kw_only=True):
    """How far a desired state has come: `loaded` by every server that is alive, `refused`, or `waiting`."""

    state: Literal["loaded", "refused", "waiting"]
    sentence: str
    at_us: int = 0


class Acknowledgements:
    """The latest acknowledgement per model, epoch and server. It lives in memory: the topic is its durable
    form."""

    def __init__(self) -> None:
        self._by_model: dict[str, dict[int, dict[str, Acknowledgement]]] = {}

    def record(self, acknowledgement: Acknowledgement) -> None:
        """Take one in; a later one of the same server and epoch replaces it."""
        epochs = self._by_model.setdefault(acknowledgement.model, {})
        epochs.setdefault(acknowledgement.epoch, {})[acknowledgement.server] = acknowledgement
        for epoch in sorted(epochs)[:-_EPOCHS_KEPT]:
            del epochs[epoch]

    def servers_before(self, model: str, epoch: int) -> frozenset[str]:
        """The servers that had loaded the state before `epoch`: those whose answer is awaited."""
        epochs = self._by_model.get(model, {})
        for earlier in sorted((each for each in epochs if each < epoch), reverse=True):
            loaded = frozenset(name for name, said in epochs[earlier].items() if said.loaded)
            if loaded:
                return loaded
        return frozenset()

    def standing(self, desired: Desired, *, asked_us: int, now_us: int, config: ExecutionConfig) -> Standing:
        """Judge `desired`, published at `asked_us`. Only digest and arrangement count: a server that says it loaded
        the version but names other bytes, or answers in another way, has refused."""
        said = self._by_model.get(desired.model, {}).get(desired.epoch, {})
        good = {name: each for name, each in said.items() if each.loaded and _as_decided(each, desired)}
        bad = {name: each for name, each in said.items() if name not in good}
        missing = self.servers_before(desired.model, desired.epoch) - said.keys()
        patient = now_us - asked_us < seconds(config.acknowledge_grace_s)
        what = f"version {desired.version} ({desired.digest[:19]})"
        if good and not bad and (not missing or not patient):
            gone = f"; no answer from {', '.join(sorted(missing))}, taken for gone" if missing else ""
            at_us = max(each.at_us for each in good.values())
            sentence = f"{what} loaded by {', '.join(sorted(good))}{gone}"
            return Standing(state="loaded", sentence=sentence, at_us=at_us)
        if bad and not patient:
            told = "; ".join(f"{name}: {_refusal(bad[name], desired)}" for name in sorted(bad))
            return Standing(state="refused", sentence=f"{what} was not loaded ({told})")
        if now_us - asked_us >= seconds(config.acknowledge_s):
            sentence = f"no inference server acknowledged {what} in {config.acknowledge_s:g} s"
            return Standing(state="refused", sentence=sentence)
        awaited = ", ".join(sorted(missing | bad.keys())) or "any inference server"
        return Standing(state="waiting", sentence=f"{what}: waiting for {awaited}")


def _as_decided(acknowledgement: Acknowledgement, desired: Desired) -> bool:
    return (acknowledgement.digest, acknowledgement.arrangement) == (desired.digest, desired.arrangement.hash)


def _refusal(acknowledgement: Acknowledgement, desired: Desired) -> str:
    if acknowledgement.loaded and acknowledgement.digest != desired.digest:
        return f"it runs {acknowledgement.digest}, not {desired.digest}"
    if acknowledgement.loaded:
        in_force = acknowledgement.arrangement or "none"
        return f"its arrangement is {in_force}, not {desired.arrangement.hash or 'none'}"
    return acknowledgement.detail or "refused without a reason"
