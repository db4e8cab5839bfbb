"""Mail: the same in text and HTML, with the chart. Its links lead to pages; none of them decides anything, for whoever
has a mail need not be who may decide."""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from serving.channels.bulletin import Bulletin
from serving.picture import Drawn

_DOMAIN = "homeostat.invalid"
_CHART = f"chart@{_DOMAIN}"
_LONGEST_SUBJECT = 200
_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=select_autoescape(["html"]),
    undefined=StrictUndefined,
)


class Email:
    """A `Transport` to some addresses. `address` finds that of a person whom a reminder names, by the policy; `deliver`
    hands a mail to the server, and raises `NotDelivered`."""

    shows_pictures = True

    def __init__(
        self,
        name: str,
        to: Sequence[str],
        *,
        sender: str,
        deliver: Callable[[EmailMessage], Awaitable[None]],
        address: Callable[[str], str | None] = lambda _: None,
    ) -> None:
        self.name = name
        self._to = to
        self._sender = sender
        self._deliver = deliver
        self._address = address

    async def send(self, bulletin: Bulletin, picture: Drawn | None) -> None:
        """One mail. A second attempt has the same Message-ID, by which mail programs show it once."""
        called = [found for each in bulletin.people if (found := self._address(each)) is not None]
        to = list(dict.fromkeys((*self._to, *called)))
        await self._deliver(compose(bulletin, picture, channel=self.name, sender=self._sender, to=to))


def compose(
    bulletin: Bulletin, picture: Drawn | None, *, channel: str, sender: str, to: Sequence[str]
) -> EmailMessage:
    """The mail. All mails about one incident are one conversation."""
    mail = EmailMessage()
    subject = f"[{' '.join(('Homeostat', bulletin.environment)).strip()}] {' '.join(bulletin.title.split())}"
    mail["Subject"] = subject[:_LONGEST_SUBJECT]
    mail["From"] = sender
    mail["To"] = ", ".join(to)
    mail["Date"] = format_datetime(datetime.fromisoformat(bulletin.at))
    mail["Message-ID"] = _id(f"{channel}:{bulletin.unique(bulletin.id)}")
    mail["In-Reply-To"] = mail["References"] = _id(f"{channel}:{bulletin.unique(bulletin.thread)}")
    mail["Auto-Submitted"] = "auto-generated"
    if bulletin.severity == "critical" and bulletin.event != "incident_resolved":
        mail["Importance"] = "high"
    mail.set_content(_templates.get_template("mail.txt").render(bulletin=bulletin, picture=picture))
    page = _templates.get_template("mail.html").render(bulletin=bulletin, picture=picture, chart=_CHART)
    mail.add_alternative(page, subtype="html")
    if picture is not None:
        shown = mail.get_payload(1)
        assert isinstance(shown, EmailMessage)
        shown.add_related(
            picture.png, "image", "png", cid=f"<{_CHART}>", filename="chart.png", disposition="inline"
        )
    return mail


def _id(text: str) -> str:
    return f"<{hashlib.sha256(text.encode()).hexdigest()[:32]}@{_DOMAIN}>"
