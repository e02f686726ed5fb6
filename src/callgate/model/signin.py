"""How people sign in: browser sessions, local accounts, passkeys, OpenID providers. Times: seconds since 1970."""

import msgspec

PASSWORD, PASSKEY, PROVIDER, LINK = "password", "passkey", "provider", "link"
INVITE = "invite"


class BrowserSession(msgspec.Struct, frozen=True):
    """A browser that is signed in, known by the hash of its cookie. `authenticated` is when the person last proved who
    they are; `provider_session` is the `sid` of the provider (OpenID Connect Back-Channel Logout 1.0)."""

    hash: bytes
    tenant: str
    id: str  # `ses_…`
    person: str
    created: float
    seen: float
    authenticated: float
    method: str
    expires: float
    provider: str | None = None
    provider_session: str | None = None


class LocalAccount(msgspec.Struct, frozen=True):
    """A person's own way in. `password` is an argon2id string, `totp` a sealed secret, `totp_step` the last time step
    whose code was used (RFC 6238, section 5.2: a code is good once)."""

    person: str
    password: str
    totp: bytes | None = None
    totp_step: int = 0
    changed: float = 0.0

    def __repr__(self) -> str:
        return f"LocalAccount({self.person})"


class Passkey(msgspec.Struct, frozen=True):
    """A WebAuthn credential (Web Authentication Level 3)."""

    id: str  # `pky_…`
    person: str
    credential: bytes
    public_key: bytes
    counter: int
    name: str
    created: float
    used: float | None = None


class Link(msgspec.Struct, frozen=True):
    """Good once: to set a password."""

    hash: bytes
    purpose: str
    expires: float
    person: str


class ProviderConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An OpenID provider. `domains`: whose e-mail addresses it speaks for; none means that nobody may come who is not
    there already. `roles` and `teams` map a group of the claim `groups_claim` to a role or team of ours."""

    issuer: str
    client_id: str
    scopes: tuple[str, ...] = ("openid", "email", "profile")
    domains: tuple[str, ...] = ()
    groups_claim: str = "groups"
    roles: dict[str, str] = {}
    teams: dict[str, str] = {}
    just_in_time: bool = True
    trust_email: bool = False  # believe addresses that it does not say are verified
    allow_private: bool = False
    keep_tokens: bool = False  # of people who sign in, sealed, to be exchanged for tokens of upstreams
    id_jag: bool = False  # accepts identity assertions of this issuer for clients (enterprise-managed authorization)


class Provider(msgspec.Struct, frozen=True):
    """One configured provider; `secret_id` is the sealed client secret."""

    id: str  # `idp_…`
    tenant: str
    name: str
    config: ProviderConfig
    secret_id: str | None = None
    created: float = 0.0
