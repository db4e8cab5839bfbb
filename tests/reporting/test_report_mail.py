"""Sending, to a real SMTP server on this machine."""

import asyncio
import email
import email.policy
import ipaddress
import logging
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import structlog
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from msgspec.structs import replace

from reporting.errors import MailError
from reporting.mail import SmtpServer, compose, parse_smtp_url, send_report
from reporting.render import ReportFiles, render_html
from reporting.values import ReportData

SENDER, TO = "homeostat@example.org", "Mira <mira@example.org>, ops@example.org"
PASSWORD = "s3cret/p@ss word"
ENCODED = "s3cret%2Fp%40ss%20word"


@dataclass
class Inbox:
    """What the server took."""

    port: int = 0
    envelopes: list[Envelope] = field(default_factory=list[Envelope])
    logins: list[str] = field(default_factory=list[str])
    refuse: str | None = None

    async def handle_RCPT(
        self, server: Any, session: Any, envelope: Envelope, address: str, options: Any
    ) -> str:
        if self.refuse is not None and address.startswith("ops"):
            return self.refuse
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Envelope) -> str:
        self.envelopes.append(envelope)
        return "250 taken"

    def mail(self) -> EmailMessage:
        (envelope,) = self.envelopes
        assert isinstance(envelope.content, bytes)
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        return message


@dataclass(frozen=True)
class Certificate:
    """A self-signed one for 127.0.0.1."""

    server: ssl.SSLContext
    client: ssl.SSLContext


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    pem = folder / "server.pem"
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(pem)
    authority = folder / "ca.pem"
    authority.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return Certificate(server, ssl.create_default_context(cafile=authority))


@asynccontextmanager
async def smtp_server(
    *, tls: ssl.SSLContext | None = None, starttls: bool = False, **options: Any
) -> AsyncGenerator[Inbox]:
    """A real server on a free port of the loopback."""
    inbox = Inbox()

    def authenticate(server: Any, session: Any, envelope: Any, mechanism: str, login: Any) -> AuthResult:
        assert isinstance(login, LoginPassword)
        inbox.logins.append(login.login.decode())
        right = login.password == PASSWORD.encode()
        return AuthResult(success=right, handled=right)

    make = partial(
        SMTP,
        inbox,
        hostname="mail.test",
        loop=asyncio.get_running_loop(),
        authenticator=authenticate,
        tls_context=tls if starttls else None,
        require_starttls=starttls,
        **options,
    )
    listening = await asyncio.get_running_loop().create_server(
        make, "127.0.0.1", 0, ssl=None if starttls else tls
    )
    inbox.port = listening.sockets[0].getsockname()[1]
    try:
        yield inbox
    finally:
        listening.close()
        await listening.wait_closed()


@pytest.fixture
def files(report: ReportData, tmp_path: Path) -> ReportFiles:
    html = tmp_path / "report.html"
    html.write_text(render_html(report))
    pdf = tmp_path / "report.pdf"
    pdf.write_bytes(b"%PDF-1.7 a report")
    return ReportFiles(html=html, pdf=pdf, csvs=())


async def test_the_pdf_arrives_with_a_summary(report: ReportData, files: ReportFiles) -> None:
    async with smtp_server() as inbox:
        await send_report(report, files, f"smtp://127.0.0.1:{inbox.port}", sender=SENDER, to=TO)
    assert inbox.envelopes[0].rcpt_tos == ["mira@example.org", "ops@example.org"]
    mail = inbox.mail()
    assert mail["Subject"] == "[Homeostat] Healthy: breast-cancer is healthy"
    assert (mail["From"], mail["To"]) == (SENDER, TO)
    body = mail.get_body(("plain",))
    assert body is not None
    text = body.get_content()
    assert "What is asked of you:" in text
    assert "Performance: Healthy." in text
    assert "Incident inc-0002 of breast-cancer: Population shift, resolved." in text
    (attached,) = mail.iter_attachments()
    assert (attached.get_content_type(), attached.get_filename()) == ("application/pdf", "report.pdf")
    assert attached.get_content() == b"%PDF-1.7 a report"


def test_the_name_of_the_installation_is_in_the_subject(report: ReportData, files: ReportFiles) -> None:
    named = compose(replace(report, environment="production"), files, sender=SENDER, to=TO)
    assert named["Subject"] == "[Homeostat production] Healthy: breast-cancer is healthy"


async def test_without_a_pdf_the_html_is_sent(report: ReportData, files: ReportFiles) -> None:
    html_only = ReportFiles(html=files.html, pdf=None, csvs=())
    async with smtp_server() as inbox:
        await send_report(report, html_only, f"smtp://127.0.0.1:{inbox.port}", sender=SENDER, to=TO)
    (attached,) = inbox.mail().iter_attachments()
    assert attached.get_content_type() == "text/html"


async def test_starttls_with_a_login(
    report: ReportData, files: ReportFiles, certificate: Certificate
) -> None:
    async with smtp_server(tls=certificate.server, starttls=True, auth_required=True) as inbox:
        url = f"smtp+starttls://mira%40example.org:{ENCODED}@127.0.0.1:{inbox.port}"
        await send_report(report, files, url, sender=SENDER, to=TO, tls_context=certificate.client)
    assert inbox.logins == ["mira@example.org"]
    assert len(inbox.envelopes) == 1


async def test_tls_from_the_first_byte(
    report: ReportData, files: ReportFiles, certificate: Certificate
) -> None:
    async with smtp_server(tls=certificate.server, auth_require_tls=False) as inbox:
        url = f"smtps://mira:{ENCODED}@127.0.0.1:{inbox.port}"
        await send_report(report, files, url, sender=SENDER, to=TO, tls_context=certificate.client)
    assert inbox.logins == ["mira"]


async def test_an_unknown_certificate_is_refused(
    report: ReportData, files: ReportFiles, certificate: Certificate
) -> None:
    async with smtp_server(tls=certificate.server, starttls=True) as inbox:
        url = f"smtp+starttls://127.0.0.1:{inbox.port}"
        with pytest.raises(MailError, match=r"(?i)certificate"):
            await send_report(report, files, url, sender=SENDER, to=TO)
    assert inbox.envelopes == []


async def test_a_server_without_starttls_gets_neither_password_nor_mail(
    report: ReportData, files: ReportFiles
) -> None:
    async with smtp_server() as inbox:
        url = f"smtp+starttls://mira:{ENCODED}@127.0.0.1:{inbox.port}"
        with pytest.raises(MailError, match="STARTTLS"):
            await send_report(report, files, url, sender=SENDER, to=TO)
    assert (inbox.logins, inbox.envelopes) == ([], [])


async def test_a_wrong_password_is_told_without_it(
    report: ReportData, files: ReportFiles, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with smtp_server(auth_require_tls=False) as inbox:
        url = f"smtp://mira:wr0ng-secret@127.0.0.1:{inbox.port}"
        with structlog.testing.capture_logs() as logs, pytest.raises(MailError) as caught:
            await send_report(report, files, url, sender=SENDER, to=TO)
    assert f"127.0.0.1:{inbox.port} refused the login of 'mira' (535)" in str(caught.value)
    assert not caught.value.retriable
    assert "wr0ng-secret" not in f"{caught.value}{logs}{caplog.text}"
    assert "unencrypted" in logs[0]["event"]


async def test_refused_recipients_are_named(report: ReportData, files: ReportFiles) -> None:
    async with smtp_server() as inbox:
        inbox.refuse = "550 no such box"
        url = f"smtp://127.0.0.1:{inbox.port}"
        with pytest.raises(MailError, match=r"ops@example\.org"):
            await send_report(report, files, url, sender=SENDER, to="ops@example.org")
        with pytest.raises(MailError, match=r"refused ops@example\.org; others have it"):
            await send_report(report, files, url, sender=SENDER, to=TO)
    assert inbox.envelopes[0].rcpt_tos == ["mira@example.org"]


async def test_an_absent_server_is_worth_another_try(
    report: ReportData, files: ReportFiles, unused_tcp_port: int
) -> None:
    with pytest.raises(MailError, match=f"127.0.0.1:{unused_tcp_port} cannot be reached") as caught:
        await send_report(report, files, f"smtp://127.0.0.1:{unused_tcp_port}", sender=SENDER, to=TO)
    assert caught.value.retriable


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtp://mail", SmtpServer(host="mail", port=25)),
        ("smtps://mail", SmtpServer(host="mail", port=465, security="tls")),
        (
            f"smtp+starttls://a%40b:{ENCODED}@mail:2525",
            SmtpServer(host="mail", port=2525, security="starttls", user="a@b", password=PASSWORD),
        ),
        ("smtp://[::1]:2525", SmtpServer(host="::1", port=2525)),
    ],
)
def test_urls(url: str, server: SmtpServer) -> None:
    assert parse_smtp_url(url) == server
    assert PASSWORD not in repr(parse_smtp_url(url))


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("hunter2", "unknown scheme"),
        ("http://u:hunter2@mail", "unknown scheme"),
        ("smtp://", "names no host"),
        ("smtp://u:hunter2@mail:http", "cannot be read"),
        ("smtp://hunter2@mail", "user without a password"),
    ],
)
def test_wrong_urls_are_told_without_their_secrets(url: str, told: str) -> None:
    with pytest.raises(MailError, match=told) as caught:
        parse_smtp_url(url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("to", ["", "mira", "mira@example.org\nBcc: all@example.org"])
def test_wrong_addresses_are_told(report: ReportData, files: ReportFiles, to: str) -> None:
    with pytest.raises(MailError, match="HOMEOSTAT_MAIL_TO"):
        compose(report, files, sender=SENDER, to=to)
