"""What applying a governance document did, and what it could not do yet."""

from dataclasses import dataclass, field

import msgspec

from callgate.model.upstream import Upstream


class Changed(msgspec.Struct, frozen=True):
    """One change. `action`: add, change, remove, trust, block."""

    action: str
    kind: str
    name: str
    detail: str = ""


class Missing(msgspec.Struct, frozen=True):
    """What the document asks for and can not be done yet. `final` when waiting does not help."""

    kind: str
    name: str
    reason: str
    final: bool = False


@dataclass(slots=True)
class Outcome:
    """What a run did. `touched` are upstreams whose conversations must end."""

    changes: list[Changed] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)
    touched: list[Upstream] = field(default_factory=list)

    def add(self, action: str, kind: str, name: str, detail: str = "") -> None:
        self.changes.append(Changed(action, kind, name, detail))

    def lacks(self, kind: str, name: str, reason: str, *, final: bool = False) -> None:
        self.missing.append(Missing(kind, name, reason, final))
