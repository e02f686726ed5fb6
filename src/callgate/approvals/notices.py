"""What reviewers are told of a parked call, over each channel. Pure.

Never an argument: who, which tool, which rule, until when, and a link that needs a login. Signing as in Standard
Webhooks (https://github.com/standard-webhooks/standard-webhooks, "Signature scheme"): HMAC-SHA-256 of
`id.timestamp.body`, base64, as `v1,…`.
"""

import base64
import hmac
import json
from email.message import EmailMessage
from typing import NamedTuple

from callgate.model.approval import Approval


class About(NamedTuple):
    """An approval with names in the place of ids."""

    approval: Approval
    kind: str
    person: str
    tool: str
    link: str

    @property
    def titles(self) -> str:
        return ", ".join(need.title for need in self.approval.terms.needs)

    @property
    def sentence(self) -> str:
        again = " It has waited for long." if self.kind == "escalated" else ""
        return f"{self.person} wants to call {self.tool}, which needs an approval ({self.titles}).{again}"


def webhook(about: About, key: str, notice: str, now: int) -> tuple[dict[str, str], bytes]:
    """Headers and body of a signed webhook. `now` in seconds since 1970."""
    one = about.approval
    body = json.dumps(
        {
            "type": f"approval.{about.kind}",
            "approval": one.id,
            "person": about.person,
            "agent": one.agent,
            "tool": about.tool,
            "rules": [{"id": need.rule, "title": need.title} for need in one.terms.needs],
            "expires": int(one.expires),
            "link": about.link,
        }
    ).encode()
    signed = hmac.digest(key.encode(), f"{notice}.{now}.".encode() + body, "sha256")
    headers = {
        "content-type": "application/json",
        "webhook-id": notice,
        "webhook-timestamp": str(now),
        "webhook-signature": "v1," + base64.b64encode(signed).decode(),
    }
    return headers, body


def slack(about: About) -> bytes:
    """The body for an incoming webhook that takes Slack's form."""
    plain = about.sentence.translate({ord("&"): "&amp;", ord("<"): "&lt;", ord(">"): "&gt;"})
    return json.dumps({"text": f"{plain} <{about.link}|Look at it>"}).encode()


def mail(about: About, sender: str, receivers: tuple[str, ...]) -> EmailMessage:
    """One message to all who may answer; nobody sees the others."""
    message = EmailMessage()
    message["From"] = sender
    message["To"] = sender
    message["Bcc"] = ", ".join(receivers)
    message["Subject"] = f"Approval needed: {about.tool}"
    command = f"callgate approvals show {about.approval.id}"
    message.set_content(f"{about.sentence}\n\n{about.link}\n\nOr at the command line: {command}\n")
    return message
