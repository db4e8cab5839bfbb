"""Every setting of the system, read from the environment (`HOMEOSTAT_...`) or given by the command line."""

from pathlib import Path
from typing import Annotated, Literal

from platformdirs import user_cache_path, user_data_path
from pydantic import AliasChoices, Field, PositiveInt, SecretStr, StringConstraints
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Where the parts are and how they behave. A part whose address is not set is embedded by `homeostat up`."""

    model_config = SettingsConfigDict(env_prefix="HOMEOSTAT_", extra="ignore")

    environment: Annotated[str, StringConstraints(strip_whitespace=True)] = Field(
        default="", pattern=r"^[\w .-]{0,40}$"
    )
    """What this installation is called where people read of it, such as `production`: in every message, in the console
    and in reports. Not set: they name none."""
    home: Path = Field(default_factory=lambda: user_data_path("homeostat"))
    """Data, logs and run files of the local stack."""
    cache: Path = Field(default_factory=lambda: user_cache_path("homeostat"))
    """The broker's jars."""
    broker: str | None = None
    """Bootstrap servers of an existing Kafka, `host:port[,host:port]`."""
    database_url: str | None = None
    """SQLAlchemy URL of an existing database."""
    mlflow_tracking_uri: str | None = Field(
        default=None, validation_alias=AliasChoices("MLFLOW_TRACKING_URI", "HOMEOSTAT_MLFLOW_TRACKING_URI")
    )
    """An existing MLflow server."""
    archive: str | None = None
    """The Parquet archive (default: `archive` in the home): a folder, or a URI such as
    `s3://bucket/prefix?region=eu-west-1`, `gs://...`, `abfs://...`, see docs/archive.md."""
    archive_flush_s: float | None = Field(default=None, gt=0, le=3_600)
    """How long an event may wait for its file (default: 5 in a folder, 60 on object storage)."""
    archive_retention_days: int | None = Field(default=None, ge=1)
    """Days of event time after which archived events are deleted (default: never)."""
    archive_retention_of: dict[str, PositiveInt] = Field(default_factory=dict)
    """The same for single models, as JSON: `{"car-loan": 90}`."""
    segments: str | None = None
    """Where the profile workers keep predictions older than the hot horizon: a folder that all of them see, or a URI as
    for the archive; one place per installation (docs/state.md). Not set: in memory (`homeostat up`: `segments` in the
    home)."""
    budget: str | None = None
    """How many false incidents all models together may have, such as `4 per 90d`: `monitors apply` refuses what goes
    beyond it (docs/decisions.md). Not set: each model has its own, and they add up."""
    api_port: int | None = Field(default=None, ge=1, le=65_535)
    serving_port: int | None = Field(default=None, ge=1, le=65_535)
    api_url: str | None = None
    """Where the commands find the REST API (default: the local stack's)."""
    api_token: SecretStr | None = None
    """When set, every change over REST needs `Authorization: Bearer ...`."""
    partitions: int = Field(default=4, ge=1, le=1_000)
    checkpoint_interval_s: float = Field(default=0.5, gt=0, le=60)
    instance: str = Field(default="0", pattern=r"^[A-Za-z0-9_-]{1,40}$")
    """Which of several workers of one role this is: each has its own name, and keeps it over restarts."""
    profile_workers: int = Field(default=1, ge=1, le=64)
    """How many profile workers `homeostat up` runs; more than `partitions` are of no use."""
    metrics_port: int | None = Field(default=None, ge=0, le=65_535)
    """Where a stream worker answers Prometheus (`/metrics`); 0: a free port, told in the log; not set: nowhere."""
    metrics_host: str = "127.0.0.1"
    """The address to answer Prometheus on; `0.0.0.0` in a container."""
    approval_ttl_s: float = Field(default=3_600, gt=0)
    policy: Path | None = None
    """YAML file that says who may decide about what, how many it takes, and when nothing may be changed
    (docs/approvals.md). Not set: whoever can reach Homeostat decides alone."""
    playbooks: Path | None = None
    """YAML file that says which incident is treated how, and how freely the agent acts on which model
    (docs/playbooks.md). Not set: the playbooks that come with Homeostat."""
    issue_url: SecretStr | None = None
    """Where a step `open_issue` of a playbook posts what is known, unless it names another variable
    (docs/playbooks.md)."""
    signatures: Literal["require", "warn", "off"] = "warn"
    """Whether a model version must carry the signature of a known key: `require`; `warn`: one without loads with a
    warning, one with a wrong signature never; `off` (docs/signatures.md)."""
    signing_keys: Path | None = None
    """The folder of the keys that sign model versions (default: `signing` in the home)."""
    actuators: Path | None = None
    """YAML file that says which models are served elsewhere and how they are reached, and whether playbooks may run
    commands (docs/actuators.md). Not set: our own inference servers serve all, and no command runs."""
    ingest_topics: str | None = None
    """Further topics that the gate reads, `topic=format,...`; formats: auto, homeostat, cloudevents, sagemaker,
    inference-table, arrow (docs/ingest.md)."""
    ingest_file: Path | None = None
    """YAML file that says how foreign payloads become events (docs/ingest.md)."""
    ingest_in_flight_bytes: int = Field(default=32 * 1024 * 1024, ge=1024 * 1024)
    """So much of all bodies of events over HTTP is in memory at the same time; above it the answer is 429."""
    slack_token: SecretStr | None = None
    slack_signing_secret: SecretStr | None = None
    slack_app_token: SecretStr | None = None
    """App-level token (`xapp-...`): clicks come over a socket that Homeostat opens, where Slack cannot reach it."""
    slack_channel: str = "#homeostat"
    slack_api_url: str = "https://slack.com/api/"
    smtp_url: SecretStr | None = None
    """`smtp://[user:password@]host[:port]`, `smtps://` for TLS from the first byte, `smtp+starttls://`."""
    mail_from: str = "homeostat@localhost"
    mail_to: str | None = None
    """Addresses with commas between them."""
    report_cron: str | None = None
    """When the agent writes a report by itself (and sends it where mail is set): five fields as in crontab, in UTC,
    such as `0 7 * * 1` for Mondays at 07:00. A report covers the time between two of them."""
    log_level: str = "INFO"

    @property
    def archive_location(self) -> str:
        """The archive's folder or URI."""
        return self.archive or str(self.home / "archive")

    @property
    def archive_wait_s(self) -> float:
        """How long an event may wait for its file: many small files cost more on object storage."""
        return self.archive_flush_s or (60.0 if "://" in self.archive_location else 5.0)

    @property
    def archive_upkeep_s(self) -> float:
        """How often the archive is tidied: listing a bucket costs money."""
        return 600.0 if "://" in self.archive_location else 60.0

    @property
    def reports_path(self) -> Path:
        """Where reports are written."""
        return self.home / "reports"

    @property
    def database(self) -> str:
        """The database's URL: the configured one, or SQLite in the home."""
        return self.database_url or f"sqlite:///{self.home / 'homeostat.db'}"

    @property
    def signing_path(self) -> Path:
        """Where the keys of model versions are kept."""
        return self.signing_keys or self.home / "signing"

    @property
    def audit_path(self) -> Path:
        """Where checkpoints and keys of the audit log are kept, outside the database."""
        return self.home / "audit"
