"""The smallest pieces of what is shown in Slack: texts that fit and mention nobody, sections, links, times."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from remediation.values import Incident

LONGEST_SECTION = 2_900
_LONGEST_HEADER = 140
_CUT_ENTITY = re.compile(r"&[a-z]{0,3}$")

Block = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """A message: `text` is read aloud and shown in notifications, `blocks` is what is seen."""

    text: str
    blocks: list[Block] = field(default_factory=list[Block])


def placed(post: Post, environment: str) -> Post:
    """The message with the name of the installation before its first words; as it is where there is none."""
    if not environment:
        return post
    name, blocks = f"[{environment}] ", post.blocks
    if blocks and "text" in blocks[0]:
        first = blocks[0]["text"]
        limit = _LONGEST_HEADER if blocks[0]["type"] == "header" else LONGEST_SECTION
        blocks = [{**blocks[0], "text": {**first, "text": cut(name + first["text"], limit)}}, *blocks[1:]]
    return Post(text=cut(name + post.text), blocks=blocks)


def header(text: str) -> Block:
    """A heading, without markup."""
    return {"type": "header", "text": plain(text, _LONGEST_HEADER)}


def plain(text: str, limit: int) -> Block:
    """A text object without markup."""
    return {"type": "plain_text", "text": short(text, limit), "emoji": False}


def section(text: str) -> Block:
    """A paragraph, with markup."""
    return {"type": "section", "text": {"type": "mrkdwn", "text": cut(text, LONGEST_SECTION)}}


def context(parts: Sequence[str]) -> Block:
    """Small print."""
    return {
        "type": "context",
        "elements": [{"type": "mrkdwn", "text": cut(" · ".join(parts), LONGEST_SECTION)}],
    }


def links(incident: Incident, console_url: str | None) -> list[str]:
    """The incident's page and the audit log, where there is a console."""
    if console_url is None:
        return []
    base = console_url.rstrip("/")
    return [f"<{base}/incidents/{quote(incident.id, safe='')}|Incident>", f"<{base}/audit|Audit log>"]


def mention(person: str) -> str:
    """A user's id is called by Slack; a name is only shown."""
    return f"<@{person}>" if re.fullmatch(r"[UW][A-Z0-9]{2,30}", person) else escaped(person)


def when(time_us: int) -> str:
    """A time that every reader sees in their own zone; elsewhere UTC."""
    utc = datetime.fromtimestamp(time_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"<!date^{time_us // 1_000_000}^{{date_short_pretty}} {{time_secs}}|{utc}>"


def escaped(text: str) -> str:
    """Nothing that comes from outside may mention anybody or link anywhere."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def short(text: str, limit: int) -> str:
    """At most so many characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def cut(text: str, limit: int = LONGEST_SECTION) -> str:
    """The same for text with entities: never in the middle of one."""
    if len(text) <= limit:
        return text
    return _CUT_ENTITY.sub("", text[: limit - 1]) + "…"
