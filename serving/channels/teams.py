"""Microsoft Teams: an Adaptive Card to a workflow ("When a Teams webhook request is received").

Texts are runs of a rich text block, which Teams shows as they are; in a text block it would take them for Markdown,
with links. A request may have 28 KB.
"""

from typing import Any

import msgspec

from serving.channels.bulletin import Bulletin, Fact
from serving.channels.posting import pause_s, post
from serving.channels.teller import NotDelivered
from serving.picture import Drawn

_LONGEST = 26_000
_LONGEST_LINE = 1_000
_ADVICE = (
    "Look at the address of the workflow that `url_env` names; a workflow ends with its owner's account."
)
_MARKS = {"critical": ("■ Critical", "attention"), "warning": ("◆ Warning", "warning")}
_GOOD = ("● Resolved", "good")

Element = dict[str, Any]


class Teams:
    """A `Transport` to one workflow."""

    shows_pictures = False

    def __init__(self, name: str, url: str) -> None:
        self.name = name
        self._url = url

    async def send(self, bulletin: Bulletin, picture: Drawn | None) -> None:
        """POST the card; the workflow answers 202."""
        del picture
        told = await post(self._url, message(bulletin), {}, advice=_ADVICE)
        if "HTTP error 429" in told:
            # The older connectors answer 200 and say in words that Teams did not take it.
            raise NotDelivered("Teams wants fewer messages", retry_after_s=pause_s(None))


def message(bulletin: Bulletin) -> bytes:
    """The card as JSON; facts are left out from the end until it fits."""
    facts = list(bulletin.facts)
    while True:
        card = msgspec.json.encode(_message(bulletin, facts, len(facts) < len(bulletin.facts)))
        if len(card) <= _LONGEST or not facts:
            return card
        facts.pop()


def _message(bulletin: Bulletin, facts: list[Fact], shortened: bool) -> Element:
    mark, colour = _GOOD if bulletin.event == "incident_resolved" else _MARKS[bulletin.severity]
    body = [
        _text(mark, weight="Bolder", color=colour),
        _text(bulletin.headline, weight="Bolder", size="Large"),
    ]
    body.append(_text(bulletin.text))
    for fact in facts:
        body += [_text(fact.title, weight="Bolder"), *(_text(f"• {line}") for line in fact.lines)]
    body += [_text("More is in the console.")] if shortened else []
    body += [_text(bulletin.asks)] if bulletin.asks else []
    card: Element = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "fallbackText": _line(f"{bulletin.headline}. {bulletin.text}"),
        "body": body,
        "actions": [
            {"type": "Action.OpenUrl", "title": each.title, "url": each.url} for each in bulletin.links
        ],
    }
    attachment = {
        "contentType": "application/vnd.microsoft.card.adaptive",
        "contentUrl": None,
        "content": card,
    }
    return {"type": "message", "attachments": [attachment]}


def _text(text: str, **style: str) -> Element:
    return {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": _line(text), **style}]}


def _line(text: str) -> str:
    return text if len(text) <= _LONGEST_LINE else text[: _LONGEST_LINE - 1] + "…"
