"""The file that says which model is reached how (HOMEOSTAT_ACTUATORS), and whether commands may be run."""

import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from remediation.file_errors import VARIABLE, at, emptied, items, listed, mistake, told, twice

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=86_400)]
Variable = Annotated[str, msgspec.Meta(pattern=VARIABLE, max_length=200)]
"""The name of an environment variable: no secret stands in the file."""
Part = Literal["shares", "shadows", "constant", "imputed", "paused", "detailed", "replicas"]
HOMEOSTAT = "homeostat"
_ENTRY = re.compile(r"\.actuators\[\d+\]")


class ActuatorsInvalid(Exception):
    """The file cannot be read, or contradicts itself. The message names the place and what would be right."""


class Reach(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """What all have. `name`: as plans and the audit log tell it. `models`: shell pattern; the first entry that fits a
    model counts. `timeout_s`: of one request. `patience_s`: how long a state may take to come into force."""

    name: Text
    models: Text
    timeout_s: Seconds = 10.0
    patience_s: Seconds = 120.0

    @property
    def variables(self) -> tuple[str, ...]:
        """The environment variables that it needs."""
        named = (getattr(self, name) for name in self.__struct_fields__ if name.endswith("_env"))
        return tuple(str(each) for each in named if each is not None)


class Own(Reach, frozen=True, kw_only=True, tag=HOMEOSTAT):
    """Our own inference servers: for models that a later, wider pattern would catch."""

    name: Text = HOMEOSTAT


class MlflowAliasReach(Reach, frozen=True, kw_only=True, tag="mlflow_alias"):
    """Somebody else's servers follow the registry's alias `champion`."""

    patience_s: Seconds = 60.0


class KServeReach(Reach, frozen=True, kw_only=True, tag="kserve"):
    """An InferenceService of KServe (serving.kserve.io/v1beta1).

    `storage_uri`: where the bytes of a version lie, `service`: the name of its InferenceService; `{model}` and
    `{version}` are filled in. `url`: of the Kubernetes API (not given: the cluster in which this process runs).
    `token_env` or `token_file`: the bearer token; `ca_file`: who is trusted. `mode`: KServe shifts traffic only where
    it runs `serverless`.
    """

    namespace: Text
    storage_uri: Text
    service: Text = "{model}"
    url: Text | None = None
    token_env: Variable | None = None
    token_file: Path = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
    ca_file: Path | None = None
    mode: Literal["serverless", "raw"] = "serverless"
    patience_s: Seconds = 600.0


class SageMakerReach(Reach, frozen=True, kw_only=True, tag="sagemaker"):
    """A real-time endpoint of SageMaker. `model_name`: the SageMaker model of a version, which must be there;
    `endpoint`: the endpoint of the model. `instances`: of each version, where the endpoint says nothing else.
    Credentials come from boto3's usual places."""

    region: Text
    model_name: Text = "{model}-{version}"
    endpoint: Text = "{model}"
    instance_type: Text = "ml.m5.large"
    instances: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 1
    endpoint_url: Text | None = None
    patience_s: Seconds = 1_800.0


class WebhookReach(Reach, frozen=True, kw_only=True, tag="webhook"):
    """A service of yours that is told, and asked. `url_env`: where states are posted; `state_url_env`: where what is in
    force is read (`{model}` is filled in). `secret_env`: signs both. `supports`: which parts of an arrangement the
    service can bring about."""

    url_env: Variable
    state_url_env: Variable
    secret_env: Variable
    supports: tuple[Part, ...] = ()


AnyReach = Own | MlflowAliasReach | KServeReach | SageMakerReach | WebhookReach


class Commands(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How commands of playbooks run. `prefix`: stands before every command, such as a container's runtime.
    `environment`: the names of the variables that they see. `timeout_s`: where a step says nothing else."""

    prefix: tuple[Text, ...] = ()
    environment: tuple[Variable, ...] = ("PATH", "HOME", "LANG")
    timeout_s: Seconds = 60.0


class Reaches(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`actuators`; models that none of them names are served by our own servers. `commands`: not given, no command is
    run."""

    actuators: tuple[AnyReach, ...] = ()
    commands: Commands | None = None

    def name_for(self, model: str) -> str:
        """The actuator of a model."""
        return next((each.name for each in self.actuators if fnmatchcase(model, each.models)), HOMEOSTAT)

    @property
    def elsewhere(self) -> "tuple[AnyReach, ...]":
        """Those that are not our own servers."""
        return tuple(each for each in self.actuators if not isinstance(each, Own))


def read_reaches(path: Path) -> Reaches:
    """The file. Raises `ActuatorsInvalid` with every entry that is wrong, its value and what would be right."""
    try:
        content = path.read_bytes()
        raw = msgspec.yaml.decode(content)
    except OSError as error:
        raise ActuatorsInvalid(f"{path} cannot be read: {error.strerror or error}") from error
    except msgspec.DecodeError as error:
        raise ActuatorsInvalid(f"{path} is no YAML: {error}") from error
    problems = [*twice(content), *_mistakes(raw)]
    if not problems:
        reaches = msgspec.convert(raw, Reaches, dec_hook=_from_text)
        problems = _problems(reaches)
        if not problems:
            return reaches
    raise ActuatorsInvalid(listed(path, problems))


def _from_text(kind: type[object], value: object) -> object:
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise ValueError(f"Expected {kind.__name__}, got {value!r}")


def _mistakes(raw: object) -> list[str]:
    """What the schema finds: at most one mistake for each entry, and one for the rest."""
    parts: list[tuple[object, Any, str]] = [(emptied(raw, "actuators"), Reaches, "")]
    parts += [(each, AnyReach, f".actuators[{n}]") for n, each in enumerate(items(at(raw, ".actuators")))]
    found = [mistake(part, kind, path, _from_text) for part, kind, path in parts]
    return [_told(*each, raw) for each in found if each is not None]


def _told(what: str, path: str, raw: object) -> str:
    value, wrong = told(what, path, raw, Reaches)
    entry = _ENTRY.match(path)
    name = at(raw, f"{entry[0]}.name") if entry is not None else None
    place = path.lstrip(".") or "the file"
    if entry is not None and isinstance(name, str):
        place = f"{entry[0][1:]} ({name!r}){path[entry.end() :]}"
    return f"{place}{f' is {value}' if value else ''}: {wrong}"


def _problems(reaches: Reaches) -> list[str]:
    names = [each.name for each in reaches.elsewhere]
    found = [
        f"two actuators are called {name!r}" for name in sorted({n for n in names if names.count(n) > 1})
    ]
    for position, each in enumerate(reaches.actuators):
        if not isinstance(each, Own) and each.name == HOMEOSTAT:
            found.append(
                f"actuators[{position}].name is {HOMEOSTAT!r}, which means our own servers; choose another"
            )
        if isinstance(each, Own) and each.name != HOMEOSTAT:
            found.append(
                f"actuators[{position}].name is {each.name!r}; our own servers are called {HOMEOSTAT!r}"
            )
        found += [f"actuators[{position}].{field}: {why}" for field, why in _templates(each)]
    return found


def _templates(reach: AnyReach) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for field, needs_version in (
        ("storage_uri", True),
        ("service", False),
        ("model_name", True),
        ("endpoint", False),
    ):
        text = getattr(reach, field, None)
        if text is None:
            continue
        try:
            filled = str(text).format(model="m", version="v")
        except (KeyError, IndexError, ValueError):
            found.append((field, f"{text!r}: only {{model}} and {{version}} can be filled in"))
            continue
        if needs_version and filled == str(text).format(model="m", version="w"):
            found.append((field, f"{text!r} is the same for every version; it needs {{version}}"))
    return found
