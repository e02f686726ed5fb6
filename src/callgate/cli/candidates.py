"""What an entry of a client's configuration becomes: an upstream that can be registered, or a reason why not.

Every value of an environment and every header is taken for a secret: it travels to the gateway in the fields that are
sealed, and is never printed. Fail closed: an entry with anything that cannot be kept exactly is skipped and named.
"""

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field

from callgate.cli.configs import Entry, Skipped, Unresolved, expand

_HTTP_TYPES = {"http", "streamable-http", "streamablehttp", "streamable_http"}
_KNOWN_TYPES = _HTTP_TYPES | {"sse", "stdio"}
# Arguments and URLs are shown to reviewers, so a secret may not travel in them.
_SECRET_NAME = re.compile(r"(?i)(?:api[-_]?key|access[-_]?key|token|secret|passw|credential|authorization)")
_SECRET_VALUE = re.compile(
    r"(?i)bearer\s+\S|://[^/@\s]*:[^/@\s]+@|\b(?:sk|pk|rk)[-_][a-z0-9_-]{12}|\bgh[pousr]_\w{12}|"
    r"\bglpat-\w{12}|\bxox[abpr]-\w|\bAKIA[0-9A-Z]{12}|\beyJ[\w-]{10,}\.[\w-]{10,}\."
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One upstream to be. `entries` are all the places that hold this very server."""

    slug: str
    kind: str
    url: str | None
    command: str | None
    args: tuple[str, ...]
    cwd: str | None
    env: tuple[tuple[str, str], ...] = field(repr=False)
    header: str | None = None
    scheme: str = ""
    secret: str | None = field(default=None, repr=False)
    entries: tuple[Entry, ...] = ()

    @property
    def same_as(self) -> tuple[object, ...]:
        """Two candidates with the same of this are one upstream."""
        return (self.kind, self.url, self.command, self.args, self.cwd, self.env, self.header, self.secret)

    @property
    def target(self) -> str:
        """What a person recognises it by: the URL or the program, never its secrets."""
        return self.url or self.command or ""


class _Skip(Exception):
    """`args[0]` is the reason."""


def candidates(
    found: list[Entry], environment: Mapping[str, str], own_url: str
) -> tuple[list[Candidate], list[Skipped]]:
    """All upstreams to be, equal ones merged, names made unique; and what is skipped."""
    merged: dict[tuple[object, ...], Candidate] = {}
    skipped: list[Skipped] = []
    for entry in found:
        try:
            one = _candidate(entry, environment, own_url)
        except (_Skip, Unresolved) as reason:
            skipped.append(Skipped(entry.place.client, entry.place.path, entry.name, str(reason.args[0])))
            continue
        before = merged.get(one.same_as)
        merged[one.same_as] = one if before is None else _with(before, before.slug, (*before.entries, entry))
    return _unique(list(merged.values())), skipped


def _with(one: Candidate, slug: str, places: tuple[Entry, ...]) -> Candidate:
    return Candidate(
        slug,
        one.kind,
        one.url,
        one.command,
        one.args,
        one.cwd,
        one.env,
        one.header,
        one.scheme,
        one.secret,
        places,
    )


def _unique(found: list[Candidate]) -> list[Candidate]:
    taken: set[str] = set()
    result = []
    for one in found:
        slug, count = one.slug, 1
        while slug in taken:
            count += 1
            slug = f"{one.slug[:28]}-{count}"
        taken.add(slug)
        result.append(_with(one, slug, one.entries))
    return result


def slug_of(name: str) -> str:
    """A client's name for a server as an upstream name."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:32].strip("-")
    return slug or "server"


def _candidate(entry: Entry, environment: Mapping[str, str], own_url: str) -> Candidate:
    values = entry.values
    kind = _kind(entry)
    if values.get("disabled") is True or values.get("enabled") is False:
        raise _Skip("it is switched off there")
    if kind == "stdio":
        return _stdio(entry, environment)
    url = expand(_url(values), entry.place, environment)
    if url.startswith(own_url):
        raise _Skip("it is this gateway already")
    if _SECRET_VALUE.search(url) or _SECRET_NAME.search(url.partition("?")[2]):
        raise _Skip("its URL seems to hold a secret; send it in a header")
    if "headersHelper" in values:
        raise _Skip("its headers come from a program (headersHelper)")
    header, scheme, secret = _header(entry, environment)
    slug = slug_of(entry.name)
    return Candidate(slug, kind, url, None, (), None, (), header, scheme, secret, (entry,))


def _kind(entry: Entry) -> str:
    values = entry.values
    declared = str(values.get("type") or values.get("transport") or "").lower()
    if declared and declared not in _KNOWN_TYPES:
        raise _Skip(f"the transport {declared[:40]!r} is not served")
    if "command" in values:
        return "stdio"
    if declared == "sse" or (entry.place.client == "gemini" and "url" in values and "httpUrl" not in values):
        return "sse"
    return "http"


def _url(values: Mapping[str, object]) -> str:
    url = values.get("httpUrl") or values.get("url") or values.get("serverUrl")
    if not isinstance(url, str) or not url.startswith(("http://", "https://", "${", "$")):
        raise _Skip("it has neither a command nor an http(s) URL")
    return url


def _header(entry: Entry, environment: Mapping[str, str]) -> tuple[str | None, str, str | None]:
    """The one credential header: name, scheme, secret."""
    headers = dict(_strings(entry.values, "headers") or _strings(entry.values, "http_headers"))
    variable = entry.values.get("bearer_token_env_var")
    if isinstance(variable, str):
        headers["Authorization"] = f"Bearer ${{{variable}}}"
    for name, source in _strings(entry.values, "env_http_headers").items():
        headers[name] = f"${{{source}}}"
    if len(headers) > 1:
        raise _Skip(f"it sends {len(headers)} headers, and an upstream here has one credential header")
    for name, value in headers.items():
        secret = expand(value, entry.place, environment)
        scheme, _, rest = secret.partition(" ")
        return (name, scheme, rest) if rest and name.lower() == "authorization" else (name, "", secret)
    return None, "", None


def _stdio(entry: Entry, environment: Mapping[str, str]) -> Candidate:
    values = entry.values
    if "envFile" in values:
        raise _Skip("its environment comes from a file (envFile)")
    command = values.get("command")
    args = values.get("args") or []
    if not isinstance(command, str) or not isinstance(args, list) or not all(isinstance(one, str) for one in args):
        raise _Skip("its command is not text with a list of arguments")
    command = expand(command, entry.place, environment)
    args = tuple(expand(one, entry.place, environment) for one in args)
    if "callgate" in command and args[:1] == ("connect",):
        raise _Skip("it is this gateway already")
    cwd = values.get("cwd")
    cwd = expand(cwd, entry.place, environment) if isinstance(cwd, str) else None
    if shutil.which(command, path=environment.get("PATH")) is None:
        raise _Skip(f"the program {command} is not on this machine")
    if _holds_secret(args):
        raise _Skip("one of its arguments seems to be a secret; pass it in the environment")
    pairs = {name: expand(value, entry.place, environment) for name, value in _strings(values, "env").items()}
    for name in values.get("env_vars") or []:  # type: ignore[attr-defined]
        pairs[str(name)] = expand(f"${{{name}}}", entry.place, environment)
    slug = slug_of(entry.name)
    return Candidate(slug, "stdio", None, command, args, cwd, tuple(sorted(pairs.items())), entries=(entry,))


def _holds_secret(args: tuple[str, ...]) -> bool:
    for number, one in enumerate(args):
        flag, sign, value = one.partition("=")
        named = flag.startswith("-") and _SECRET_NAME.search(flag) is not None
        has_value = bool(sign and value) or (not sign and args[number + 1 : number + 2] not in ((), ("",)))
        if (named and has_value) or _SECRET_VALUE.search(one):
            return True
    return False


def _strings(values: Mapping[str, object], key: str) -> dict[str, str]:
    found = values.get(key)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise _Skip(f"its {key} is no map of texts")
    return {str(name): value if isinstance(value, str) else str(value) for name, value in found.items()}
