"""Sending a report by SMTP. No password stands in any message, log line or `repr` of this module."""

import ssl
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import format_datetime, getaddresses, make_msgid
from pathlib import Path
from typing import Literal
from urllib.parse import SplitResult, unquote, urlsplit

import aiosmtplib
import structlog

from remediation.vocabulary import CAUSES
from reporting import words
from reporting.errors import MailError
from reporting.render import ReportFiles
from reporting.values import ReportData

Security = Literal["none", "starttls", "tls"]

_SCHEMES: dict[str, tuple[Security, int]] = {
    "smtp": ("none", 25),
    "smtp+starttls": ("starttls", 587),
    "smtps": ("tls", 465),
}
_HOW = "smtp://host:25, smtp+starttls://user:password@host:587 or smtps://user:password@host:465"
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpServer:
    """Where mail is given in. `security`: STARTTLS is demanded, never only tried; certificates are checked."""

    host: str
    port: int
    security: Security = "none"
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    @property
    def address(self) -> str:
        """host:port, for messages."""
        return f"{self.host}:{self.port}"


def parse_smtp_url(url: str) -> SmtpServer:
    """Read `smtp://`, `smtp+starttls://` or `smtps://`, with `user:password@` percent-encoded where needed.

    Raises `MailError` that names the part and never repeats the URL.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise MailError(f"HOMEOSTAT_SMTP_URL cannot be read; it should look like {_HOW}.") from error
    if parts.scheme not in _SCHEMES:
        # Of a URL without a scheme the part before the colon may be a user's name or even a secret.
        raise MailError(f"HOMEOSTAT_SMTP_URL has an unknown scheme; it should look like {_HOW}.")
    if not parts.hostname:
        raise MailError(f"HOMEOSTAT_SMTP_URL names no host; it should look like {_HOW}.")
    security, usual_port = _SCHEMES[parts.scheme]
    user, password = _login(parts)
    return SmtpServer(
        host=parts.hostname, port=port or usual_port, security=security, user=user, password=password
    )


def _login(parts: SplitResult) -> tuple[str | None, str | None]:
    if (parts.username is None) != (parts.password is None):
        raise MailError(
            "HOMEOSTAT_SMTP_URL has a user without a password, or a password without a user: give both."
        )
    if parts.username is None or parts.password is None:
        return None, None
    return unquote(parts.username), unquote(parts.password)


def compose(data: ReportData, files: ReportFiles, *, sender: str, to: str) -> EmailMessage:
    """The mail: the verdict as plain text, the PDF (or the HTML) attached. `to`: addresses with commas between.

    Raises `MailError` for an address that is none.
    """
    message = EmailMessage()
    sender_name = f"Homeostat {data.environment}".strip()
    message["Subject"] = f"[{sender_name}] {words.LIGHTS[data.light][1]}: {_short(data.verdict)}"
    for header, setting, value in (("From", "HOMEOSTAT_MAIL_FROM", sender), ("To", "HOMEOSTAT_MAIL_TO", to)):
        addresses = [address for _, address in getaddresses([value]) if address]
        if (
            not addresses
            or any("@" not in address for address in addresses)
            or "\n" in value
            or "\r" in value
        ):
            raise MailError(f"{setting} is {value!r}: give mail addresses, such as models@example.org.")
        message[header] = value
    message["Date"] = format_datetime(words.at(data.generated_us))
    message["Message-ID"] = make_msgid(idstring=data.id, domain="homeostat.invalid")
    message.set_content(_text(data, files))
    path = files.pdf or files.html
    kind = ("application", "pdf") if files.pdf else ("text", "html")
    message.add_attachment(path.read_bytes(), maintype=kind[0], subtype=kind[1], filename=path.name)
    return message


async def send_report(
    data: ReportData,
    files: ReportFiles,
    url: str,
    *,
    sender: str,
    to: str,
    timeout_s: float = 30.0,
    tls_context: ssl.SSLContext | None = None,
) -> None:
    """Send the report by the server of `url`; returns when the server has taken it.

    `tls_context`: for servers whose certificate the system does not know. Raises `MailError`.
    """
    message = compose(data, files, sender=sender, to=to)
    await deliver(message, url, timeout_s=timeout_s, tls_context=tls_context)
    _log.info("The report was sent.", to=to, report=data.id)


async def deliver(
    message: EmailMessage, url: str, *, timeout_s: float = 30.0, tls_context: ssl.SSLContext | None = None
) -> None:
    """Send a mail by the server of `url`; returns when the server has taken it for everybody. Raises `MailError`."""
    server = parse_smtp_url(url)
    if server.security == "none" and server.password is not None:
        _log.warning(
            "The mail password travels unencrypted: use smtp+starttls:// or smtps://.", server=server.address
        )
    try:
        refused, _ = await aiosmtplib.send(
            message,
            hostname=server.host,
            port=server.port,
            username=server.user,
            password=server.password,
            use_tls=server.security == "tls",
            start_tls=server.security == "starttls",
            timeout=timeout_s,
            tls_context=tls_context,
        )
    except (aiosmtplib.SMTPException, OSError, ValueError) as error:
        raise _explained(server, error) from error
    if refused:
        raise MailError(
            f"The mail server {server.address} refused {', '.join(sorted(refused))}; others have it."
        )


def _explained(server: SmtpServer, error: Exception) -> MailError:
    where = f"The mail server {server.address}"
    if isinstance(error, aiosmtplib.SMTPAuthenticationError):
        return MailError(
            f"{where} refused the login of {server.user!r} ({error.code}): check HOMEOSTAT_SMTP_URL."
        )
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        told = ", ".join(one.recipient for one in error.recipients)
        return MailError(f"{where} takes no mail for {told}: check HOMEOSTAT_MAIL_TO.")
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return MailError(f"{where} said {error.code} {error.message}.", retriable=400 <= error.code < 500)
    if isinstance(error, aiosmtplib.SMTPTimeoutError | TimeoutError):
        return MailError(f"{where} did not answer in time.", retriable=True)
    if isinstance(error, aiosmtplib.SMTPConnectError | aiosmtplib.SMTPServerDisconnected | OSError):
        return MailError(f"{where} cannot be reached: {_reason(error)}.", retriable=True)
    return MailError(f"{where} could not be used: {_reason(error)}.")


def _reason(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def _short(text: str) -> str:
    first = text.split(". ")[0].rstrip(".")
    return first if len(first) <= 120 else first[:119] + "…"


def _text(data: ReportData, files: ReportFiles) -> str:
    lines = [data.verdict, "", "What is asked of you:", *(f"- {ask}" for ask in data.asks), ""]
    lines += [f"Period: {words.moment(data.since_us)} to {words.moment(data.until_us)} UTC", ""]
    for model in data.models:
        lines.append(f"{model.model}: {words.LIGHTS[model.light][1]}")
        lines += [f"  {check.area}: {words.LIGHTS[check.light][1]}. {check.told}" for check in model.checks]
    for story in data.incidents:
        one = story.incident
        lines += [
            "",
            f"Incident {one.id} of {one.model}: {CAUSES[one.cause]}, {words.state(one.state).lower()}.",
        ]
        lines += [f"  {one.outcome}"] if one.outcome else []
    lines += ["", f"Report {data.id}, also on disk: {_folder(files.html)}"]
    lines += [f"Console: {data.console_url}/"] if data.console_url else []
    return "\n".join(lines) + "\n"


def _folder(path: Path) -> str:
    return str(path.parent)
