"""The registry of model versions on an MLflow server."""

import json
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import msgspec
import structlog

from detectors.errors import ReferenceInvalid
from detectors.reference_values import Reference
from remediation.training_values import TrainedModel
from remediation.values import ModelVersion
from serving.cards import (
    CARD_TAG,
    DIGEST_TAG,
    SIGNATURE_TAG,
    is_finished,
    judged,
    under_version,
    with_signature,
)
from serving.mlflow_server import MlflowServer, all_pages, made
from serving.model_errors import (
    DigestMismatch,
    RegistryRefused,
    RegistryUnreachable,
    ServingError,
    SignatureRefused,
)
from serving.signatures import Found, Signatures, digest_of

log = structlog.get_logger()

CHAMPION = "champion"
FOLDER = "model"
ONNX_FILE, REFERENCE_FILE, CARD_FILE = "model.onnx", "reference.json", "model_card.json"
FILES = (ONNX_FILE, REFERENCE_FILE, CARD_FILE)


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
        self._server = MlflowServer(tracking_uri)
        self._signatures = signatures

    def register(self, trained: TrainedModel, *, tags: Mapping[str, str]) -> ModelVersion:
        """A new version of `trained.model`. Its reference gets the version's number and a revision that says
        so. What could not be finished is taken out of the registry again."""
        if self._vouching is not None:
            # Keys that cannot be used are found before there is anything to take back.
            self._vouching.keyring.signer()
        run_id, version = self._server.call(lambda client: self._begin(client, trained))
        reference = under_version(trained.reference, version)
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
        try:
            card = self._server.call(lambda client: self._finish(client, trained, card, reference))
        except ServingError as error:
            card = self._finished_or_removed(card, error)
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
        found = self._server.call(lambda client: all_pages(client.search_model_versions, wanted))
        cards = [stored[0] for stored in map(self._judged, found) if stored is not None]
        return sorted(cards, key=lambda card: int(card.version))

    def models(self) -> dict[str, list[str]]:
        """The numbers of all finished versions, oldest first, by the name of the model: one search, however many there
        are, and no signature is looked at."""
        found: dict[str, list[str]] = {}
        for entry in self._server.call(lambda client: all_pages(client.search_model_versions)):
            if is_finished(entry.tags):
                found.setdefault(str(entry.name), []).append(str(entry.version))
        return {name: sorted(found[name], key=int) for name in sorted(found)}

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
        self._server.call(lambda client: self._sign(client, card, entry.tags[CARD_TAG], contents))
        return self._stored(model, version)[0]

    def examine(self, model: str, version: str) -> tuple[ModelVersion, list[str]]:
        """The version, and what is wrong with each of its files: lost, or not what was registered."""
        card, found = self._stored(model, version)
        wrong: list[str] = []
        for look in (self._onnx, self._reference, self._card):
            try:
                look(card, found)
            except (DigestMismatch, RegistryRefused) as error:
                wrong.append(str(error))
        return card, wrong

    def set_champion(self, model: str, version: str) -> None:
        """Point the alias `champion` at the version, and read it back: MLflow's last writer wins silently."""
        self._stored(model, version)
        self._server.call(lambda client: client.set_registered_model_alias(model, CHAMPION, version))
        found = self.champion(model)
        if found != version:
            raise RegistryRefused(
                f"the alias {CHAMPION!r} of {model!r} was set to version {version} and now names {found}; "
                "somebody else moves it at the same time"
            )

    def champion(self, model: str) -> str | None:
        """The version that the alias `champion` names, or None."""
        found = self._server.found(lambda client: client.get_registered_model(model))
        return None if found is None else cast("dict[str, Any]", found.aliases).get(CHAMPION)

    def _begin(self, client: Any, trained: TrainedModel) -> tuple[str, str]:
        from mlflow.entities import Metric, Param

        experiment_id = made(client.create_experiment, trained.model)
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
        made(client.create_registered_model, trained.model)
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
        if self._signatures is None:
            return card
        return with_signature(card, self._signatures.judged(signature, card, text))

    def _finished_or_removed(self, card: ModelVersion, error: ServingError) -> ModelVersion:
        """The version, if only the last answer was lost; otherwise it is removed, and `error` raised."""
        told = {"model": card.model, "version": card.version, "reason": str(error)}
        try:
            entry = self._entry(card.model, card.version)
            if entry is not None and is_finished(entry.tags):
                return self._stored(card.model, card.version)[0]
            if entry is not None:
                self._server.call(lambda client: client.delete_model_version(card.model, card.version))
            self._server.call(lambda client: client.set_terminated(card.run_id, "FAILED"))
        except ServingError as problem:
            log.warning(
                "A model version could not be finished and is still in the registry; it serves nowhere.",
                **told,
                not_removed=str(problem),
                remedy="delete it in MLflow",
            )
        else:
            log.warning("A model version could not be finished and is removed from the registry.", **told)
        raise error

    def _sign(self, client: Any, card: ModelVersion, text: str, contents: Mapping[str, bytes]) -> str | None:
        if self._vouching is None:
            return None
        signature = self._vouching.made(card, text, contents, now_us=time.time_ns() // 1_000)
        client.set_model_version_tag(card.model, card.version, SIGNATURE_TAG, signature)
        return signature

    @property
    def _vouching(self) -> Signatures | None:
        """What signs, where anything shall be signed."""
        return None if self._signatures is None or self._signatures.mode == "off" else self._signatures

    def _judged(self, entry: Any) -> tuple[ModelVersion, Found] | None:
        return judged(
            entry.tags,
            model=str(entry.name),
            version=str(entry.version),
            run_id=entry.run_id,
            signatures=self._signatures,
        )

    def _entry(self, model: str, version: str) -> Any:
        return self._server.found(lambda client: client.get_model_version(model, version))

    def _stored(self, model: str, version: str) -> tuple[ModelVersion, Found]:
        return self._existing(self._entry(model, version), model, version)

    def _existing(self, entry: Any, model: str, version: str) -> tuple[ModelVersion, Found]:
        stored = None if entry is None else self._judged(entry)
        if stored is not None:
            return stored
        if entry is None:
            raise RegistryRefused(
                f"the registry at {self._server.uri} has no version {version!r} of the model {model!r}"
            )
        raise RegistryRefused(
            f"version {version} of {model!r} in the registry at {self._server.uri} was not registered by Homeostat: "
            "without card, digest and reference there is nothing to vouch for, and it serves nowhere; register its "
            f"ONNX file instead: homeostat models register {model} --onnx FILE --monitor FILE --reason WHY"
        )

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
        reference = self._file(card, REFERENCE_FILE, found)
        return {
            ONNX_FILE: self._onnx(card, found),
            REFERENCE_FILE: reference,
            CARD_FILE: self._card(card, found),
        }

    def _card(self, card: ModelVersion, found: Found) -> bytes:
        return self._file(card, CARD_FILE, found)

    def _file(self, card: ModelVersion, name: str, found: Found) -> bytes:
        with tempfile.TemporaryDirectory(prefix="homeostat-fetch-") as folder:
            try:
                path = self._server.call(
                    lambda client: client.download_artifacts(card.run_id, f"{FOLDER}/{name}", folder)
                )
            except RegistryUnreachable as error:
                # MLflow tells a file that is not there and a store that is away by the same error.
                if self._has(card, name):
                    raise
                raise RegistryRefused(
                    f"{card.model!r} version {card.version}: {FOLDER}/{name} is not in the artifact store any more; "
                    "restore it, or register the model again"
                ) from error
            content = Path(path).read_bytes()
        signed = found.files.get(name, digest_of(content))
        if signed != digest_of(content):
            raise DigestMismatch(
                f"{card.model!r} version {card.version}: {FOLDER}/{name} has digest {digest_of(content)}, but {signed} "
                f"was registered and signed with the key {found.signed.key}: the file was changed in the artifact store"
            )
        return content

    def _has(self, card: ModelVersion, name: str) -> bool:
        """Whether the artifact store lists the file. Raises `RegistryUnreachable` while nobody can say."""
        listed = self._server.call(lambda client: client.list_artifacts(card.run_id, FOLDER))
        return f"{FOLDER}/{name}" in {each.path for each in listed}
