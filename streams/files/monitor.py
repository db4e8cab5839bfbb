"""A monitor as a person writes it: one YAML file per model, checked field by field, with a JSON Schema."""

import json
import math
import re
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from detectors.localtime import UTC
from streams.files.timezones import check_timezone
from streams.files.yaml_text import read_yaml

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0, "w": 604_800.0}
_DURATION = r"^\d+(\.\d+)?(ms|s|m|h|d|w)$"
_BUDGET = r"^(\d+(?:\.\d+)?) per (?:(\d+) windows|(\d+(?:\.\d+)?(?:ms|s|m|h|d|w)))$"


class MonitorFileInvalid(ValueError):
    """A monitor file says something that cannot be; the message has a line for each thing."""


def seconds(duration: str) -> float:
    """The seconds of a duration such as "500ms", "2s", "10m", "1h", "1d" or "2w".

    Raises `ValueError` for anything else.
    """
    if not re.match(_DURATION, duration):
        raise ValueError(
            f"{duration!r} is no duration: write a number and a unit, such as 500ms, 2s, 10m, 1h, 1d, 2w"
        )
    unit = duration.lstrip("0123456789.")
    return float(duration.removesuffix(unit)) * _UNITS_S[unit]


def duration_of(length_s: float) -> str:
    """A length as a duration, in the greatest unit that goes into it without a rest."""
    for unit, one_s in sorted(_UNITS_S.items(), key=lambda each: -each[1]):
        if unit != "w" and math.isclose(length_s / one_s, round(length_s / one_s), abs_tol=1e-9):
            return f"{round(length_s / one_s)}{unit}"
    return f"{length_s:g}s"


def _duration(text: str) -> str:
    seconds(text)
    return text


Duration = Annotated[str, AfterValidator(_duration), Field(json_schema_extra={"pattern": _DURATION})]


def _budget(text: str) -> str:
    if not re.match(_BUDGET, text):
        raise ValueError(f"{text!r} is no budget: write `1 per 1000 windows` or `1 per 90d`")
    if not re.search("[1-9]", text.split("per", 1)[1]):
        raise ValueError(f"{text!r} has an empty period: write `1 per 1000 windows` or `1 per 90d`")
    return text


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FeatureColumn(_Part):
    """A feature with its kind, where a guess from the reference file would be wrong, or with its importance."""

    name: str
    kind: Literal["numeric", "categorical", "text"] | None = Field(
        None, description="text: free text, by its length, words and characters. Default: by the file."
    )
    importance: float | None = Field(
        None, ge=0, description="To the model, in any one unit. Default: estimated from the reference."
    )


class Columns(_Part):
    """Which column of a file is what. In live events the parts have their own names, and only `features` and
    `segments` count."""

    time: str | None = Field(
        None, description="Time of the prediction (timestamp, or seconds since the epoch)."
    )
    id: str | None = Field(None, description="Joins labels to predictions. Default: the number of the row.")
    version: str | None = Field(None, description="Version of the model. Default: that of the reference.")
    prediction: str | None = Field(None, description="What the model said. Default: score >= 0.5.")
    score: str | None = Field(None, description="Probability of the positive class.")
    class_scores: list[str] = Field(
        default_factory=list,
        description="Probability of each class, one column each, in the order of `classes` (multiclass).",
    )
    label: str | None = Field(None, description="What turned out to be true.")
    label_time: str | None = Field(None, description="When the label became known. Default: at once.")
    positive: str | None = Field(
        None, description="The text in prediction and label that means 1; other text means 0."
    )
    features: list[str | FeatureColumn] | None = Field(None, description="Default: every other column.")
    segments: list[str] = Field(
        default_factory=list, description="Columns whose values are judged one by one."
    )

    @model_validator(mode="after")
    def _features(self) -> "Columns":
        names = [each if isinstance(each, str) else each.name for each in self.features or ()]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"features name {name!r} twice")
            if name == self.label:
                raise ValueError(f"features name {name!r}, which is the label: no model sees its own answer")
        return self

    def roles(self) -> dict[str, str]:
        """The columns that are no features, by role."""
        names = ("time", "id", "version", "prediction", "score", "label", "label_time")
        return {
            name: value for name in names if (value := cast("str | None", getattr(self, name))) is not None
        }


class ArchiveStretch(_Part):
    """Event time, or how long ago, from and to: the archive's events of the model in between."""

    since: str = Field(alias="from", description="2026-11-21T10:00 (UTC), or how long ago: 30d.")
    until: str | None = Field(None, alias="to", description="The same. Default: now.")


class ReferenceSource(_Part):
    """Where the reference comes from: exactly one of the four."""

    file: Path | None = Field(None, description="A table of good times; relative to the monitor file.")
    rows: int | None = Field(
        None,
        ge=100,
        description="The first so many rows of the data; live, of each version without a reference.",
    )
    registered: bool | None = Field(None, description="The one that was registered with each version.")
    archive: ArchiveStretch | None = Field(None, description="What the archive holds of a good time.")
    seasonal: Literal["hour_of_day", "day_of_week", "hour_of_week"] | None = Field(
        None, description="Compare each row with those of its own hour of the day or day of the week."
    )
    version: str = Field("1", description="The version of the model that the file or the rows belong to.")

    @model_validator(mode="after")
    def _one(self) -> "ReferenceSource":
        if sum(bool(each) for each in (self.file, self.rows, self.registered, self.archive)) != 1:
            raise ValueError("name exactly one of file, rows, archive and registered: true")
        if self.registered and self.seasonal:
            raise ValueError(
                f"seasonal is {self.seasonal!r}: a registered reference has the season that it was built with; leave "
                "it out"
            )
        return self


class WindowShape(_Part):
    """Windows by rows (`rows`, `slide` in rows) or by time (`every`, `slide` as durations)."""

    rows: int | None = Field(None, ge=30, le=100_000_000)
    every: Duration | None = None
    slide: int | Duration | None = Field(None, description="Overlapping windows that begin so far apart.")

    @model_validator(mode="after")
    def _one(self) -> "WindowShape":
        if (self.rows is None) == (self.every is None):
            raise ValueError("name exactly one of rows and every")
        if self.slide is not None and isinstance(self.slide, int) != (self.rows is not None):
            unit = "a number of rows" if self.rows is not None else "a duration such as 10m"
            raise ValueError(f"slide is {self.slide!r}; in these windows it must be {unit}")
        return self


class Alarms(_Part):
    """How many false incidents a person is willing to see."""

    budget: Annotated[str, AfterValidator(_budget)] = "1 per 1000 windows"

    def parts(self) -> tuple[float, int | None, float | None]:
        """Incidents, and the windows or the seconds in which they may come."""
        found = re.match(_BUDGET, self.budget)
        if found is None:
            raise AssertionError(f"the budget {self.budget!r} was not checked")
        incidents, windows, time = found.groups()
        return float(incidents), int(windows) if windows else None, seconds(time) if time else None


class Concept(_Part):
    """Whether the same rows get other answers than before, told from the labels as they arrive."""

    detectors: list[str] = Field(
        default=["watch"],
        description="`watch` keeps the budget; others take the settings of their papers. [] looks for nothing.",
    )


class MonitorFile(_Part):
    """How one model is watched."""

    model: str = Field(min_length=1, max_length=255)
    task: Literal["binary", "multiclass", "regression"] = "binary"
    classes: list[str] = Field(default_factory=list, description="Multiclass: the names, in their order.")
    columns: Columns = Columns()  # pyright: ignore[reportCallIssue]
    reference: ReferenceSource
    window: WindowShape = WindowShape(rows=1_000)  # pyright: ignore[reportCallIssue]
    label_window: WindowShape = WindowShape(rows=500)  # pyright: ignore[reportCallIssue]
    pane: Duration | None = Field(None, description="The slice that windows are made of. Default: 10s live.")
    watermark_delay: Duration = Field("2s", description="How long after its end a pane is sealed.")
    lateness: Duration = Field("10m", description="How long a sealed pane can still be corrected.")
    label_horizon: Duration = Field("1d", description="How long a prediction waits for its label.")
    hot_horizon: Duration = Field(
        "1h",
        description="A prediction that comes again is told as a duplicate for so long; then it may leave memory.",
    )
    waiting_labels: int = Field(
        2_000_000,
        ge=1,
        description="So many labels of a partition wait for their prediction; of more the oldest are orphaned.",
    )
    idle: Duration = Field("5s", description="Silence after which a source holds nobody back.")
    spread: int = Field(
        1, ge=1, le=1_000, description="Partitions on which the producers put the model's events."
    )
    forget_after: Duration = Field(
        "1d", description="A version or segment without rows for so long is forgotten."
    )
    alarms: Alarms = Alarms()
    concept: Concept = Concept()
    silence: Literal["auto", "off"] | Duration = Field(
        "auto", description="How long no event may come before that is told; auto: by the usual traffic."
    )
    timezone: str = Field(
        "UTC", description="Whose clocks tell the phases of reference.seasonal: Europe/Berlin."
    )
    measures: list[str] = Field(
        default_factory=list, description="Shown besides those that are always there, such as wasserstein."
    )
    autonomy: Literal["observe", "suggest", "act"] = "suggest"
    playbook: Literal["default"] = "default"

    @model_validator(mode="after")
    def _each_class_has_a_score(self) -> "MonitorFile":
        named = self.columns.class_scores
        if named and (self.task != "multiclass" or len(named) != len(self.classes)):
            raise ValueError(
                f"columns.class_scores: {len(named)} columns for {len(self.classes)} classes of task {self.task}; it "
                "takes one for each class of a multiclass model"
            )
        return self

    @field_validator("timezone")
    @classmethod
    def _there_is_such_a_timezone(cls, name: str) -> str:
        check_timezone(name)
        return name

    @model_validator(mode="after")
    def _only_seasons_go_by_clocks(self) -> "MonitorFile":
        if self.timezone != UTC.name and self.reference.seasonal is None:
            raise ValueError(
                f"timezone is {self.timezone!r}: only reference.seasonal goes by it, which is not set; leave it out"
            )
        return self

    @model_validator(mode="after")
    def _label_windows_do_not_slide(self) -> "MonitorFile":
        if self.label_window.slide is not None:
            raise ValueError("label_window.slide: windows of label arrival do not slide; leave it out")
        return self


def read_monitor_file(path: Path) -> MonitorFile:
    """The file, checked. Raises `MonitorFileInvalid` that names each field, its value and what would be right."""
    try:
        found, twice = read_yaml(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise MonitorFileInvalid(f"{path}: this is not YAML: {error}") from error
    if not isinstance(found, dict):
        raise MonitorFileInvalid(f"{path}: it must hold fields, such as `model: churn`")
    if twice:
        raise MonitorFileInvalid("\n".join(f"{path}: {line}" for line in twice))
    try:
        file = MonitorFile.model_validate(found)
    except ValidationError as error:
        raise MonitorFileInvalid("\n".join(f"{path}: {line}" for line in field_errors(error))) from error
    source = file.reference.file
    if source is None or source.is_absolute():
        return file
    reference = file.reference.model_copy(update={"file": path.parent / source})
    return file.model_copy(update={"reference": reference})


def schema_json() -> str:
    """The JSON Schema of a monitor file, for editors."""
    schema = MonitorFile.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "Homeostat monitor"
    return json.dumps(schema, indent=2)


_WHAT = {
    "extra_forbidden": "there is no such field",
    "missing": "it must be given",
    "string_type": "it must be text; put it into quotes",
}


def field_errors(error: ValidationError) -> list[str]:
    """A line for each thing that is wrong: the field, its value, and what would be right."""
    lines: list[str] = []
    for wrong in error.errors():
        place = ".".join(str(part) for part in wrong["loc"] if not _is_type_name(part)) or "the file"
        told = _WHAT.get(wrong["type"], wrong["msg"].removeprefix("Value error, "))
        given: Any = wrong["input"]
        if wrong["loc"][-1:] == ("str",) and isinstance(given, dict):
            continue  # meant as the union's other branch, whose own errors say what is wrong
        known = isinstance(given, dict) or wrong["type"] == "missing" or repr(given) in told
        shown = "" if known else f" is {given!r}:"
        lines.append(f"{place}{shown or ':'} {told}")
    return list(dict.fromkeys(lines))


def _is_type_name(part: int | str) -> bool:
    """Pydantic puts the branch of a union into the place: "str", "FeatureColumn", "function-after[...]"."""
    return isinstance(part, str) and (part in ("str", "int", "FeatureColumn", "FeatureEntry") or "[" in part)
