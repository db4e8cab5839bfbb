"""The key files: `NAME.key` (base64 of the 32 secret bytes, mode 0600) and `NAME.pub` (the chain of public keys).

The log's key can be replaced by a new one. The old key signs the new one ("handover"), so that whoever trusts the
first key of a chain, or any later one, can follow it to the newest: `NAME.pub` has the first key in its first line,
and in each further line a key and the signature of the key before it.
"""

import base64
import binascii
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from db.audit.note import Signer, Verifier
from db.errors import AuditError
from db.keyfiles import write_file

NEXT = "next"
"""`log.next.key` and `log.next.pub` are there while a new key takes over."""


@dataclass(frozen=True, slots=True)
class Chain:
    """The keys of one log, the newest last. `handovers[i]` is the signature of `keys[i]` over `keys[i + 1]`."""

    keys: tuple[Verifier, ...]
    handovers: tuple[bytes, ...] = ()

    @property
    def newest(self) -> Verifier:
        """The key in use."""
        return self.keys[-1]

    @property
    def text(self) -> str:
        """The published form."""
        signed = zip(self.keys[1:], self.handovers, strict=True)
        later = [f"{key.text} {base64.b64encode(by).decode()}" for key, by in signed]
        return "\n".join([self.keys[0].text, *later])

    @classmethod
    def parse(cls, text: str) -> "Chain":
        """Read the published form; raises `ValueError` for a handover that the key before did not sign."""
        first, *later = text.split("\n")
        chain = cls((Verifier.parse(first),))
        for line in later:
            key, _, handover = line.partition(" ")
            chain = chain.then(Verifier.parse(key), base64.b64decode(handover, validate=True))
        if chain.text != text:
            raise ValueError("the keys are not in their one proper form")
        return chain

    def then(self, key: Verifier, handover: bytes) -> "Chain":
        """The chain with one more key; raises `ValueError` when the newest did not sign it."""
        if not self.newest.valid(handover, _handover(key)):
            raise ValueError(f"the key {key.text} was not handed over by {self.newest.text}")
        return Chain((*self.keys, key), (*self.handovers, handover))

    def follows(self, other: "Chain") -> bool:
        """Whether this is the other chain, perhaps with later keys."""
        return self.keys[: len(other.keys)] == other.keys


def _handover(key: Verifier) -> bytes:
    return f"homeostat key handover\n{key.text}\n".encode()


def create_key(folder: Path, name: str, *, origin: str, kind: int) -> Signer:
    """A new key with a chain of its own."""
    private = Ed25519PrivateKey.generate()
    verifier = Verifier(origin, kind, private.public_key().public_bytes_raw())
    _write(folder, name, private, Chain((verifier,)))
    return Signer(verifier, private)


def create_next(folder: Path, name: str, old: Signer) -> tuple[Signer, Chain]:
    """A key that shall replace `old`, handed over by it; in force once `settle` has put it in place."""
    chain = load_chain(folder / f"{name}.pub")
    if chain is None or chain.newest != old.verifier:
        raise AuditError(f"{folder / name}.pub does not end with the key in use. Restore it from a backup.")
    private = Ed25519PrivateKey.generate()
    verifier = Verifier(old.verifier.name, old.verifier.kind, private.public_key().public_bytes_raw())
    chain = chain.then(verifier, old.private.sign(_handover(verifier)))
    _write(folder, f"{name}.{NEXT}", private, chain)
    return Signer(verifier, private), chain


def waiting_key(folder: Path, name: str) -> Verifier | None:
    """The key of a replacement that was begun and not ended; None where there is none."""
    if not (folder / f"{name}.{NEXT}.key").exists():
        return None
    published = folder / f"{name}.{NEXT}.pub"
    chain = load_chain(published if published.exists() else folder / f"{name}.pub")
    return None if chain is None else chain.newest


def settle(folder: Path, name: str, *, took_over: bool) -> None:
    """End a replacement: put the new key in the place of the old one, or, if the log never came to name it, forget
    it. May be interrupted anywhere and done again."""
    secret, published = folder / f"{name}.{NEXT}.key", folder / f"{name}.{NEXT}.pub"
    if not took_over:
        secret.unlink(missing_ok=True)
        published.unlink(missing_ok=True)
        return
    if published.exists():
        published.replace(folder / f"{name}.pub")
    secret.replace(folder / f"{name}.key")


def load_signer(folder: Path, name: str) -> Signer | None:
    """The key in use; None when there is none, `AuditError` when it is damaged."""
    try:
        secret = (folder / f"{name}.key").read_text().strip()
    except FileNotFoundError:
        return None
    chain = load_chain(folder / f"{name}.pub")
    try:
        private = Ed25519PrivateKey.from_private_bytes(base64.b64decode(secret, validate=True))
    except (ValueError, binascii.Error) as error:
        raise AuditError(f"The key {folder / name}.key is damaged: {error}.") from error
    if chain is None or private.public_key().public_bytes_raw() != chain.newest.public:
        raise AuditError(
            f"{folder / name}.pub is not the public half of {name}.key. Restore both from a backup."
        )
    return Signer(chain.newest, private)


def load_chain(path: Path) -> Chain | None:
    """Published keys from a file; None when there is none, `AuditError` when it is damaged."""
    try:
        text = path.read_bytes().decode()
        if not text.endswith("\n"):
            raise ValueError("its last line has no end")
        return Chain.parse(text[:-1])
    except FileNotFoundError:
        return None
    except (ValueError, binascii.Error) as error:
        raise AuditError(f"The key {path} is damaged: {error}.") from error


def _write(folder: Path, name: str, private: Ed25519PrivateKey, chain: Chain) -> None:
    write_file(folder / f"{name}.pub", chain.text, 0o644)
    write_file(folder / f"{name}.key", base64.b64encode(private.private_bytes_raw()).decode(), 0o600)
