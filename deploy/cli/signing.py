"""Commands over signatures: register a model version or vouch for one, check it, and keep the keys."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from deploy.cli import reasons
from deploy.cli.acting import By, operator, recorded, releaser
from deploy.cli.files import checked, monitor_file
from deploy.cli.printing import rfc_3339, show_table
from deploy.cli.records import models
from deploy.errors import UserError
from deploy.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from remediation.training_values import TrainedModel
    from remediation.values import ModelVersion
    from serving.keyring import Key, Keyring
    from serving.registry import MlflowRegistry

T = TypeVar("T")

AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
Why = Annotated[str, typer.Option("--reason", callback=reasons.why, help="Why, for the record.")]
KeyId = Annotated[str, typer.Argument(help="The id of a key in `homeostat models keys list`.")]

keys = typer.Typer(
    no_args_is_help=True,
    help="The keys that sign model versions. How it works: docs/signatures.md.",
    rich_markup_mode="markdown",
)


def register(app: typer.Typer) -> None:
    """Add the commands of this module to those over models, which `app` has already."""
    del app
    models.add_typer(keys, name="keys")


@models.command("register")
def models_register(
    model: str,
    onnx: Annotated[Path, typer.Option(help="The model: input `features`, output `probabilities`.")],
    monitor: Annotated[Path, typer.Option(help="A monitor file that names the file of its reference.")],
    reason: Why,
    algorithm: Annotated[str, typer.Option(help="What it is, for people.")] = "registered by hand",
    by: By = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, and register nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Register a model that was trained elsewhere as the next version, with its reference, and sign it.

    The file's metadata name its columns under `homeostat.features`; docs/signatures.md shows how. It serves once it is
    promoted.

    Example: `homeostat models register churn --onnx churn.onnx --monitor churn.yaml --reason "CI run 4711"`
    """
    who = releaser(by, model)
    from serving.brought import brought
    from serving.model_errors import ModelInvalid
    from streams.control.monitor_build import reference_of

    described = monitor_file(monitor)
    if described.model != model:
        raise typer.BadParameter(
            f"is of the model {described.model!r}, not {model!r}", param_hint="--monitor"
        )
    reference, _ = checked(lambda: reference_of(described))
    content = onnx.read_bytes()
    try:
        trained = brought(model, content, reference, algorithm=algorithm)
    except ModelInvalid as error:
        raise UserError(f"{onnx}: {error}") from error
    if dry_run:
        _would_register(trained, as_json)
        return
    told = {"digest": trained.digest, "reason": reason}
    with recorded(who, f"model/{model}", ("model.register", "model.registered"), told) as outcome:
        card = _asked(lambda registry: registry.register(trained, tags={"homeostat.reason": reason}))
        outcome |= {"key": card.signature.key, "subject": f"{model}/{card.version}"}
    if as_json:
        typer.echo(json.dumps(_shown(card, []), indent=2))
    else:
        typer.echo(
            f"{model} version {card.version} is registered ({card.signature.told or 'not signed'}). It serves after: "
            f"homeostat models promote {model} {card.version} --reason WHY"
        )


@models.command("sign")
def models_sign(model: str, version: str, reason: Why, by: By = None, as_json: AsJson = False) -> None:
    """Vouch for a registered version with this installation's key, once each of its files is what the registry says.

    For a version that Homeostat registered without a key, in another installation, or with a key that was revoked. A
    model that something else registered is brought here by `homeostat models register`.

    Example: `homeostat models sign churn 7 --reason "built by CI run 4711, looked at"`
    """
    who = releaser(by, model)
    with recorded(who, f"{model}/{version}", ("model.sign", "model.signed"), {"reason": reason}) as outcome:
        card = _asked(lambda registry: registry.sign(model, version))
        outcome |= {"digest": card.digest, "key": card.signature.key}
    if as_json:
        typer.echo(json.dumps(_shown(card, []), indent=2))
    else:
        typer.echo(f"{model} version {version} is {card.signature.told}.")


@models.command("verify")
def models_verify(
    model: Annotated[str | None, typer.Argument(help="Default: every model.")] = None,
    version: Annotated[str | None, typer.Argument(help="Default: every version of the model.")] = None,
    as_json: AsJson = False,
) -> None:
    """Fetch every file of a version and check digests and signature; exit 1 where one must not serve or cannot be
    looked at. Every version and every file is told.

    Examples: `homeostat models verify` · `homeostat models verify churn` · `homeostat models verify churn 7 --json`
    """
    from serving.model_errors import ServingError

    def examined(registry: "MlflowRegistry") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for name, each in _wanted(registry, model, version):
            item: dict[str, Any] = {"model": name, "version": each, "ok": False, "signature": None}
            try:
                found.append(item | _shown(*registry.examine(name, each)))
            except ServingError as error:
                found.append(item | {"problem": str(error)})
        return found

    items = _asked(examined)
    if as_json:
        typer.echo(json.dumps({"items": items}, indent=2))
    else:
        show_table(
            [each | {"found": _found(each)} for each in items],
            ("model", "version", "found", "signature", "key", "problem"),
        )
    raise typer.Exit(0 if all(each["ok"] for each in items) else 1)


@keys.command("list")
def keys_list(as_json: AsJson = False) -> None:
    """List the keys, oldest first. The text of a key is what another installation trusts.

    Example: `homeostat models keys list`
    """
    ring = _keyring()
    items = [
        {
            "id": each.id,
            "is": ring.standing(each),
            "since": _at(each.since_us),
            "until": _at(each.revoked_us or each.ended_us),
            "reason": each.reason,
            "key": each.key,
        }
        for each in _kept(ring.keys)
    ]
    if as_json:
        typer.echo(json.dumps({"items": items}, indent=2))
    else:
        show_table(items, ("id", "is", "since", "until", "reason", "key"))


@keys.command("rotate")
def keys_rotate(reason: Why, by: By = None) -> None:
    """Sign with a new key from now on. What the old one signed stays valid; its private half is deleted.

    Example: `homeostat models keys rotate --reason "yearly"`
    """
    key = _changed("rotate", "rotated", by, reason, lambda ring: ring.rotate(reason))
    typer.echo(f"From now on this key signs; other installations trust it by its text:\n{key.key}")


@keys.command("trust")
def keys_trust(
    key: Annotated[str, typer.Argument(help="The text of the key, as `keys list` prints it there.")],
    reason: Why,
    by: By = None,
) -> None:
    """Take the signatures of another installation's key, such as that of your CI.

    Example: `homeostat models keys trust "homeostat-models-1859+0f3a+AQ..." --reason "our CI"`
    """
    found = _changed("trust", "trusted", by, reason, lambda ring: ring.trust(key, reason))
    typer.echo(f"What the key {found.id} signs counts from now on.")


@keys.command("end")
def keys_end(key_id: KeyId, reason: Why, by: By = None) -> None:
    """Take no new signature of a key; what it signed before stays valid.

    Example: `homeostat models keys end 0f3a91c2 --reason "CI has a new one"`
    """
    found = _changed("end", "ended", by, reason, lambda ring: ring.end(key_id, reason))
    typer.echo(f"What the key {found.id} signs from now on counts for nothing.")


@keys.command("revoke")
def keys_revoke(key_id: KeyId, reason: Why, by: By = None) -> None:
    """Take no signature of a key any more, not even old ones: somebody else may have it.

    Versions that it signed serve on where they are loaded and load nowhere again. Look at them, then sign those that
    are sound.

    Example: `homeostat models keys revoke 0f3a91c2 --reason "laptop stolen"`
    """
    found = _changed("revoke", "revoked", by, reason, lambda ring: ring.revoke(key_id, reason))
    typer.echo(f"Nothing that the key {found.id} signed counts. Sign what is sound: homeostat models sign")


def _wanted(registry: "MlflowRegistry", model: str | None, version: str | None) -> list[tuple[str, str]]:
    """Names and versions."""
    if model is not None and version is not None:
        return [(model, version)]
    names = registry.models() if model is None else [model]
    found = [(name, each.version) for name in names for each in registry.versions(name)]
    if not found:
        of = "" if model is None else f" of the model {model!r}"
        raise UserError(f"The registry has no version{of} that Homeostat registered.")
    return found


def _shown(card: "ModelVersion", wrong: list[str]) -> dict[str, Any]:
    """`wrong`: which of the files are not what was registered, and why."""
    signature = card.signature
    return {
        "version": card.version,
        "ok": not wrong and not signature.refused,
        "signature": signature.state,
        "key": signature.key or None,
        "signed": _at(signature.signed_us),
        "digest": card.digest,
        "problem": " · ".join([*wrong, *([signature.why] if signature.why else [])]) or None,
    }


def _found(item: dict[str, Any]) -> str:
    """What is true of the version as a whole: a signature can be valid, and a file not the one that was signed."""
    if item["ok"]:
        return "sound"
    return "not looked at" if item["signature"] is None else "must not serve"


def _asked(ask: "Callable[[MlflowRegistry], T]") -> T:
    """The registry's answer, with signatures looked at also where serving does not."""
    from deploy.dry_run import registry
    from serving.model_errors import ServingError

    settings = Settings()
    if settings.signatures == "off":
        settings = settings.model_copy(update={"signatures": "warn"})
    found = registry(settings)
    if found is None:
        raise UserError(
            f"No registry is known in {settings.home}: start the stack (`homeostat up`) or set MLFLOW_TRACKING_URI."
        )
    try:
        return ask(found)
    except ServingError as error:
        raise UserError(str(error)) from error


def _keyring() -> "Keyring":
    from serving.keyring import Keyring

    return Keyring(Settings().signing_path)


def _kept(work: "Callable[[], T]") -> T:
    from serving.model_errors import KeysInvalid

    try:
        return work()
    except KeysInvalid as error:
        raise UserError(str(error)) from error


def _changed(verb: str, done: str, by: str | None, reason: str, work: "Callable[[Keyring], Key]") -> "Key":
    who, ring = operator(by), _keyring()
    verbs, told = (f"signing_key.{verb}", f"signing_key.{done}"), {"reason": reason}
    with recorded(who, "signing_keys", verbs, told) as outcome:
        key = _kept(lambda: work(ring))
        outcome |= {"key": key.key, "subject": f"signing_key/{key.id}"}
    return key


def _would_register(trained: "TrainedModel", as_json: bool) -> None:
    """What would come of it, as far as it is known beforehand: the registry numbers the versions."""
    before = _asked(lambda registry: registry.versions(trained.model))
    newest = before[-1].version if before else None
    features = list(trained.features)
    if as_json:
        told = {"dry_run": True, "model": trained.model, "digest": trained.digest, "features": features}
        typer.echo(json.dumps(told | {"newest_version": newest}, indent=2))
        return
    after = "as its first version" if newest is None else f"after version {newest}"
    typer.echo(
        f"{trained.model} would be registered {after}, with {len(features)} features and the digest {trained.digest}."
    )


def _at(time_us: int | None) -> str | None:
    return rfc_3339(time_us) if time_us else None
