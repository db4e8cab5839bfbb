"""The keys that sign model versions: whose signatures count, since when, and until when.

`FOLDER/keys.json` lists the public keys; the private half of the one in use is `FOLDER/KEYID.key` (base64 of its 32
bytes, mode 0600). Signing keys of other machines are listed the same way, without a private half here.
"""

import base64
import binascii
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from db.ed25519 import ED25519, PublicKey
from db.keyfiles import locked, write_file
from serving.model_errors import KeysInvalid

RING = "keys.json"

Standing = Literal["in use", "trusted", "ended", "revoked"]

_log = structlog.get_logger()


class Key(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A public key in its published form (`name+key id+base64`). `ended_us`: what it signed after that counts for
    nothing. `revoked_us`: nor does what it signed before, for somebody else may have had it."""

    key: str
    since_us: int
    ended_us: int | None = None
    revoked_us: int | None = None
    reason: str = ""

    @property
    def public(self) -> PublicKey:
        """The key itself."""
        return PublicKey.parse(self.key)

    @property
    def id(self) -> str:
        """Its key id, eight hex digits, as people call it."""
        return self.public.key_id.hex()


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key with its private half."""

    key: Key
    private: Ed25519PrivateKey


class Keyring:
    """The keys in one folder; it is made on first use. Reads see a whole list, for it is replaced at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / RING

    def keys(self) -> tuple[Key, ...]:
        """All keys, oldest first; none where there is no list. Raises `KeysInvalid` for a damaged one."""
        try:
            found = msgspec.json.decode(self.path.read_bytes(), type=tuple[Key, ...])
            if len({each.id for each in found}) < len(found):
                raise ValueError("two keys have the same id")
        except FileNotFoundError:
            return ()
        except (OSError, ValueError) as error:
            raise KeysInvalid(f"the keys in {self.path} cannot be read: {error}") from error
        return found

    def standing(self, key: Key) -> Standing:
        """What the key is for now."""
        if key.revoked_us is not None:
            return "revoked"
        if key.ended_us is not None:
            return "ended"
        return "in use" if self._secret(key).exists() else "trusted"

    def signer(self) -> SigningKey:
        """The key in use; a new one where there is none. Raises `KeysInvalid` where the folder cannot be written."""
        try:
            with locked(self.folder):
                return self._in_use() or self._created(self.keys(), reason="first use")
        except OSError as error:
            raise KeysInvalid(
                f"the folder of the signing keys, {self.folder}, cannot be used: {error}"
            ) from error

    def rotate(self, reason: str) -> Key:
        """Sign with a new key from now on. What the old one signed stays valid; its private half is deleted.

        The list names the new key and the old one's end at once, so a crash leaves one of the two in use; a private
        half that it left behind is deleted by who signs next.
        """
        with locked(self.folder):
            old = self._in_use()
            now_us = _now_us()
            keys = [
                msgspec.structs.replace(each, ended_us=now_us, reason=reason)
                if old is not None and each == old.key
                else each
                for each in self.keys()
            ]
            self._created(keys, reason=reason)
            if old is not None:
                self._secret(old.key).unlink()
            return self.keys()[-1]

    def trust(self, text: str, reason: str) -> Key:
        """Take the signatures of another machine's key. Raises `KeysInvalid` for a text that is no key or is listed."""
        try:
            key = Key(key=PublicKey.parse(text).text, since_us=_now_us(), reason=reason)
        except (ValueError, binascii.Error) as error:
            raise KeysInvalid(
                f"{text!r} is no key as `homeostat models keys list` prints it: {error}"
            ) from error
        with locked(self.folder):
            keys = self.keys()
            known = next((each for each in keys if each.id == key.id), None)
            if known is not None:
                raise KeysInvalid(f"the key {key.id} is listed already, as {self.standing(known)}")
            self._write([*keys, key])
        return key

    def end(self, key_id: str, reason: str) -> Key:
        """What the key signs from now on counts for nothing; what it signed before stays valid."""
        return self._closed(key_id, reason, ended_us=_now_us())

    def revoke(self, key_id: str, reason: str) -> Key:
        """Nothing that the key signed counts any more."""
        return self._closed(key_id, reason, revoked_us=_now_us())

    def _closed(self, key_id: str, reason: str, **when_us: int) -> Key:
        with locked(self.folder):
            keys = self.keys()
            found = next((each for each in keys if each.id == key_id), None)
            over = {"revoked"} if "revoked_us" in when_us else {"revoked", "ended"}
            if found is None or self.standing(found) in over:
                listed = ", ".join(f"{each.id} ({self.standing(each)})" for each in keys) or "none"
                raise KeysInvalid(f"no key {key_id!r} is in use or trusted; listed are: {listed}")
            closed = msgspec.structs.replace(found, reason=reason, **when_us)
            self._write([closed if each is found else each for each in keys])
            self._secret(found).unlink(missing_ok=True)
        return closed

    def _created(self, keys: Sequence[Key], *, reason: str) -> SigningKey:
        private = Ed25519PrivateKey.generate()
        now_us = _now_us()
        public = PublicKey(f"homeostat-models-{now_us:x}", ED25519, private.public_key().public_bytes_raw())
        key = Key(key=public.text, since_us=now_us, reason=reason)
        # A private half that no list names is never used, so it comes first.
        write_file(self._secret(key), base64.b64encode(private.private_bytes_raw()).decode(), 0o600)
        self._write([*keys, key])
        _log.info("A new key signs model versions.", key=key.key)
        return SigningKey(key, private)

    def _in_use(self) -> SigningKey | None:
        keys = self.keys()
        for key in keys:
            if self.standing(key) != "in use":
                self._secret(key).unlink(missing_ok=True)
        for key in reversed(keys):
            if self.standing(key) != "in use":
                continue
            try:
                secret = base64.b64decode(self._secret(key).read_text().strip(), validate=True)
                private = Ed25519PrivateKey.from_private_bytes(secret)
            except (OSError, ValueError) as error:
                raise KeysInvalid(f"the key {self._secret(key)} cannot be used: {error}") from error
            if private.public_key().public_bytes_raw() != key.public.public:
                raise KeysInvalid(f"{self._secret(key)} is not the private half of {key.key}")
            return SigningKey(key, private)
        return None

    def _secret(self, key: Key) -> Path:
        return self.folder / f"{key.id}.key"

    def _write(self, keys: Sequence[Key]) -> None:
        write_file(self.path, msgspec.json.format(msgspec.json.encode(keys)).decode(), 0o644)


def _now_us() -> int:
    return time.time_ns() // 1_000
