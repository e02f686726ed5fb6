"""SCIM error documents (RFC 7644, section 3.12): how a refusal leaves this door.

Fail closed: what is no `Refused` becomes `internal`, a sentence that says nothing of its cause.
"""

import msgspec
from starlette.responses import Response

from callgate.errors import Refused

MEDIA_TYPE = "application/scim+json"
_SCHEMA = "urn:ietf:params:scim:api:messages:2.0:Error"
_TYPES = {  # code of the error table → scimType
    "conflict": "uniqueness",
    "validation": "invalidValue",
    "parse_error": "invalidSyntax",
    "body_too_deep": "invalidSyntax",
}
_STATUS = {"validation": 400}  # RFC 7644 knows no 422
_CHALLENGE = 'Bearer realm="SCIM"'


def scim_response(refused: Refused) -> Response:
    """The answer for one refusal; 401 names the scheme (RFC 9110, section 11.6.1)."""
    kind = refused.kind
    status = _STATUS.get(kind.code, kind.http)
    document = {"schemas": [_SCHEMA], "status": str(status), "detail": refused.sentence}
    if kind.code in _TYPES:
        document["scimType"] = _TYPES[kind.code]
    headers = {"Cache-Control": "no-store"}
    if status == 401:
        headers["WWW-Authenticate"] = challenge(refused.code)
    return Response(msgspec.json.encode(document), status, headers, MEDIA_TYPE)


def challenge(code: str) -> str:
    """`WWW-Authenticate` (RFC 6750, section 3): no error is named where no token came."""
    return _CHALLENGE if code == "auth_required" else f'{_CHALLENGE}, error="invalid_token"'
