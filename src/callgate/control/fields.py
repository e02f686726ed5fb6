"""Field types of bodies, queries and paths, with the limits that the OpenAPI document states as well.

Control characters are kept out of everything that is stored: they could forge lines in a terminal or break a store.
"""

from typing import Annotated, Literal

import msgspec

from callgate.model.person import ADDRESS

# Python's `$` also matches before a last line feed, ECMA's (JSON Schema) does not; with this both mean the same.
_END = r"$(?!\n)"
NO_CONTROLS = r"^[^\x00-\x1f\x7f-\x9f]*" + _END
SLUG_PATTERN = r"^[a-z0-9](?:(?:[a-z0-9-]|_(?!_)){0,30}[a-z0-9])?" + _END
EMAIL_PATTERN = "^" + ADDRESS + _END
ID_PATTERN = r"^[a-z]{3}_[0-9a-z]{26}" + _END
HASH_PATTERN = r"^[0-9a-f]{64}" + _END
VARIABLE_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]{0,127}" + _END
HEADER_PATTERN = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}" + _END
RISK_ID_PATTERN = r"^def_[0-9a-z]{26}\.[0-9a-f]{32}" + _END
PUBLIC_NAME_PATTERN = r"^[A-Za-z0-9_-]{1,64}" + _END
RULE_ID_PATTERN = r"^[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?" + _END
TITLE_PATTERN = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*" + _END
DURATION_PATTERN = r"^[1-9][0-9]{0,5}[smhdw]" + _END
CURSOR_PATTERN = r"^[0-9]{1,17}\.[a-z]{3}_[0-9a-z]{26}" + _END
TIME_PATTERN = (
    r"^(?:[1-9][0-9]{0,5}[smhdw]|[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"(?:T[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?Z?)?)" + _END
)
NUMBER_PATTERN = r"^[0-9]{1,15}" + _END
TIME_OF_DAY_PATTERN = r"^(?:(?:[01][0-9]|2[0-3]):[0-5][0-9]|24:00)" + _END
URL_PATTERN = r"^https?://[^\x00-\x20\x7f-\x9f]+" + _END
REDIRECT_PATTERN = (
    r"^(?:https://|http://(?:127\.0\.0\.1|localhost|\[::1\])[:/]|[a-z][a-z0-9+-]*(?:\.[a-z0-9+-]+)+:)"
    r"[\x21-\x7e]+" + _END
)
HEADER_VALUE_PATTERN = r"^[\x20-\x7e]*" + _END
SECRET_PATTERN = r"^[\x20-\x7e\n\r]*" + _END  # a key in PEM has lines
SCOPE_PATTERN = r"^[\x21\x23-\x5b\x5d-\x7e]+" + _END  # RFC 6749, section 3.3
ARGUMENT_PATTERN = r"^[^\x00]*" + _END

Text = Annotated[str, msgspec.Meta(pattern=NO_CONTROLS, max_length=500)]
Title = Annotated[str, msgspec.Meta(pattern=TITLE_PATTERN, max_length=200)]
Owner = Annotated[str, msgspec.Meta(pattern=NO_CONTROLS, max_length=200)]
Expression = Annotated[str, msgspec.Meta(max_length=4000)]
LongText = Annotated[str, msgspec.Meta(pattern=NO_CONTROLS, max_length=4000)]
Glob = Annotated[str, msgspec.Meta(pattern=NO_CONTROLS, min_length=1, max_length=256)]
Globs = Annotated[tuple[Glob, ...], msgspec.Meta(max_length=1000)]
Slug = Annotated[str, msgspec.Meta(pattern=SLUG_PATTERN, description="1 to 32 of a-z, 0-9, _ and -, without __")]
Labels = Annotated[tuple[Slug, ...], msgspec.Meta(max_length=50)]
Email = Annotated[str, msgspec.Meta(pattern=EMAIL_PATTERN, max_length=254)]
CallId = Annotated[str, msgspec.Meta(pattern=ID_PATTERN, description="id of a call, cal_ and 26 characters")]
RowId = Annotated[str, msgspec.Meta(pattern=ID_PATTERN)]
FullHash = Annotated[str, msgspec.Meta(pattern=HASH_PATTERN, description="64 hex digits of the `full` fingerprint")]
Url = Annotated[str, msgspec.Meta(pattern=URL_PATTERN, max_length=2000)]
RedirectUri = Annotated[str, msgspec.Meta(pattern=REDIRECT_PATTERN, max_length=2000)]
Variable = Annotated[str, msgspec.Meta(pattern=VARIABLE_PATTERN)]
Argument = Annotated[str, msgspec.Meta(pattern=ARGUMENT_PATTERN, max_length=8000)]
HeaderName = Annotated[str, msgspec.Meta(pattern=HEADER_PATTERN)]
HeaderValue = Annotated[str, msgspec.Meta(pattern=HEADER_VALUE_PATTERN, max_length=8000)]
RuleId = Annotated[str, msgspec.Meta(pattern=RULE_ID_PATTERN)]
Duration = Annotated[str, msgspec.Meta(pattern=DURATION_PATTERN, description="such as 12h, 30d or 8w")]
PublicName = Annotated[str, msgspec.Meta(pattern=PUBLIC_NAME_PATTERN)]
Limit = Annotated[int, msgspec.Meta(ge=1, le=500)]
After = Annotated[str, msgspec.Meta(pattern=NO_CONTROLS, max_length=500)]
AuthMode = Literal["none", "shared", "own_token", "on_behalf_of"]
OwnMode = Literal["own_token", "on_behalf_of"]
SecretKind = Literal["secret", "basic", "client_credentials", "private_key_jwt", "token_exchange", "id_jag"]
Secret = Annotated[str, msgspec.Meta(pattern=SECRET_PATTERN, max_length=16_000)]
Scope = Annotated[str, msgspec.Meta(pattern=SCOPE_PATTERN, max_length=256)]
ReviewMode = Literal["review", "trust_on_first_use", "pin"]
Severity = Literal["info", "low", "medium", "high", "critical"]
Seconds = Annotated[float, msgspec.Meta(ge=1, le=3600)]
Window = Annotated[float, msgspec.Meta(ge=1, le=2_678_400)]
Amount = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
Count = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
TimeOfDay = Annotated[str, msgspec.Meta(pattern=TIME_OF_DAY_PATTERN)]

# What a path parameter may look like; anything else is `not_found` before a handler sees it.
PATH_PATTERNS = {
    "/upstreams": {"name": SLUG_PATTERN},
    "/tools": {"name": PUBLIC_NAME_PATTERN},
    "/definitions": {"id": ID_PATTERN},
    "/risks": {"id": RISK_ID_PATTERN},
    "/people": {"email": EMAIL_PATTERN},
    "/agents": {"name": SLUG_PATTERN},
    "/tokens": {"id": ID_PATTERN},
    "/clients": {"id": ID_PATTERN},
    "/authorizations": {"id": ID_PATTERN},
    "/providers": {"name": SLUG_PATTERN},
    "/rules": {"id": RULE_ID_PATTERN},
    "/kills": {"id": RULE_ID_PATTERN},
    "/policies": {"name": SLUG_PATTERN, "version": NUMBER_PATTERN},
    "/approvals": {"id": ID_PATTERN},
    "/connections": {"upstream": SLUG_PATTERN},
    "/offboardings": {"id": ID_PATTERN},
}

# What a text of each pattern is, for the sentence that refuses another one.
WORDS = {
    NO_CONTROLS: "a text without control characters",
    TITLE_PATTERN: "a text without control characters that is not empty",
    SLUG_PATTERN: "1 to 32 characters of a-z, 0-9, _ and -, with a letter or digit at both ends and without __",
    EMAIL_PATTERN: "an e-mail address",
    ID_PATTERN: "an id such as tok_ and 26 characters",
    RISK_ID_PATTERN: "the id of a finding, as `callgate risks list` shows it",
    HASH_PATTERN: "the 64 hex digits of a full fingerprint",
    VARIABLE_PATTERN: "the name of an environment variable",
    HEADER_PATTERN: "the name of an HTTP header",
    SECRET_PATTERN: "printable ASCII characters",
    SCOPE_PATTERN: "one scope: printable ASCII characters without space, quote or backslash",
    HEADER_VALUE_PATTERN: "printable ASCII characters",
    PUBLIC_NAME_PATTERN: "a tool's public name: 1 to 64 characters of A-Z, a-z, 0-9, _ and -",
    RULE_ID_PATTERN: "1 to 64 characters of a-z, 0-9 and -",
    DURATION_PATTERN: "a duration such as 12h, 30d or 8w",
    URL_PATTERN: "an http or https URL",
    REDIRECT_PATTERN: "an https URL, an http URL of this computer, or a URL of a program such as com.acme.app:/back",
    ARGUMENT_PATTERN: "a text without NUL characters",
    CURSOR_PATTERN: "the `next` of an earlier answer",
    NUMBER_PATTERN: "a whole number",
    TIME_OF_DAY_PATTERN: "a time of day such as 08:30",
    TIME_PATTERN: "a time such as 2026-11-01, 2026-11-01T12:00:00Z, or 30d for 30 days ago",
}

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def seconds(duration: str) -> float:
    """A duration such as `30d` in seconds."""
    return float(int(duration[:-1]) * _UNITS[duration[-1]])
