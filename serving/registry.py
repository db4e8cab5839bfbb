"""The registry of model versions on an MLflow server. The only file of this room that knows MLflow."""

import hashlib
import json
import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec
import structlog
from msgspec.structs import replace

from detectors.errors import ReferenceInvalid
from detectors.reference import Reference
from remediation.training_values import TrainedModel
from remediation.values import ModelVersion, Signed
from serving.model_errors import DigestMismatch, RegistryRefused, RegistryUnreachable, SignatureRefused
from serving.signatures import Found, Signatures, digest_of

log = structlog.get_logger()

CHAMPION = "champion"
FOLDER = "model"
ONNX_FILE, REFERENCE_FILE, CARD_FILE = "model.onnx", "reference.json", "model_card.json"
FILES = (ONNX_FILE, REFERENCE_FILE, CARD_FILE)
DIGEST_TAG, CARD_TAG, SIGNATURE_TAG = "homeostat.digest", "homeostat.card", "homeostat.signature"
"""Tags of a version. The digest is written last: a version without it was never finished, and does not exist
here."""

_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
"""MLflow's own defaults keep a caller waiting for minutes while its server is away; retries are the caller's
here."""

_IN_TROUBLE = frozenset({"INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED"})
_ABSENT, _EXISTS = "RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS"

T = TypeVar("T")


class MlflowRegistry:
    """Versions on an MLflow server (fulfils `remediation.ports.Registry`).

    Every version is a run (parameters, metrics, table of candidates) with three files in `model/`: the ONNX
    model, its reference and a model card. `signatures` signs what is registered and judges what is read; without it
    nothing is signed or refused. MLflow itself is imported at the first call, which takes seconds: call from a thread.

    Raises `RegistryUnreachable` while the server is away, `RegistryRefused` for what it does not have or will
    not do, `DigestMismatch` when stored bytes are not the registered ones, `SignatureRefused` for bytes of a version
    whose signature forbids to serve it.
    """

    def __init__(self, tracking_uri: str, signatures: Signatures | None = None) -> None:
        self._uri = tracking_uri
        self._signatures = signatures
        self._opening = threading.Lock()
        self._opened: Any = None

    def register(self, trained: TrainedModel, *, tags: Mapping[str, str]) -> ModelVersion:
        """A new version of `trained.model`. Its reference gets the version's number and a revision that says
        so."""
        run_id, version = self._call(lambda client: self._begin(client, trained))
        reference = _under_version(trained.reference, version)
        card = ModelVersion(
            model=trained.model,
            version=version,
            digest=trained.digest,
            algorithm=trained.algorithm,
            metrics=trained.metrics,
            features=trained.features,
            reference_revision=reference.revision,
            created_us=time.time_ns() // 1_000,
            rows=trained.rows,
            run_id=run_id,
            tags=dict(tags),
        )
        card = self._call(lambda client: self._finish(client, trained, card, reference))
        log.info(
            "A model version is registered.",
            model=card.model,
            version=version,
            digest=card.digest,
            signature=card.signature.told,
        )
        return card

    def version(self, model: str, version: str) -> ModelVersion | None:
        """The version, or None when the registry has no finished one of this number."""
        entry = self._entry(model, version)
        stored = None if entry is None else self._judged(entry)
        return None if stored is None else stored[0]

    def versions(self, model: str) -> list[ModelVersion]:
        """All finished versions, oldest first."""
        quote = '"' if "'" in model else "'"
        wanted = f"name={quote}{model}{quote}"
        found = self._call(lambda client: _all_pages(client.search_model_versions, wanted))
        cards = [stored[0] for stored in map(self._judged, found) if stored is not None]
        return sorted(cards, key=lambda card: int(card.version))

    def models(self) -> list[str]:
        """The names of all registered models."""
        return sorted(
            each.name for each in self._call(lambda client: _all_pages(client.search_registered_models))
        )

    def onnx(self, model: str, version: str) -> bytes:
        """The ONNX bytes, checked against the digest of the version and its signature."""
        card, found = self._stored(model, version)
        if card.signature.refused:
            raise SignatureRefused(f"{model!r} version {version} must not be used: {card.signature.why}")
        return self._onnx(card, found)

    def reference(self, model: str, version: str) -> Reference:
        """The reference of the version, checked against the revision that was registered and what a valid signature
        says. Also of a version that must not serve: the one that serves has to be measured."""
        return self._reference(*self._stored(model, version))

    def sign(self, model: str, version: str) -> ModelVersion:
        """Vouch for a version that somebody else registered, or whose signature counts no more, once every file is what
        the registry says. Raises `DigestMismatch` where one is not."""
        entry = self._entry(model, version)
        card, _ = self._existing(entry, model, version)
        contents = self._contents(card, Found(card.signature, {}))
        self._call(lambda client: self._sign(client, card, entry.tags[CARD_TAG], contents))
        return self._stored(model, version)[0]

    def examine(self, model: str, version: str) -> ModelVersion:
        """The version with every file fetched and checked. Raises `DigestMismatch` for one that was changed."""
        card, found = self._stored(model, version)
        self._contents(card, found)
        return card

    def set_champion(self, model: str, version: str) -> None:
        """Point the alias `champion` at the version, and read it back: MLflow's last writer wins silently."""
        self._stored(model, version)
        self._call(lambda client: client.set_registered_model_alias(model, CHAMPION, version))
        found = self.champion(model)
        if found != version:
            raise RegistryRefused(
                f"the alias {CHAMPION!r} of {model!r} was set to version {version} and now names {found}; "
                "somebody else moves it at the same time"
            )

    def champion(self, model: str) -> str | None:
        """The version that the alias `champion` names, or None."""
        found = self._found(lambda client: client.get_registered_model(model))
        return None if found is None else cast("dict[str, Any]", found.aliases).get(CHAMPION)

    def _begin(self, client: Any, trained: TrainedModel) -> tuple[str, str]:
        from mlflow.entities import Metric, Param

        experiment_id = _made(client.create_experiment, trained.model)
        if experiment_id is None:
            experiment_id = client.get_experiment_by_name(trained.model).experiment_id
        # MLflow's page shows a JSON file as a table when the run names it under this tag.
        tables = json.dumps([{"path": "candidates.json", "type": "table"}])
        run = client.create_run(
            experiment_id, run_name=trained.algorithm, tags={"mlflow.loggedArtifacts": tables}
        )
        run_id: str = run.info.run_id
        now_ms = time.time_ns() // 1_000_000
        parameters = {**trained.parameters, "algorithm": trained.algorithm, "rows": str(trained.rows)}
        client.log_batch(
            run_id,
            metrics=[Metric(name, value, now_ms, 0) for name, value in trained.metrics.items()],
            params=[Param(name, value) for name, value in parameters.items()],
        )
        table = {"columns": ["candidate", "f1"], "data": [list(row) for row in trained.candidates.items()]}
        client.log_dict(run_id, table, "candidates.json")
        _made(client.create_registered_model, trained.model)
        created = client.create_model_version(
            trained.model, source=f"runs:/{run_id}/{FOLDER}", run_id=run_id, await_creation_for=0
        )
        return run_id, str(created.version)

    def _finish(
        self,
        client: Any,
        trained: TrainedModel,
        card: ModelVersion,
        reference: Reference,
    ) -> ModelVersion:
        text = msgspec.json.encode(card).decode()
        contents = {
            ONNX_FILE: trained.onnx,
            REFERENCE_FILE: reference.to_json(),
            CARD_FILE: msgspec.json.format(text).encode(),
        }
        with tempfile.TemporaryDirectory(prefix="homeostat-register-") as folder:
            for name, content in contents.items():
                (Path(folder) / name).write_bytes(content)
            client.log_artifacts(card.run_id, folder, FOLDER)
        client.set_terminated(card.run_id)
        readable = {"algorithm": card.algorithm, "f1": f"{card.metrics.get('f1', float('nan')):.4f}"}
        for name, value in {**readable, **card.tags, CARD_TAG: text}.items():
            client.set_model_version_tag(card.model, card.version, name, value)
        signature = self._sign(client, card, text, contents)
        client.set_model_version_tag(card.model, card.version, DIGEST_TAG, card.digest)
        return (
            card if self._signatures is None else _with(card, self._signatures.judged(signature, card, text))
        )

    def _sign(self, client: Any, card: ModelVersion, text: str, contents: Mapping[str, bytes]) -> str | None:
        if self._signatures is None or self._signatures.mode == "off":
            return None
        signature = self._signatures.made(card, text, contents, now_us=time.time_ns() // 1_000)
        client.set_model_version_tag(card.model, card.version, SIGNATURE_TAG, signature)
        return signature

    def _judged(self, entry: Any) -> tuple[ModelVersion, Found] | None:
        """The version that an entry of the registry tells of, and what its signature is worth; None for one that was
        never finished."""
        tags: Mapping[str, str] = entry.tags
        if DIGEST_TAG not in tags or CARD_TAG not in tags:
            return None
        # Whoever writes the card decides neither which version it is nor what its signature is worth.
        said = msgspec.json.decode(tags[CARD_TAG], type=ModelVersion)
        named = {
            "model": str(entry.name),
            "version": str(entry.version),
            "run_id": entry.run_id or said.run_id,
        }
        card = replace(said, **named, digest=tags[DIGEST_TAG], signature=Signed())
        if self._signatures is None:
            return card, Found(card.signature, {})
        found = self._signatures.judged(tags.get(SIGNATURE_TAG), card, tags[CARD_TAG])
        return _with(card, found), found

    def _entry(self, model: str, version: str) -> Any:
        return self._found(lambda client: client.get_model_version(model, version))

    def _stored(self, model: str, version: str) -> tuple[ModelVersion, Found]:
        return self._existing(self._entry(model, version), model, version)

    def _existing(self, entry: Any, model: str, version: str) -> tuple[ModelVersion, Found]:
        stored = None if entry is None else self._judged(entry)
        if stored is None:
            raise RegistryRefused(
                f"the registry at {self._uri} has no version {version!r} of the model {model!r}"
            )
        return stored

    def _onnx(self, card: ModelVersion, found: Found) -> bytes:
        content = self._file(card, ONNX_FILE, found)
        if digest_of(content) != card.digest:
            raise DigestMismatch(
                f"{card.model!r} version {card.version}: {FOLDER}/{ONNX_FILE} has digest {digest_of(content)}, but "
                f"{card.digest} was registered; the file was changed in the artifact store: restore it, or "
                "register the model again"
            )
        return content

    def _reference(self, card: ModelVersion, found: Found) -> Reference:
        name = f"{card.model!r} version {card.version}: {FOLDER}/{REFERENCE_FILE}"
        try:
            reference = Reference.from_json(self._file(card, REFERENCE_FILE, found))
        except ReferenceInvalid as error:
            raise DigestMismatch(f"{name}: {error}") from error
        if reference.revision != card.reference_revision:
            raise DigestMismatch(
                f"{name} is revision {reference.revision!r}, but {card.reference_revision!r} was registered"
            )
        return reference

    def _contents(self, card: ModelVersion, found: Found) -> dict[str, bytes]:
        """Every file of the version, each checked as far as the registry and the signature speak of it."""
        self._reference(card, found)
        contents = {name: self._file(card, name, found) for name in (REFERENCE_FILE, CARD_FILE)}
        return {ONNX_FILE: self._onnx(card, found), **contents}

    def _file(self, card: ModelVersion, name: str, found: Found) -> bytes:
        with tempfile.TemporaryDirectory(prefix="homeostat-fetch-") as folder:
            path = self._call(
                lambda client: client.download_artifacts(card.run_id, f"{FOLDER}/{name}", folder)
            )
            content = Path(path).read_bytes()
        signed = found.files.get(name, digest_of(content))
        if signed != digest_of(content):
            raise DigestMismatch(
                f"{card.model!r} version {card.version}: {FOLDER}/{name} has digest {digest_of(content)}, but {signed} "
                f"was registered and signed with the key {found.signed.key}: the file was changed in the artifact store"
            )
        return content

    def _found(self, ask: Callable[[Any], T]) -> T | None:
        """What was asked for, or None when the server says that it does not exist."""
        try:
            return self._call(ask)
        except RegistryRefused as error:
            if getattr(error.__cause__, "error_code", None) in (_ABSENT, "INVALID_PARAMETER_VALUE"):
                return None
            raise

    def _call(self, ask: Callable[[Any], T]) -> T:
        """Run `ask` with MLflow's client; its errors become this room's."""
        client = self._client()
        from mlflow.exceptions import MlflowException, RestException
        from requests import RequestException

        try:
            return ask(client)
        except RestException as error:
            if error.error_code in _IN_TROUBLE:
                raise RegistryUnreachable(f"the registry at {self._uri} is in trouble: {error}") from error
            raise RegistryRefused(f"the registry at {self._uri} refused: {error}") from error
        except (MlflowException, RequestException, OSError) as error:
            raise RegistryUnreachable(f"the registry at {self._uri} does not answer: {error}") from error

    def _client(self) -> Any:
        with self._opening:
            if self._opened is None:
                for name, value in _SETTINGS.items():
                    os.environ.setdefault(name, value)
                from mlflow.tracking import MlflowClient

                logging.getLogger("mlflow").setLevel(logging.WARNING)
                self._opened = MlflowClient(self._uri, registry_uri=self._uri)
            return self._opened


def _made(make: Callable[[str], T], name: str) -> T | None:
    """What was made, or None when somebody had made it before."""
    from mlflow.exceptions import RestException

    try:
        return make(name)
    except RestException as error:
        if error.error_code != _EXISTS:
            raise
        return None


def _with(card: ModelVersion, found: Found) -> ModelVersion:
    return replace(card, signature=found.signed)


def _all_pages(search: Callable[..., Any], filter_string: str = "") -> list[Any]:
    found: list[Any] = []
    token: str | None = None
    while True:
        page = search(filter_string=filter_string, page_token=token)
        found.extend(page)
        token = page.token
        if not token:
            return found


def _under_version(reference: Reference, version: str) -> Reference:
    """The reference with the version's number, and the revision that names its new content (`from_json`
    checks it)."""
    blank = replace(reference, version=version, revision="")
    revision = hashlib.sha256(msgspec.json.encode(blank)).hexdigest()[:16]
    return Reference.from_json(replace(blank, revision=revision).to_json())
