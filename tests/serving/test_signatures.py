"""Who vouches for a version: signatures in a real MLflow server, made, kept, forged and lost."""

import base64
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog.testing
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from mlflow.tracking import MlflowClient
from typer.testing import CliRunner

from db.engine import connect, reading
from deploy.cli import app
from remediation.values import ModelVersion
from serving.keyring import Keyring
from serving.loading import load
from serving.model_errors import DigestMismatch, KeysInvalid, SignatureRefused
from serving.registry import SIGNATURE_TAG, MlflowRegistry
from serving.signatures import Mode, Signatures
from tests.databases import migrate
from tests.patience import PATIENCE_S

from .conftest import trained


class Server:
    """One signed version on a real MLflow server, and what somebody who may write there can do to it."""

    def __init__(self, url: str, folder: Path, keys: Path, model: str) -> None:
        self.url, self.model, self._keys = url, model, keys
        self.ring = Keyring(keys)
        self.card: ModelVersion = self.registry().register(trained(model), tags={"why": "test"})
        (found,) = folder.glob(f"artifacts/*/{self.card.run_id}/artifacts/model")
        self.files = found
        self._before = {path: path.read_bytes() for path in found.iterdir()}, self.tags()

    def renewed(self, keys: Path) -> "Server":
        """As it was registered, with keys of its own: ten times faster than another version."""
        self.ring = Keyring(Path(shutil.copytree(self._keys, keys)))
        files, tags = self._before
        for path, content in files.items():
            path.write_bytes(content)
        for name, value in tags.items() - self.tags().items():
            self.set_tag(name, value)
        return self

    def registry(self, mode: Mode = "warn", ring: Keyring | None = None) -> MlflowRegistry:
        return MlflowRegistry(self.url, Signatures(ring or self.ring, mode))

    def found(self, mode: Mode = "warn", ring: Keyring | None = None) -> ModelVersion:
        card = self.registry(mode, ring).version(self.model, "1")
        assert card is not None
        return card

    def tags(self) -> dict[str, str]:
        asked = {"name": self.model, "version": "1"}
        found = httpx.get(
            f"{self.url}/api/2.0/mlflow/model-versions/get", params=asked, timeout=PATIENCE_S
        ).json()
        return {tag["key"]: tag["value"] for tag in found["model_version"]["tags"]}

    def set_tag(self, name: str, value: str | None) -> None:
        body = {"name": self.model, "version": "1", "key": name}
        address = f"{self.url}/api/2.0/mlflow/model-versions"
        if value is None:
            httpx.request("DELETE", f"{address}/delete-tag", json=body).raise_for_status()
        else:
            httpx.post(
                f"{address}/set-tag", json=body | {"value": value}, timeout=PATIENCE_S
            ).raise_for_status()

    def signature(self) -> dict[str, Any]:
        return json.loads(self.tags()[SIGNATURE_TAG])


@pytest.fixture(scope="module")
def registered(mlflow_server: str, mlflow_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Server:
    return Server(mlflow_server, mlflow_folder, tmp_path_factory.mktemp("keys") / "signing", "signed")


@pytest.fixture
def server(registered: Server, tmp_path: Path) -> Server:
    return registered.renewed(tmp_path / "signing")


def _refused(server: Server, why: str, mode: Mode = "warn") -> None:
    """It is read with a verdict, and its bytes are not handed out; the reference of a version that serves is."""
    card = server.found(mode)
    assert card.signature.refused
    assert why in card.signature.why
    with pytest.raises(SignatureRefused, match="must not be used"):
        load(server.registry(mode), server.model, "1", digest=None)
    assert server.registry(mode).reference(server.model, "1").version == "1"


def test_what_is_registered_is_signed_and_found_so(server: Server) -> None:
    assert server.found("require") == server.card
    signed = server.card.signature
    assert (signed.state, signed.key) == ("valid", server.ring.keys()[0].id)
    assert signed.told == f"signed by the key {signed.key}"
    assert server.card.tags == {"why": "test"}
    assert set(server.signature()["manifest"]["files"]) == {"model.onnx", "reference.json", "model_card.json"}
    assert load(server.registry("require"), server.model, "1", digest=None).signature == signed
    assert (server.ring.folder / f"{signed.key}.key").stat().st_mode & 0o777 == 0o600
    assert server.found("off").signature.state == "unasked"


def test_a_changed_file_is_not_handed_out(server: Server) -> None:
    """Whoever changes the bytes and the digest beside them still lacks the key."""
    other = trained(server.model, flipped=True)
    (server.files / "model.onnx").write_bytes(other.onnx)
    with pytest.raises(DigestMismatch, match="signed with the key"):
        server.registry().onnx(server.model, "1")
    server.set_tag("homeostat.digest", other.digest)
    _refused(server, "the signed digest is sha256:")
    (server.files / "reference.json").write_text("{}")
    with pytest.raises(DigestMismatch, match=r"reference\.json"):
        server.registry("off").reference(server.model, "1")


def test_a_card_that_cannot_be_read_stops_its_version_and_no_other(server: Server) -> None:
    other = server.registry().register(trained(server.model, seed=9), tags={})
    card = server.tags()["homeostat.card"]
    damaged: dict[Mode, str] = {"require": "{nonsense", "off": '{"model": 3}'}
    for mode, text in damaged.items():
        server.set_tag("homeostat.card", text)
        found = {each.version: each for each in server.registry(mode).versions(server.model)}
        assert "its card in the registry cannot be read" in found["1"].signature.why
        assert found[other.version].digest == other.digest
        assert not found[other.version].signature.refused
        with pytest.raises(SignatureRefused, match="its card in the registry cannot be read"):
            load(server.registry(mode), server.model, "1", digest=None)
    server.set_tag("homeostat.card", card)
    assert not server.found().signature.refused


def _manifest(change: dict[str, Any]) -> Callable[[Server], None]:
    def attack(server: Server) -> None:
        found = server.signature()
        found["manifest"] |= change
        server.set_tag(SIGNATURE_TAG, json.dumps(found))

    return attack


def _card(server: Server) -> None:
    card = json.loads(server.tags()["homeostat.card"])
    card["features"] = ["b"]
    card["signature"] = {"state": "valid", "key": "forged"}
    server.set_tag("homeostat.card", json.dumps(card))


def _moved(server: Server) -> None:
    """The signature of another version of the same model."""
    registry = server.registry()
    registry.register(trained(server.model, seed=1), tags={})
    asked = {"name": server.model, "version": "2"}
    found = httpx.get(
        f"{server.url}/api/2.0/mlflow/model-versions/get", params=asked, timeout=PATIENCE_S
    ).json()["model_version"]
    (text,) = [tag["value"] for tag in found["tags"] if tag["key"] == SIGNATURE_TAG]
    server.set_tag(SIGNATURE_TAG, text)


def _all_moved(server: Server) -> None:
    """Everything that another version's tags say: its card, its digest, its signature."""
    server.registry().register(trained(server.model, seed=2), tags={})
    asked = {"name": server.model, "version": server.registry().versions(server.model)[-1].version}
    found = httpx.get(
        f"{server.url}/api/2.0/mlflow/model-versions/get", params=asked, timeout=PATIENCE_S
    ).json()["model_version"]
    for tag in found["tags"]:
        server.set_tag(tag["key"], tag["value"])


def _garbage(server: Server) -> None:
    server.set_tag(SIGNATURE_TAG, '{"manifest": 1}')


def _signature(server: Server) -> None:
    found = server.signature()
    found["signature"] = base64.b64encode(Ed25519PrivateKey.generate().sign(b"x")).decode()
    server.set_tag(SIGNATURE_TAG, json.dumps(found))


@pytest.mark.parametrize(
    ("attack", "why"),
    [
        (_manifest({"signed_us": 1}), "its manifest or its signature was changed"),
        (_manifest({"digest": "sha256:0"}), "its manifest or its signature was changed"),
        (_signature, "its manifest or its signature was changed"),
        (_card, "the signed card is sha256:"),
        (_moved, "the signed version is 2, the registry says 1"),
        (_garbage, "its signature cannot be read"),
    ],
)
def test_a_changed_manifest_never_loads(server: Server, attack: Callable[[Server], None], why: str) -> None:
    attack(server)
    _refused(server, why)


def test_all_tags_of_another_version_make_no_version_of_it(server: Server) -> None:
    _all_moved(server)
    card = server.found()
    assert (card.model, card.version, card.run_id) == (server.model, "1", server.card.run_id)
    assert card.signature.refused
    assert "the registry says 1" in card.signature.why
    with pytest.raises(SignatureRefused):
        load(server.registry(), server.model, "1", digest=None)
    with pytest.raises(DigestMismatch):
        server.registry().sign(server.model, "1")


def test_a_strange_key_never_loads_until_it_is_trusted(server: Server, tmp_path: Path) -> None:
    """The version was signed by one installation; here is another, with a key of its own."""
    theirs, ours = server.ring, Keyring(tmp_path / "ours")
    ours.signer()
    server.ring = ours
    _refused(server, "is not in")
    ours.trust(theirs.keys()[0].key, "their CI")
    assert server.found("require").signature.key == theirs.keys()[0].id
    with pytest.raises(KeysInvalid, match="is listed already, as trusted"):
        ours.trust(theirs.keys()[0].key, "again")
    ours.end(theirs.keys()[0].id, "no more of theirs")
    assert server.found("require").signature.state == "valid"
    theirs_again = server.registry("require", theirs).sign(server.model, "1")
    assert theirs_again.signature.state == "valid"
    _refused(server, "said to be signed after the end of the key")


def test_old_signatures_outlive_a_rotation_and_not_a_revocation(server: Server) -> None:
    (old,) = server.ring.keys()
    new = server.ring.rotate("yearly")
    ended, used = server.ring.keys()
    assert [server.ring.standing(ended), server.ring.standing(used)] == ["ended", "in use"]
    assert not (server.ring.folder / f"{old.id}.key").exists()
    assert server.found("require").signature.key == old.id
    server.ring.revoke(old.id, "laptop stolen")
    _refused(server, "was revoked (laptop stolen)")
    again = server.registry("require").sign(server.model, "1")
    assert (again.signature.state, again.signature.key) == ("valid", new.id)
    assert load(server.registry("require"), server.model, "1", digest=None).digest == server.card.digest
    server.ring.revoke(new.id, "this one, too")
    assert server.ring.signer().key.id not in (old.id, new.id)
    with pytest.raises(KeysInvalid, match="no key 'abc' is in use or trusted"):
        server.ring.revoke("abc", "x")


def test_a_private_half_that_a_crash_left_behind_is_deleted_by_who_signs_next(tmp_path: Path) -> None:
    ring = Keyring(tmp_path / "ring")
    old = ring.signer().key
    secret = ring.folder / f"{old.id}.key"
    left = secret.read_text()
    new = ring.rotate("yearly")
    secret.write_text(left)
    assert ring.signer().key == new
    assert not secret.exists()


def test_a_folder_of_keys_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KeysInvalid, match=r"the folder of the signing keys, .*file/ring, cannot be used"):
        Keyring(tmp_path / "file" / "ring").signer()


def test_a_missing_signature_warns_or_is_refused(server: Server, tmp_path: Path) -> None:
    nobody = Keyring(tmp_path / "nobody")
    unchecked = server.found("warn", nobody).signature
    assert (unchecked.state, unchecked.refused) == ("unchecked", False)
    assert server.found("require", nobody).signature.refused
    server.set_tag(SIGNATURE_TAG, None)
    with structlog.testing.capture_logs() as logs:
        loaded = load(server.registry("warn"), server.model, "1", digest=None)
    assert loaded.signature.state == "unsigned"
    assert [each["reason"] for each in logs] == ["it carries no signature"]
    _refused(server, "HOMEOSTAT_SIGNATURES is require", "require")
    assert server.registry("require").sign(server.model, "1").signature.state == "valid"


def test_a_damaged_list_of_keys_lets_nothing_pass(server: Server) -> None:
    server.ring.path.write_text("[{}]")
    _refused(server, "cannot be read")
    with pytest.raises(KeysInvalid, match="cannot be read"):
        server.ring.rotate("x")


def test_the_commands_sign_verify_and_keep_keys(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOMEOSTAT_HOME", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
    migrate(f"sqlite:///{tmp_path / 'homeostat.db'}")

    def said(*words: str, code: int = 0) -> str:
        found = CliRunner().invoke(app, ["models", *words])
        assert found.exit_code == code, (found.output, found.exception)
        return found.stdout

    key = server.ring.keys()[0].id
    item, *_ = json.loads(said("verify", server.model, "--json"))["items"]
    assert (item["ok"], item["signature"], item["key"], item["problem"]) == (True, "valid", key, None)
    said("keys", "rotate", "--reason", "yearly")
    said("keys", "revoke", key, "--reason", "stolen")
    assert "was revoked (stolen)" in said("verify", server.model, "1", code=1)
    assert json.loads(said("sign", server.model, "1", "--reason", "looked at", "--json"))["ok"]
    listed = json.loads(said("keys", "list", "--json"))["items"]
    assert [each["is"] for each in listed] == ["revoked", "in use"]
    (server.files / "model_card.json").write_text("{}")
    (server.files / "model.onnx").unlink()
    server.registry().register(trained(server.model, seed=3), tags={})
    told = json.loads(said("verify", server.model, "--json", code=1))["items"]
    assert "model.onnx is not in the artifact store any more" in told[0]["problem"]
    assert "model_card.json has digest" in told[0]["problem"]
    assert told[-1]["ok"]
    _, damaged, *_, sound = said("verify", server.model, code=1).splitlines()
    assert damaged.split()[1:5] == ["1", "must", "not", "serve"], "although the signature is valid"
    assert sound.split()[2:4] == ["sound", "valid"]
    everything = json.loads(said("verify", "--json", code=1))["items"]
    assert [each for each in everything if each["model"] == server.model] == told
    engine = connect(f"sqlite:///{tmp_path / 'homeostat.db'}")
    with reading(engine) as connection:
        told = connection.exec_driver_sql("SELECT action FROM audit_leaves ORDER BY position").scalars().all()
    engine.dispose()
    deeds = ("signing_key.rotate", "signing_key.revoke", "model.sign")
    done = ("signing_key.rotated", "signing_key.revoked", "model.signed")
    assert told == [each for verb, end in zip(deeds, done, strict=True) for each in (f"{verb}_intended", end)]


def test_a_version_that_nobody_can_sign_is_not_left_behind(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> str:
        raise KeysInvalid("the disk of the keys is full")

    before, model = _all_versions(server), trained(server.model)
    monkeypatch.setattr(Signatures, "made", refused)
    with structlog.testing.capture_logs() as logs, pytest.raises(KeysInvalid, match="is full"):
        server.registry().register(model, tags={})
    assert _all_versions(server) == before
    assert [each["event"] for each in logs] == [
        "A model version could not be finished and is removed from the registry."
    ]
    server.ring.path.write_text("[{}]")
    with pytest.raises(KeysInvalid, match="cannot be read"):
        server.registry().register(model, tags={})
    assert _all_versions(server) == before


def test_a_version_whose_last_answer_was_lost_is_registered(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The registry has taken everything, and who registered was told nothing."""
    registry, send = server.registry(), MlflowClient.set_model_version_tag

    def lost(client: MlflowClient, name: str, version: str, key: str, value: str) -> None:
        send(client, name, version, key, value)
        if key == "homeostat.digest":
            raise ConnectionError("reset by peer")

    monkeypatch.setattr(MlflowClient, "set_model_version_tag", lost)
    card = registry.register(trained(server.model, seed=4), tags={})
    assert registry.version(server.model, card.version) == card
    assert card.signature.state == "valid"


def _all_versions(server: Server) -> list[str]:
    """Also those that were never finished."""
    asked = {"filter": f"name='{server.model}'"}
    found = httpx.get(
        f"{server.url}/api/2.0/mlflow/model-versions/search", params=asked, timeout=PATIENCE_S
    ).json()
    return sorted(each["version"] for each in found["model_versions"])
