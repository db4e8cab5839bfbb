"""From a decided version to a model in memory that has answered once."""

import hashlib
from dataclasses import dataclass

import numpy as np
import structlog

from remediation.ports import Registry
from remediation.values import Signed
from serving.model_errors import DigestMismatch, RegistryRefused
from serving.runtime import OnnxModel

_log = structlog.get_logger()

_UNASKED = Signed()


@dataclass(frozen=True, slots=True)
class Loaded:
    """A version in memory, its bytes checked. `signature`: what it was worth when they were."""

    model: str
    version: str
    digest: str
    onnx: OnnxModel
    signature: Signed = _UNASKED


def load(registry: Registry, model: str, version: str, *, digest: str | None) -> Loaded:
    """Fetch the version, check its bytes against `digest` (None: the registered one), and run it once.
    Blocks.

    Raises `ServingError`; its `retriable` says whether trying again can help.
    """
    card = registry.version(model, version)
    if card is None:
        raise RegistryRefused(f"the registry has no version {version!r} of the model {model!r}")
    expected = card.digest if digest is None else digest
    content = registry.onnx(model, version)
    found = "sha256:" + hashlib.sha256(content).hexdigest()
    if found != expected:
        raise DigestMismatch(
            f"{model!r} version {version}: the registry gives {found}, but {expected} was decided to serve"
        )
    onnx = OnnxModel(content)
    onnx.score(np.full((1, len(onnx.features)), np.nan, dtype=np.float32))
    if card.signature.state in ("unsigned", "unchecked"):
        _log.warning(
            "Nobody vouches for a version that is loaded.",
            model=model,
            version=version,
            reason=card.signature.why,
            remedy="homeostat models sign",
        )
    return Loaded(model, version, found, onnx, card.signature)


def load_champion(registry: Registry, model: str) -> Loaded | None:
    """The version under the registry's alias; None when there is none. Blocks, raises `ServingError`."""
    version = registry.champion(model)
    return None if version is None else load(registry, model, version, digest=None)
