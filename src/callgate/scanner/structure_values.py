"""Values that a definition proposes, and secrets that it gives away. Pure.

A default, a constant or an example is what a model sends when nobody says otherwise: commands, paths to secrets and
strangers' addresses do not belong there. Secrets are few formats that nothing else looks like.
"""

import re

import msgspec

from callgate.model.finding import Finding
from callgate.scanner.purpose import Fault, Purpose, found, stems
from callgate.scanner.surface import Leaf

_VALUES = frozenset({"default", "const", "enum", "example"})
_FIX = "Replace the value by a harmless one, or leave it out."
_COMMAND = Fault(
    "structure.command_value", "command_injection", "A proposed value runs a command where it is evaluated.", _FIX
)
_SQL = Fault("structure.injection_value", "schema_poisoning", "A proposed value carries an injection.", _FIX)
_PATH = Fault(
    "structure.secret_path_value", "schema_poisoning", "A proposed value leads to where secrets are kept.", _FIX
)
_HOST = Fault(
    "structure.collector_value", "schema_poisoning", "A proposed address is one where strangers collect data.", _FIX
)
_COPY = Fault(
    "structure.recipient_value", "schema_poisoning", "A proposed recipient gets a copy of whatever is sent.", _FIX
)
_VARIABLE = Fault(
    "structure.secret_variable_value",
    "schema_poisoning",
    "A proposed value is read from a secret of the machine.",
    _FIX,
)
_SECRET = Fault(
    "structure.secret",
    "secret_in_metadata",
    "The definition holds what looks like a working secret; everybody who lists it has it.",
    "Revoke the secret and remove it from the definition.",
)

_PROGRAM = (
    r"(?:curl|wget|nc|ncat|bash|sh|zsh|cat|rm|chmod|python3?|perl|powershell|base64|ssh|scp|env|printenv|whoami|id)"
)


class _Look(msgspec.Struct, frozen=True):
    fault: Fault
    pattern: re.Pattern[str]
    excuses: frozenset[str]
    severity: str
    excused: str = ""


def _look(fault: Fault, pattern: str, excuses: str, severity: str, excused: str = "") -> _Look:
    return _Look(fault, re.compile(pattern, re.IGNORECASE), stems(excuses), severity, excused)


_SHELLS = (
    "shell command commands terminal bash exec execute script scripts cli sandbox kubectl docker container ssh cron"
)
_LOOKS = (
    _look(
        _COMMAND,
        rf"\$\(\s{{0,3}}{_PROGRAM}\b|`{_PROGRAM} [^`]{{0,200}}`|\|\s{{0,3}}(?:sudo )?(?:ba|z)?sh\b|/dev/tcp/|"
        r"\bnc (?:-\w{1,4} )?\S{3,60} \d{2,5} -e|\bLD_PRELOAD=|\brm -[rf]{1,3} [~/*]|"
        rf"[;&|]{{1,2}}\s{{0,3}}(?:{_PROGRAM})(?: -\w{{1,12}})? \S|\bbase64 -(?:d|-decode)\b|"
        r"__import__\(|\bos\.system\(|\bsubprocess\.\w|child_process|\bInvoke-Expression\b|\biex ?\(",
        f"{_SHELLS} python code javascript node security scan vulnerability injection waf payload",
        "high",
        "low",
    ),
    _look(
        _SQL,
        r"'\s{0,3};?\s{0,3}(?:drop|delete|truncate|alter|update|insert)\s+(?:table|from|database|into)\b|"
        r"'\s{0,3}or\s+'?1'?\s{0,3}=\s{0,3}'?1|\bunion\s+(?:all\s+)?select\b.{0,60}\b(?:password|passwd|"
        r"credential|secret)",
        "injection security scan waf payload vulnerability pentest sanitize",
        "medium",
        "low",
    ),
    _look(
        _PATH,
        r"(?:~|/root|/home/\w{1,32}|\$HOME)/\.(?:ssh|aws|gnupg|kube|netrc|npmrc|pypirc|docker|azure|"
        r"config/gcloud|env|"
        r"git-credentials|bash_history|zsh_history|password-store)\b|\bid_(?:rsa|ed25519|ecdsa|dsa)\b(?!\.pub)|"
        r"/etc/(?:passwd|shadow|sudoers)\b|/proc/self/environ|\.aws/credentials|\bwallet\.dat\b|"
        r"(?:\.\./){3,}|\blogin data\b|\bcookies\.sqlite\b",
        "ssh key keys kube kubernetes kubectl cluster aws credential credentials config docker gpg sign git "
        "passwd security scan "
        "traversal vulnerability path audit",
        "medium",
        "low",
    ),
    _look(
        _HOST,
        r"\b(?:webhook\.site|requestbin|[\w-]{1,63}\.ngrok(?:-free)?\.(?:io|app|dev)|pipedream\.net|interact\.?sh|"
        r"burpcollaborator|oast\.(?:fun|pro|live|me|site|online)|transfer\.sh|hookbin|beeceptor\.com|"
        r"requestcatcher\.com|dnslog\.cn|ceye\.io|canarytokens|pastebin\.com|discord(?:app)?\.com/api/webhooks|"
        r"api\.telegram\.org/bot)|"
        r"https?://[\w.-]{0,100}(?:attacker|evil|exfil|steal|hacker|malicious|phish|collector|c2\b)|"
        r"https?://[\w.-]{1,100}\.onion\b|"
        r"https?://(?!127\.|10\.|192\.168\.|172\.(?:1[6-9]|2\d|3[01])\.|0\.0|169\.254\.|"
        r"100\.64\.)\d{1,3}(?:\.\d{1,3}){3}\b",
        "webhook discord telegram ngrok tunnel pastebin paste security scan malware",
        "medium",
        "low",
    ),
    _look(
        _VARIABLE,
        r"(?:\$\{?|process\.env\.|os\.environ\W{1,3}|env:|\{\{\s?(?:env|secrets)\.)\w{0,40}"
        r"(?:secret|token|passw|api_?key|private_?key|credential)\w{0,40}",
        "credential credentials secret secrets variable variables environment template auth header headers "
        "token workflow",
        "medium",
        "low",
    ),
)
_COPIES = re.compile(
    r"(?i)(?:^|_)(?:b?cc|copy_?to|forward_?to|notify|also_?send|mirror|reply_?to|recipients?|to|email)$"
)
_MAIL = re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,4}")
_ENV_NAME = re.compile(r"(?i)passw|secret|token|key|credential|user")

# the format, and how many different characters a working one has at least
_FORMATS = (
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z2-7]{16}\b"), 8),
    (re.compile(r"\bsk-(?:proj-|ant-(?:api\d\d-)?|svcacct-)[\w-]{20,}"), 12),
    (re.compile(r"\bsk-[A-Za-z0-9]{40,}\b"), 12),
    (re.compile(r"\b(?:sk|rk)_live_[A-Za-z0-9]{16,}"), 10),
    (re.compile(r"\bgh[pousr]_[A-Za-z0-9]{30,}\b"), 14),
    (re.compile(r"\bgithub_pat_\w{40,}\b"), 14),
    (re.compile(r"\bglpat-[\w-]{20,}"), 12),
    (re.compile(r"\bxox[abprs]-[\w-]{20,}"), 12),
    (re.compile(r"\bAIza[\w-]{35}\b"), 14),
    (re.compile(r"\bnpm_[A-Za-z0-9]{36}\b"), 14),
    (re.compile(r"\bhf_[A-Za-z0-9]{30,}\b"), 14),
    (re.compile(r"\bSG\.[\w-]{20,24}\.[\w-]{40,45}"), 16),
    (re.compile(r"\beyJ[\w-]{10,600}\.eyJ[\w-]{10,4000}\.[\w-]{16,}"), 20),
    (re.compile(r"\bhooks\.slack\.com/services/T\w{8,}/B\w{8,}/\w{20,}"), 16),
    (re.compile(r"-----BEGIN (?:[A-Z0-9]+ ){0,2}PRIVATE KEY-----\s*[\w+/=\s]{60,}"), 20),
    (re.compile(r"\b[a-z][a-z0-9+]{2,15}://[\w.-]{1,64}:(?!//)[^\s:@/<>{}\[\]$*]{6,100}@[\w-]+(?:\.[\w-]+)+"), 8),
)
_LABELLED = re.compile(
    r"(?i)\b(?:api[ _-]?key|(?:secret|access)[ _-]?(?:access[ _-]?)?key|password|client[ _-]?secret|"
    r"auth(?:entication)?[ _-]?token|"
    r"master[ _-]?password|admin[ _-]?pass(?:word)?|aws[ _-]secret)\b\s{0,2}(?:is|"
    r"[:=])\s{0,2}[\"'`]?([^\s\"'`,;)<>{}\[\]$]{10,120})"
)
_PLACEHOLDER = re.compile(
    r"(?i)example|x{4,}|\*{3,}|\.{3}|your|placeholder|changeme|dummy|fake|redacted|sample|test|0{6,}|1234567"
)
_MAYBE = re.compile(
    r"(?i)key|secret|passw|token|AKIA|ASIA|sk-|_live_|gh[pousr]_|github_pat|glpat|xox|AIza|npm_|hf_|SG\.|"
    r"eyJ|slack|://"
)


def value_findings(own: Purpose, leaves: tuple[Leaf, ...]) -> list[Finding]:
    """The findings about proposed values and secrets, in the order of the document."""
    findings = []
    for leaf in leaves:
        if leaf.role in _VALUES and len(leaf.text) < 20_000:
            findings.extend(_proposed(own, leaf))
        if len(leaf.text) >= 12:
            findings.extend(_secrets(leaf))
    return findings


def _proposed(own: Purpose, leaf: Leaf) -> list[Finding]:
    findings = []
    for look in _LOOKS:
        match = look.pattern.search(leaf.text)
        if match is None or (look.fault is _VARIABLE and _ENV_NAME.search(leaf.path)):
            continue
        severity = look.excused if own.any(look.excuses) else look.severity
        if look.fault is _COMMAND and leaf.role == "example" and severity == "high":
            severity = "medium"
        if severity:
            findings.append(found(look.fault, leaf, severity, match.span()))
    match = _MAIL.search(leaf.text) if leaf.role in {"default", "const"} and "@" in leaf.text else None
    if match is not None:
        name = leaf.path.split("/")[-2] if leaf.path.count("/") > 1 else ""
        copied = _COPIES.search(name) is not None and not re.search(
            r"(?i)^(?:user|you|name|me|john|jane|foo|test)", match[0]
        )
        findings.append(found(_COPY, leaf, "medium" if copied else "low", match.span()))
    return findings


def _secrets(leaf: Leaf) -> list[Finding]:
    text = leaf.text
    if not _MAYBE.search(text):
        return []
    findings = []
    for pattern, variety in _FORMATS:
        for match in list(pattern.finditer(text))[:3]:
            weak = len(set(match[0])) < variety or _PLACEHOLDER.search(match[0]) is not None
            findings.append(found(_SECRET, leaf, "low" if weak else "high", match.span()))
    for match in list(_LABELLED.finditer(text))[:3]:
        if _looks_random(match[1]):
            weak = _PLACEHOLDER.search(match[1]) is not None
            findings.append(found(_SECRET, leaf, "low" if weak else "medium", match.span(1)))
    if leaf.path == "/description" and len(findings) > 1:  # several in one text are no example of a format
        return [msgspec.structs.replace(one, severity="medium") if one.severity == "low" else one for one in findings]
    return findings


def _looks_random(value: str) -> bool:
    kinds = [any(map(kind, value)) for kind in (str.isdigit, str.islower, str.isupper)]
    signs = any(not char.isalnum() for char in value)
    return kinds[0] and any(kinds[1:]) and (all(kinds) or signs) and "/" not in value[:1] and "://" not in value
