"""Signatures of model versions: who vouches for the files of a version, and whether that counts.

What is signed (Ed25519) is a manifest: model, version, digest of the model, revision of the reference, and SHA-256 of
each file and of the card. It travels as a tag of the version, so whoever may write into the registry or its files can
remove a signature, but not make one for other bytes.
"""

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import msgspec

from db.codec import canonical
from remediation.values import ModelVersion, Signed
from serving.keyring import Key, Keyring
from serving.model_errors import KeysInvalid

FORMAT = "homeostat-model/1"

Mode = Literal["require", "warn", "off"]
"""`require`: only versions with a valid signature serve. `warn`: one without a signature serves with a warning, one
with a wrong signature never. `off`: signatures are neither made nor looked at."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is signed. `files`: name to `sha256:...`; `card`: the same of the version's card; `signed_us`: when."""

    format: str = FORMAT
    model: str
    version: str
    digest: str
    reference_revision: str
    card: str
    files: dict[str, str]
    signed_us: int


class Signature(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A manifest, the key that signed it (in its published form) and the signature in base64."""

    manifest: Manifest
    key: str
    signature: str


@dataclass(frozen=True, slots=True)
class Found:
    """What a version's signature says. `files`: the digests that a valid one vouches for."""

    signed: Signed
    files: Mapping[str, str]


class Signatures:
    """Makes and judges signatures with the keys of `keyring`."""

    def __init__(self, keyring: Keyring, mode: Mode = "warn") -> None:
        self.keyring = keyring
        self.mode = mode

    def made(self, card: ModelVersion, card_text: str, files: Mapping[str, bytes], *, now_us: int) -> str:
        """The tag's text: this installation's key vouches for the files."""
        manifest = Manifest(
            model=card.model,
            version=card.version,
            digest=card.digest,
            reference_revision=card.reference_revision,
            card=digest_of(card_text.encode()),
            files={name: digest_of(content) for name, content in files.items()},
            signed_us=now_us,
        )
        signer = self.keyring.signer()
        signature = base64.b64encode(signer.private.sign(_message(manifest))).decode()
        return msgspec.json.encode(
            Signature(manifest=manifest, key=signer.key.key, signature=signature)
        ).decode()

    def judged(self, text: str | None, card: ModelVersion, card_text: str) -> Found:
        """What the signature `text` of a version is worth now; `card` and `card_text` are what the registry says."""
        if self.mode == "off":
            return Found(Signed(), {})
        if text is None:
            return Found(self._lacking("unsigned", "it carries no signature"), {})
        try:
            found = msgspec.json.decode(text, type=Signature)
            signature = base64.b64decode(found.signature, validate=True)
        except (ValueError, binascii.Error) as error:
            return Found(_wrong("", f"its signature cannot be read: {error}"), {})
        try:
            keys = self.keyring.keys()
        except KeysInvalid as error:
            # With a damaged list nobody can say that the signature is right, and it was asked to be looked at.
            return Found(Signed(state="unchecked", refused=True, why=str(error)), {})
        if not keys:
            why = f"its signature cannot be checked: {self.keyring.path} has no keys"
            return Found(self._lacking("unchecked", why), {})
        key = next((each for each in keys if each.key == found.key), None)
        if key is None:
            named = found.key.split("+")[1] if found.key.count("+") > 1 else found.key
            why = f"it is signed with the key {named[:80]!r}, which is not in {self.keyring.path}"
            return Found(_wrong("", why), {})
        why = _refusal(key, found, signature) or _other(found.manifest, card, card_text)
        if why is not None:
            return Found(_wrong(key.id, why), {})
        return Found(
            Signed(state="valid", key=key.id, signed_us=found.manifest.signed_us), found.manifest.files
        )

    def still(self, signed: Signed) -> Signed:
        """What a verdict of before is worth now, by the keys of today alone: for a version in memory, whose files were
        checked when it was loaded, while no registry has to be asked."""
        if self.mode == "off" or signed.state != "valid":
            return signed
        try:
            listed = self.keyring.keys()
        except KeysInvalid as error:
            return Signed(state="unchecked", refused=True, why=str(error))
        key = next((each for each in listed if each.id == signed.key), None)
        if key is None:
            return _wrong(
                signed.key, f"the key {signed.key} that signed it is no longer in {self.keyring.path}"
            )
        why = _closed(key, signed.signed_us)
        return signed if why is None else _wrong(key.id, why)

    def _lacking(self, state: Literal["unsigned", "unchecked"], why: str) -> Signed:
        if self.mode != "require":
            return Signed(state=state, why=why)
        return Signed(state=state, refused=True, why=f"{why}, and HOMEOSTAT_SIGNATURES is require")


def digest_of(content: bytes) -> str:
    """As registries and manifests write it."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


def _closed(key: Key, signed_us: int) -> str | None:
    """Why a key's word of that time does not count."""
    if key.revoked_us is not None:
        return f"the key {key.id} that signed it was revoked ({key.reason})"
    if key.ended_us is not None and signed_us > key.ended_us:
        return f"it is said to be signed after the end of the key {key.id}"
    return None


def _refusal(key: Key, found: Signature, signature: bytes) -> str | None:
    closed = _closed(key, found.manifest.signed_us)
    if closed is not None:
        return closed
    if not key.public.valid(signature, _message(found.manifest)):
        return f"it is not what the key {key.id} signed: its manifest or its signature was changed"
    return None


def _other(manifest: Manifest, card: ModelVersion, card_text: str) -> str | None:
    """Where the registry says something else than what was signed."""
    signed = {
        "model": (manifest.model, card.model),
        "version": (manifest.version, card.version),
        "digest": (manifest.digest, card.digest),
        "reference": (manifest.reference_revision, card.reference_revision),
        "card": (manifest.card, digest_of(card_text.encode())),
    }
    for name, (vouched, stands) in signed.items():
        if vouched != stands:
            return f"the signed {name} is {vouched}, the registry says {stands}"
    return None


def _wrong(key_id: str, why: str) -> Signed:
    return Signed(state="wrong", key=key_id, refused=True, why=why)


def _message(manifest: Manifest) -> bytes:
    return b"homeostat model version\n" + canonical(manifest)
