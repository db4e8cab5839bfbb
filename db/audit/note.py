"""Checkpoints as C2SP signed notes, and what signs them.

A checkpoint (c2sp.org/tlog-checkpoint) is the text `origin\\nsize\\nbase64(root)\\n`; a signed note
(c2sp.org/signed-note) adds an empty line and signature lines `— name base64(key id || signature)`. The log
signs with Ed25519 (type 1); a witness adds a cosignature/v1 (type 4, c2sp.org/tlog-cosignature), which holds
the time in seconds.
"""

import base64
import binascii
import hashlib
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

ED25519 = 1
COSIGNATURE = 4
_DASH = "—"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The statement that the first `size` leaves of the log `origin` have this root."""

    origin: str
    size: int
    root: bytes

    @property
    def body(self) -> str:
        """What is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """A checkpoint with its signature lines: (name, key id and signature)."""

    checkpoint: Checkpoint
    signatures: tuple[tuple[str, bytes], ...]

    def text(self) -> str:
        """The note as it is stored and sent."""
        lines = "".join(
            f"{_DASH} {name} {base64.b64encode(data).decode()}\n" for name, data in self.signatures
        )
        return f"{self.checkpoint.body}\n{lines}"

    def with_signature(self, name: str, data: bytes) -> "Note":
        """The same checkpoint with one more signature."""
        return Note(self.checkpoint, (*self.signatures, (name, data)))


@dataclass(frozen=True, slots=True)
class Verifier:
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
    def parse(cls, text: str) -> "Verifier":
        """Read the published form; raises `ValueError`."""
        parts = text.split("+", 2)
        raw = base64.b64decode(parts[2], validate=True) if len(parts) == 3 else b""
        key = cls(parts[0], raw[0] if raw else 0, raw[1:])
        if len(key.public) != 32 or key.text != text:
            raise ValueError(f"{text!r} is not a verifier key, or its key id does not match")
        return key

    def signed(self, note: Note) -> bool:
        """Whether the note carries a valid signature of this key."""
        return any(
            name == self.name and self.made(data, note.checkpoint.body) for name, data in note.signatures
        )

    def made(self, data: bytes, body: str) -> bool:
        """Whether `data` is key id and signature of this key over the checkpoint `body`."""
        signature, message = data[4:], body.encode()
        if data[:4] != self.key_id:
            return False
        if self.kind == COSIGNATURE:
            message = _cosigned(body, int.from_bytes(signature[:8]))
            signature = signature[8:]
        return self.valid(signature, message)

    def valid(self, signature: bytes, message: bytes) -> bool:
        """Whether this key made the bare signature over the message."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class Signer:
    """A private key with its public half."""

    verifier: Verifier
    private: Ed25519PrivateKey

    def sign(self, note: Note, at_s: int) -> Note:
        """Add this key's signature; `at_s` (seconds since the epoch) is part of a cosignature only."""
        body, stamp = note.checkpoint.body, b""
        message = body.encode()
        if self.verifier.kind == COSIGNATURE:
            stamp, message = at_s.to_bytes(8), _cosigned(body, at_s)
        return note.with_signature(
            self.verifier.name, self.verifier.key_id + stamp + self.private.sign(message)
        )


def parse(text: str) -> Note:
    """Read a signed note; raises `ValueError` for anything else."""
    body, separator, tail = text.partition("\n\n")
    lines = body.split("\n")
    if not separator or len(lines) != 3 or not lines[1].isdecimal():
        raise ValueError(f"not a signed checkpoint: {text[:120]!r}")
    signatures: list[tuple[str, bytes]] = []
    try:
        root = base64.b64decode(lines[2], validate=True)
        for line in tail.splitlines():
            dash, name, data = line.split(" ")
            if dash != _DASH:
                raise ValueError("a signature line must begin with a dash")
            signatures.append((name, base64.b64decode(data, validate=True)))
    except (ValueError, binascii.Error) as error:
        raise ValueError(f"not a signed checkpoint ({error}): {text[:120]!r}") from error
    note = Note(Checkpoint(lines[0], int(lines[1]), root), tuple(signatures))
    if note.text() != text:
        raise ValueError(f"not a signed checkpoint (it is not in its one proper form): {text[:120]!r}")
    return note


def _cosigned(body: str, at_s: int) -> bytes:
    return f"cosignature/v1\ntime {at_s}\n{body}".encode()
