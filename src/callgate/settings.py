"""Settings: `callgate.toml` in the working directory, then `CALLGATE_*` variables, then the command line.

Every setting stands in docs/settings.md with its reason. Fail closed: an unknown key, an unknown `CALLGATE_*` variable
or an impossible combination refuses to start with the name of the culprit and the nearest known name.
"""

import difflib
import ipaddress
import json
import os
import re
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from callgate.errors import Refused

PREFIX = "CALLGATE_"
# Kubernetes injects these for a service that is called `callgate`; they are not ours.
_KUBERNETES = re.compile(r"CALLGATE_(?:SERVICE_|PORT$|PORT_\d+_)")
# The command line's own: which gateway to talk to.
_COMMAND_LINE = frozenset({"CALLGATE_URL", "CALLGATE_TOKEN"})
_LOCAL = r"(?:localhost|127\.0\.0\.1|\[::1\])"
_KEYS = (  # of key services: see credentials.kms
    r"aws-kms://arn:[\w-]+:kms:[\w-]+:\d*:(?:key|alias)/[\w/-]+",
    r"gcp-kms://projects/[^/\s]+/locations/[^/\s]+/keyRings/[^/\s]+/cryptoKeys/[^/\s]+",
    r"hcvault://[\w.:\[\]-]+/[\w/-]+/keys/[\w.-]+",
    rf"hcvault\+http://{_LOCAL}(?::\d+)?/[\w/-]+/keys/[\w.-]+",
)
Names = Annotated[tuple[str, ...], NoDecode]  # a variable may be a JSON array or separated by commas
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


@lru_cache(maxsize=64)
def _networks(texts: tuple[str, ...]) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


class Settings(BaseSettings):
    """One gateway process, as configured."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True, env_ignore_empty=True)

    data_dir: Path = Path(".callgate")
    database_url: str | None = None  # absent = embedded SQLite under data_dir
    key_file: Path | None = None  # absent = <data_dir>/secrets/key
    kms: Names = ()  # wrapping keys outside, the first wraps; absent = the key file
    kms_check_seconds: float = Field(default=60.0, ge=1.0, le=3600.0)
    kms_outage_seconds: float = Field(default=3600.0, ge=0.0, le=86_400.0)
    vault_token_file: Path | None = None
    host: str = "127.0.0.1"
    port: int = Field(default=8787, ge=0, le=65535)
    public_url: str | None = None  # as clients see it, e.g. https://mcp.acme.example
    base_domain: str | None = None  # tenants by host: mcp-gateway.<tenant>.<base_domain>
    allowed_hosts: Names = ()
    allowed_origins: Names = ()
    anonymous_person: str | None = None  # e-mail; the only way to serve without tokens, loopback only
    allowed_networks: Names = ()  # private networks that upstreams may live in
    trusted_proxies: Names = ()  # networks of proxies whose X-Forwarded-For counts
    allow_unsandboxed_stdio: bool = False
    role: Literal["all", "gateway", "control"] = "all"
    durability: Literal["strict", "relaxed"] = "strict"
    max_body_bytes: int = Field(default=4 * 1024 * 1024, ge=1024)
    max_json_depth: int = Field(default=128, ge=8, le=512)
    max_result_bytes: int = Field(default=64 * 1024 * 1024, ge=1024)
    max_calls_per_person: int = Field(default=256, ge=1)
    refresh_seconds: float = Field(default=60.0, ge=1.0)
    poll_seconds: float = Field(default=2.0, ge=0.1, le=5.0)
    shutdown_seconds: float = Field(default=5.0, ge=0.0, le=60.0)
    hold_seconds: float = Field(default=50.0, ge=1.0, le=3600.0)
    hold_clients: Names = ("claude-code*=280", "codex*=280", "mcp=280")
    approval_webhook_url: str | None = None
    approval_webhook_key_file: Path | None = None
    approval_slack_url_file: Path | None = None
    approval_mail_url: str | None = None
    approval_mail_password_file: Path | None = None
    approval_mail_from: str | None = None
    approval_mail_to: Names = ()
    judge_url: str | None = None  # an OpenAI-compatible API up to /v1; absent = no outside judge
    judge_model: str | None = None
    judge_key_file: Path | None = None
    access_token_seconds: float = Field(default=900.0, ge=5.0, le=86_400.0)
    refresh_token_seconds: float = Field(default=2_592_000.0, ge=60.0, le=7_776_000.0)
    client_documents: Literal["auto", "on", "off"] = "auto"
    client_documents_probe: str = "https://claude.ai/oauth/claude-code-client-metadata"
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @property
    def key_path(self) -> Path:
        return self.key_file or self.data_dir / "secrets" / "key"

    @property
    def control_socket(self) -> Path:
        return self.data_dir / "control.sock"

    @property
    def command_socket(self) -> Path:
        """Where a command that runs the gateway in its own process talks to it; nobody else looks there."""
        return self.data_dir / "command.sock"

    @property
    def networks(self) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
        return _networks(self.allowed_networks)

    @property
    def proxies(self) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
        return _networks(self.trusted_proxies)

    @property
    def holds(self) -> dict[str, float]:
        """Globs of client names → for how many seconds they are known to hold a call."""
        return {name: float(seconds) for name, _, seconds in (one.rpartition("=") for one in self.hold_clients)}

    @field_validator(
        "allowed_hosts",
        "allowed_origins",
        "allowed_networks",
        "hold_clients",
        "kms",
        "approval_mail_to",
        "trusted_proxies",
        mode="before",
    )
    @classmethod
    def _is_list(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        if not value.lstrip().startswith("["):
            return [part.strip() for part in value.split(",") if part.strip()]
        try:
            return json.loads(value)
        except ValueError:
            raise ValueError("is no JSON array; a plain list works too, separated by commas") from None

    @field_validator("allowed_networks", "trusted_proxies")
    @classmethod
    def _are_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            try:
                ipaddress.ip_network(text)
            except ValueError as error:
                raise ValueError(f"{error}; a network is written like 10.1.0.0/16 or fd00::/8") from None
        return value

    @field_validator("hold_clients")
    @classmethod
    def _are_holds(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            if re.fullmatch(r"[^=]+=[1-9][0-9]{0,3}", text) is None:
                raise ValueError(f"`{text}` is not a client and its seconds, such as claude-code*=280")
        return value

    @field_validator("kms")
    @classmethod
    def _are_keys(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            if not any(re.fullmatch(form, text) for form in _KEYS):
                raise ValueError(f"`{text}` is no key of a key service; docs/guides/keys.md shows the forms")
        return value

    @field_validator("database_url")
    @classmethod
    def _is_postgresql(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("postgresql://", "postgres://")):
            raise ValueError("must start with postgresql:// (leave it out for the embedded SQLite store)")
        return value

    @field_validator("approval_mail_url")
    @classmethod
    def _is_mail_address(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("smtps://", "smtp+starttls://", "smtp://")):
            raise ValueError(
                "must start with smtps://, smtp+starttls:// or smtp://, as in smtps://user@mail.acme.example"
            )
        return value

    @field_validator("judge_url", "approval_webhook_url")
    @classmethod
    def _is_web_address(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("https://", "http://")):
            raise ValueError("must start with https:// or http://, such as https://llm.acme.example/v1")
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> "Settings":
        if any(key.startswith("hcvault") for key in self.kms) != (self.vault_token_file is not None):
            raise ValueError("a key of Vault in kms and vault_token_file belong together: give both or none")
        if (self.judge_url is None) != (self.judge_model is None):
            raise ValueError("judge_url and judge_model belong together: give both or none")
        if self.judge_key_file is not None and self.judge_url is None:
            raise ValueError("judge_key_file has no use without judge_url")
        if (self.approval_webhook_url is None) != (self.approval_webhook_key_file is None):
            raise ValueError("approval_webhook_url and approval_webhook_key_file belong together: messages are signed")
        if (self.approval_mail_url is None) != (self.approval_mail_from is None):
            raise ValueError("approval_mail_url and approval_mail_from belong together: give both or none")
        if self.approval_mail_url is None and (self.approval_mail_to or self.approval_mail_password_file):
            raise ValueError("approval_mail_to and approval_mail_password_file have no use without approval_mail_url")
        if self.anonymous_person and self.host not in LOOPBACK:
            raise ValueError("anonymous_person is allowed only when host is a loopback address")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings, env_settings)


def load(overrides: Mapping[str, object] | None = None, file: Path | None = None) -> Settings:
    """Settings from the file, the environment and the command line (the last wins).

    Raises `Refused("bad_setting")` naming every culprit.
    """
    path = file or Path("callgate.toml")
    known = set(Settings.model_fields)
    from_file = _read_file(path, known) if file or path.exists() else {}
    _check_environment(os.environ, known)
    given = {key: value for key, value in (overrides or {}).items() if value is not None}
    in_env = {key for key in known if os.environ.get(PREFIX + key.upper())}
    layered = {key: value for key, value in from_file.items() if key not in in_env} | given
    try:
        return Settings(**layered)  # type: ignore[arg-type]
    except ValidationError as error:
        raise Refused("bad_setting", _explain(error)) from None


def _read_file(path: Path, known: set[str]) -> dict[str, object]:
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise Refused("bad_setting", f"{path} cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Refused("bad_setting", f"{path} is not valid TOML: {error}.") from None
    for key in values:
        if key not in known:
            raise Refused("bad_setting", f"{path}: unknown setting `{key}`.{_hint(key, known)}")
    return values


def _check_environment(environment: Mapping[str, str], known: set[str]) -> None:
    for name, value in environment.items():
        if not name.startswith(PREFIX) or name in _COMMAND_LINE or _from_kubernetes(name, value):
            continue
        key = name.removeprefix(PREFIX).lower()
        if key not in known:
            raise Refused("bad_setting", f"Unknown setting {name} in the environment.{_hint(key, known)}")


def _from_kubernetes(name: str, value: str) -> bool:
    if name == "CALLGATE_PORT":
        return value.startswith(("tcp://", "udp://"))
    return _KUBERNETES.match(name) is not None


def _hint(key: str, known: set[str]) -> str:
    near = difflib.get_close_matches(key, known, 1)
    return f" Did you mean `{near[0]}`?" if near else " docs/settings.md lists all of them."


def _explain(error: ValidationError) -> str:
    parts = []
    for item in error.errors():
        where = ".".join(str(part) for part in item["loc"]) or "settings"
        parts.append(f"{where}: {item['msg']}")
    return "; ".join(parts) + "."
