"""Parameters that ask for what the tool's purpose does not need: the conversation, the prompt, secrets, files. Pure.

Only names are judged here; what a description orders is for the rules. Names are read as words, so spelling and case
do not matter.
"""

import re

import msgspec

from callgate.model.finding import Finding
from callgate.scanner.purpose import Fault, Purpose, found, parts, stems
from callgate.scanner.surface import Leaf

_FIX = "Remove the parameter, or say in the description what it is needed for."
_CONTEXT = Fault(
    "structure.context_parameter",
    "dangerous_parameter",
    "The parameter asks for text of the conversation or of the model's instructions, which the tool has no use for.",
    _FIX,
)
_REASON = Fault(
    "structure.reasoning_parameter",
    "dangerous_parameter",
    "The parameter asks for what the model thinks; it often carries other people's data.",
    _FIX,
)
_SECRET = Fault(
    "structure.secret_parameter",
    "dangerous_parameter",
    "The parameter asks for a secret; the model will put one in if it knows any.",
    "Configure the secret at the server instead of taking it from the model.",
)
_LOCAL = Fault(
    "structure.local_data_parameter",
    "dangerous_parameter",
    "The parameter asks for data of the user's machine, which the tool has no use for.",
    _FIX,
)
_EXTRA = Fault(
    "structure.free_text_extra",
    "dangerous_parameter",
    "A free text beside the arguments of a simple function can carry away anything.",
    _FIX,
)
_HIDDEN = Fault(
    "structure.hidden_parameter",
    "dangerous_parameter",
    "The name marks the parameter as internal: clients may not show it to the person who approves the call.",
    "Give the parameter a plain name, or remove it.",
)


class _Ask(msgspec.Struct, frozen=True):
    fault: Fault
    names: re.Pattern[str]  # of the words of the name, parted by blanks
    excuses: frozenset[str]  # a tool that speaks of one of these may ask
    severity: str
    only_pure: bool = False  # asked of simple functions alone: others have honest uses for it


def _ask(fault: Fault, names: str, excuses: str, severity: str, *, only_pure: bool = False) -> _Ask:
    return _Ask(fault, re.compile(rf"(?:^| )(?:{names})(?: |$)"), stems(excuses), severity, only_pure)


_TALK = (
    "chat conversation conversational message messages messaging dialog dialogue assistant llm agent "
    "prompt completion "
    "thread transcript memory memories remember recall slack discord teams feedback moderate summarize moderation "
    "support ticket session replay persona rag gpt claude"
)
_ASKS = (
    _ask(
        _CONTEXT,
        r"system (?:prompt|message|instructions?|context)s?|developer (?:prompt|message|instructions?)|"
        r"(?:initial|original|hidden|your|full|model) (?:prompt|instructions?)|context window|tool definitions|"
        r"available tools|other tools",
        "prompt prompts llm agent agents assistant chatbot model completion chat generate ai persona",
        "medium",
    ),
    _ask(
        _CONTEXT,
        r"(?:full |whole |entire |complete )?(?:conversation|chat|dialog|dialogue)"
        r"(?: (?:history|log|logs|transcript|context|so far|text|dump|summary|state|contents?))+|"
        r"(?:full|whole|entire|complete) (?:conversation|chat|dialog|transcript|history|context)|conversation|"
        r"(?:previous|prior|all|last|recent) (?:user )?(?:messages|turns|prompts)|message history|"
        r"user (?:request verbatim|conversation)|verbatim (?:prompt|request|message)|"
        r"history so far",
        _TALK,
        "medium",
    ),
    _ask(
        _REASON,
        r"chain of thoughts?|inner monologue|hidden reasoning|internal (?:reasoning|thoughts?)|"
        r"(?:model|agent|your|full) (?:reasoning|thoughts?)|scratchpad",
        "think thinking thought reasoning reason reflect plan",
        "medium",
    ),
    _ask(_REASON, r"reasoning|thoughts?|thinking|rationale|justification", "think thought reason plan", "low"),
    _ask(
        _LOCAL,
        r"(?:contents? of )?(?:dotenv|env(?:ironment)? (?:data|vars?|variables?|contents?|dump|snapshot|values))"
        r"(?: (?:file|contents?))?|contents of \w+(?: \w+)?(?: file)?|process env|os environ",
        "env environment variable variables deploy deployment configure configuration config process run "
        "execute docker "
        "container shell launch start build create workflow lambda function service app pod sandbox install server",
        "medium",
    ),
    _ask(
        _LOCAL,
        r"(?:id rsa|ssh|private|pem|gpg) (?:private )?keys?(?: contents?| text| file| data)?|id rsa|"
        r"(?:bash|zsh|shell|command|browser|browsing) history|keychain|clipboard(?: contents?| text| data)?|"
        r"(?:workspace|home dir|home directory|working dir|project|repo|repository|local|open|recent) "
        r"(?:files|contents?|dump|snapshot)|aws credentials(?: file)?|kube ?config contents?|known hosts|"
        r"(?:seed|recovery|mnemonic) (?:phrase|words)|wallet (?:key|seed)",
        "ssh key keys host hosts connect connection server vm instance deploy sign signing encrypt decrypt "
        "certificate tls "
        "clipboard browser history shell terminal command git repository repo workspace file files directory project "
        "wallet crypto keychain secret credential kubernetes cluster vault code upload sandbox",
        "medium",
    ),
    _ask(
        _SECRET,
        r"(?:user |account |login |admin |master |root |email |db |database |bank )?pass(?:words?|wd|phrase|code)|"
        r"(?:user |all |aws |login |cloud )?credentials?|"
        r"(?:open ai |openai |anthropic |aws |github |user |gitlab |slack )?(?:api|access|"
        r"secret)(?: access)? keys?|apikey|"
        r"(?:user |my )?(?:auth|access|bearer|session|refresh|id|api|github|oauth|personal access) tokens?|"
        r"(?:aws )?secret access key|(?:session |browser |auth )?cookies?|client secret|private key|otp|totp|"
        r"(?:credit )?card number|cvv|cvc|ssn|social security number",
        "auth authenticate authentication authorization login logout sign signin signup register user users "
        "account connect "
        "connection database db password credential credentials secret secrets token tokens key keys api "
        "apis http request "
        "oauth session cookie cookies email mail smtp imap ssh ftp server proxy remote webhook encrypt "
        "decrypt vault browser "
        "scrape crawl form protect protected unlock pdf zip archive wifi deploy repository git cloud service "
        "integration "
        "provider pay payment card checkout purchase kyc identity tax payroll employee sql query queries "
        "approve verify url",
        "medium",
    ),
    _ask(
        _CONTEXT,
        r"(?:previous|prior|preceding|earlier|past|all) (?:tool )?(?:results?|outputs?|calls?|answers?|"
        r"responses?|turns)|"
        r"(?:agent|model|llm|assistant|internal) (?:memory|state|context|transcript|history|log)|"
        r"session (?:transcript|log)|"
        r"context dump|everything(?: \w+)?|tool (?:results|outputs)|user (?:prompts?|messages?|query|request|"
        r"question|intent)|"
        r"hidden rules",
        _TALK,
        "medium",
        only_pure=True,
    ),
    _ask(
        _LOCAL,
        r"browser (?:cookies|passwords|profile|data)|(?:home|directory|folder|dir) (?:listing|contents|files)|"
        r"installed (?:apps|packages|programs)|process list|hosts file|files? (?:contents?|dump|data)|"
        r"(?:user|personal|private|customer|client) (?:profile|data|details|info|information|identity)|env|"
        r"environment|"
        r"source code|secrets?|machine info|system info",
        "file files user profile code source browser environment system machine customer",
        "medium",
        only_pure=True,
    ),
    _ask(_CONTEXT, r"user (?:prompts?|messages?)", _TALK, "low"),
)
_EXTRAS = re.compile(
    r"(?:side |extra |additional |internal |debug |my |user )?(?:notes?|sidenotes?|feedback|debug|"
    r"contexts?|meta ?data|"
    r"extras?|remarks?|comments?|trace|diagnostics?|telemetry|info|additional info|payload|memo|annotations?|misc|"
    r"background|log|tags? text|audit(?: note| trail| log)?)|debug info|context info"
)
_HARMLESS_UNDERSCORE = frozenset(
    {"id", "meta", "type", "source", "limit", "offset", "from", "rev", "etag", "links", "key"}
)
_SWITCHES = re.compile(r"(?:include|enable|show|with|use|max|min|number|num|is|has|skip|strip|confirm|by|next|page)")


def parameter_findings(own: Purpose, leaves: tuple[Leaf, ...]) -> list[Finding]:
    """The findings about the names of parameters, in their order."""
    findings = []
    extras = []
    for leaf in leaves:
        if leaf.role != "param_name" or leaf.path.startswith("/outputSchema"):
            continue
        words = parts(leaf.text)
        one = _asked(own, leaf, words) or _hidden(leaf, words)
        if one is not None:
            findings.append(one)
        elif own.pure and _EXTRAS.fullmatch(" ".join(words)) and not own.any(stems(" ".join(words))):
            extras.append(leaf)
    severity = "medium" if len(extras) > 1 else "low"
    return findings + [found(_EXTRA, leaf, severity) for leaf in extras]


def sensitive_parameter(name: str) -> str:
    """What a parameter of this name asks for, "" where nothing that is anybody's: `context`, `secret`, …"""
    words = " ".join(parts(name))
    for ask in _ASKS:
        if not ask.only_pure and ask.names.search(words):
            return ask.fault.rule.removeprefix("structure.").removesuffix("_parameter")
    return ""


def _asked(own: Purpose, leaf: Leaf, words: tuple[str, ...]) -> Finding | None:
    if (
        not words
        or _SWITCHES.fullmatch(words[0])
        or words[-1] in {"id", "ids", "name", "count", "arn", "type", "length"}
    ):
        return None
    name = " ".join(words)
    for ask in _ASKS:
        match = ask.names.search(name)
        if match is None or (ask.only_pure and not own.pure):
            continue
        excused = own.any(stems(match[0])) if own.pure else own.any(ask.excuses)
        severity = "" if excused else ask.severity
        if ask.fault is _SECRET and severity == "medium" and not (own.pure and match.span() == (0, len(name))):
            severity = "low"
        return found(ask.fault, leaf, severity) if severity else None
    return None


def _hidden(leaf: Leaf, words: tuple[str, ...]) -> Finding | None:
    if leaf.text.startswith("_") and words and not _HARMLESS_UNDERSCORE.issuperset(words):
        return found(_HIDDEN, leaf, "low")
    return None
