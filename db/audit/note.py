"""Checkpoints as C2SP signed notes, and what signs them.

A checkpoint (c2sp.org/tlog-checkpoint) is the text `origin\\nsize\\nbase64(root)\\n`; a signed note
(c2sp.org/signed-note) adds an empty line and signature lines `— name base64(key id || signature)`. The log
signs with Ed25519 (type 1); a witness adds a cosignature/v1 (type 4, c2sp.org/tlog-cosignature), which holds
the time in seconds.
"""

import base64
import binascii
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from db.ed25519 import PublicKey

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
class Verifier(PublicKey):
    """A public key that signs notes."""

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
