"""A finding: one thing that the scanner saw in a definition, with the exact place and the reason."""

import msgspec

SEVERITIES = ("info", "low", "medium", "high", "critical")
JUDGE = "judge."  # what the names of the outside judge's findings begin with
_RANK = {name: rank for rank, name in enumerate(SEVERITIES, start=1)}


class Finding(msgspec.Struct, frozen=True, rename={"cls": "class"}):
    """`path` is a JSON Pointer (RFC 6901) to the string; `start` and `end` count its characters (code points) as they
    are after JSON decoding. For the name of a member the pointer ends with that name, and `key` is true.
    """

    rule: str
    version: int
    cls: str  # `instruction_override`, `credential_exfiltration`, …: docs/scanner.md lists them
    severity: str  # one of SEVERITIES
    path: str
    start: int
    end: int
    excerpt: str = ""  # of the original text, neutralised, at most 200 characters
    decoded: str = ""  # what the excerpt says once decoded, neutralised; "" where it says it as it stands
    why: str = ""  # a sentence for the reviewer
    fix: str = ""  # what the server's author or the reviewer can do
    key: bool = False

    @property
    def judged(self) -> bool:
        """Whether the outside judge said it, and no rule."""
        return self.rule.startswith(JUDGE)


def rank(severity: str) -> int:
    """`info` 1 … `critical` 5; 0 for no finding (""). Raises `KeyError` for anything else."""
    return _RANK[severity] if severity else 0


def worst(findings: "tuple[Finding, ...] | list[Finding]") -> str:
    """The highest severity of several findings; "" without any."""
    return max((finding.severity for finding in findings), key=rank, default="")
