"""When the files of versions were looked at last: what was whole a moment ago is not read once more before it serves.

A ticket waits for minutes or hours. Meanwhile the file of the version that it would bring back is looked at again now
and then, so that people learn of a loss before they approve, and a rollback does not wait for the registry after it.
"""

import hashlib

import structlog

from remediation.errors import Unusable
from remediation.ports import Clock, Registry
from remediation.values import Plan

log = structlog.get_logger()

_Name = tuple[str, str, str]


class Looks:
    """Remembers the files that were whole, by model, version and digest, for `fresh_us` microseconds. In memory: an
    agent that is begun anew looks again."""

    def __init__(self, registry: Registry, clock: Clock, fresh_us: int) -> None:
        self._registry = registry
        self._clock = clock
        self._fresh_us = fresh_us
        self._whole: dict[_Name, int] = {}
        self._tried: dict[_Name, int] = {}

    def flaw(self, model: str, version: str, digest: str) -> str | None:
        """Read the file; why it cannot be used, or None. Raises what the registry raises while it is away."""
        name = (model, version, digest)
        self._forget_old()
        self._tried[name] = self._clock.now_us()
        why = self._read(*name)
        if why is None:
            self._whole[name] = self._tried[name]
        else:
            self._whole.pop(name, None)
        return why

    def _read(self, model: str, version: str, digest: str) -> str | None:
        try:
            content = self._registry.onnx(model, version)
        except Unusable as error:
            return f"what it consists of cannot be used: {error}"
        found = "sha256:" + hashlib.sha256(content).hexdigest()
        return None if found == digest else f"its file has the digest {found}, registered is {digest}"

    def is_fresh(self, model: str, version: str, digest: str) -> bool:
        """Whether the file was whole a moment ago."""
        looked_us = self._whole.get((model, version, digest))
        return looked_us is not None and self._clock.now_us() - looked_us < self._fresh_us

    def again(self, plan: Plan) -> str | None:
        """Look once more at what a waiting plan would make serve, where the last look is half as old as it may be; what
        is wrong with it, or None. A registry that is away says nothing against it."""
        version, digest = plan.to_version, plan.to_digest
        if version is None or digest is None or version == plan.from_version:
            return None
        tried_us = self._tried.get((plan.model, version, digest), 0)
        if self._clock.now_us() - tried_us < self._fresh_us // 2:
            return None
        try:
            why = self.flaw(plan.model, version, digest)
        except Exception:
            # The registry is another process: people decide all the same.
            log.exception("A version that waits to serve could not be looked at again", plan=plan.id)
            return None
        return None if why is None else f"version {version} cannot be made to serve: {why}"

    def _forget_old(self) -> None:
        now_us = self._clock.now_us()
        for known in (self._whole, self._tried):
            for name in [each for each, at_us in [*known.items()] if now_us - at_us >= 2 * self._fresh_us]:
                # Another thread may have forgotten it just now.
                known.pop(name, None)
