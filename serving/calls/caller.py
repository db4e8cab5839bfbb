"""One caller for all kinds (fulfils `remediation.ports.Caller`)."""

from collections.abc import Mapping
from typing import Any, Protocol

from remediation.errors import StepFailed
from remediation.values import ActionKind


class Effect(Protocol):
    """One kind of effect."""

    async def call(self, parameters: Mapping[str, Any], *, key: str) -> str:
        """Have the effect and answer with a sentence."""
        ...

    async def observe(self, parameters: Mapping[str, Any], *, key: str) -> str | None:
        """A sentence when the effect with this key has happened."""
        ...


class Calls:
    """Knows who has which effect; raises `StepFailed` for a kind that nobody has."""

    def __init__(self, effects: Mapping[ActionKind, Effect]) -> None:
        self._effects = effects

    async def call(self, kind: ActionKind, parameters: Mapping[str, Any], *, key: str) -> str:
        """Have the effect."""
        return await self._effect(kind).call(parameters, key=key)

    async def observe(self, kind: ActionKind, parameters: Mapping[str, Any], *, key: str) -> str | None:
        """Look for it."""
        return await self._effect(kind).observe(parameters, key=key)

    def _effect(self, kind: ActionKind) -> Effect:
        found = self._effects.get(kind)
        if found is None:
            raise StepFailed(
                f"{kind} cannot be done here; what can: {', '.join(sorted(self._effects)) or 'nothing'}"
            )
        return found
