"""Errors of the authorization server: codes of RFC 6749, 7591, 8707 and 7523 with a sentence for whoever debugs it."""

from starlette.responses import JSONResponse, Response

NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}
_STATUS = {"invalid_client": 401, "invalid_token": 401, "slow_down": 429, "server_error": 500}


class OAuthError(Exception):
    """A refusal with a code of the specifications."""

    def __init__(self, error: str, sentence: str) -> None:
        super().__init__(sentence)
        self.error = error
        self.sentence = sentence

    def response(self) -> Response:
        """The error response (RFC 6749, section 5.2)."""
        status = _STATUS.get(self.error, 400)
        headers = dict(NO_STORE)
        if status == 401:
            headers["WWW-Authenticate"] = 'Basic realm="callgate"'
        return JSONResponse({"error": self.error, "error_description": self.sentence}, status, headers)


def invalid_request(sentence: str) -> OAuthError:
    return OAuthError("invalid_request", sentence)


def invalid_grant(sentence: str) -> OAuthError:
    return OAuthError("invalid_grant", sentence)


def invalid_client(sentence: str) -> OAuthError:
    return OAuthError("invalid_client", sentence)
