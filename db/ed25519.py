"""Public keys as they are published: `name+key id+base64(type, 32 bytes)` (c2sp.org/signed-note)."""

import base64
import hashlib
from dataclasses import dataclass
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

ED25519 = 1


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key with a name; `text` is the form in which it is published (`name+key id+base64`)."""

    name: str
    kind: int
    public: bytes

    @property
    def key_id(self) -> bytes:
        """First four bytes of SHA-256(name || newline || type || public key)."""
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public).digest()[:4]

    @property
    def text(self) -> str:
        """The published form."""
        return (
            f"{self.name}+{self.key_id.hex()}+{base64.b64encode(bytes([self.kind]) + self.public).decode()}"
        )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the published form; raises `ValueError`."""
        parts = text.split("+", 2)
        raw = base64.b64decode(parts[2], validate=True) if len(parts) == 3 else b""
        key = cls(parts[0], raw[0] if raw else 0, raw[1:])
        if len(key.public) != 32 or key.text != text:
            raise ValueError(f"{text!r} is not a verifier key, or its key id does not match")
        return key

    def valid(self, signature: bytes, message: bytes) -> bool:
        """Whether this key made the bare signature over the message."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except InvalidSignature:
            return False
        return True
