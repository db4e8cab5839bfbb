"""Every setting of the system, read from the environment (`HOMEOSTAT_...`) or given by the command line."""

from pathlib import Path

from platformdirs import user_cache_path, user_data_path
from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Where the parts are and how they behave. A part whose address is not set is embedded by `homeostat up`."""

    model_config = SettingsConfigDict(env_prefix="HOMEOSTAT_", extra="ignore")

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
    archive: Path | None = None
    """Folder of the Parquet archive (default: `archive` in the home)."""
    api_port: int | None = Field(default=None, ge=1, le=65_535)
    serving_port: int | None = Field(default=None, ge=1, le=65_535)
    api_url: str | None = None
    """Where the commands find the REST API (default: the local stack's)."""
    api_token: SecretStr | None = None
    """When set, every change over REST needs `Authorization: Bearer ...`."""
    partitions: int = Field(default=4, ge=1, le=1_000)
    checkpoint_interval_s: float = Field(default=0.5, gt=0, le=60)
    approval_ttl_s: float = Field(default=3_600, gt=0)
    slack_token: SecretStr | None = None
    slack_signing_secret: SecretStr | None = None
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
    def archive_path(self) -> Path:
        """The archive's folder."""
        return self.archive or self.home / "archive"

    @property
    def reports_path(self) -> Path:
        """Where reports are written."""
        return self.home / "reports"

    @property
    def database(self) -> str:
        """The database's URL: the configured one, or SQLite in the home."""
        return self.database_url or f"sqlite:///{self.home / 'homeostat.db'}"

    @property
    def audit_path(self) -> Path:
        """Where checkpoints and keys of the audit log are kept, outside the database."""
        return self.home / "audit"
