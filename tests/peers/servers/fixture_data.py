"""What the fixture servers offer, as plain JSON values, and the conversation of their interactive tools.

The names are those that the conformance scenarios call for. Both fixtures (SDK 2.3 for both eras, SDK 1.30 for
the handshake era) read this module, so that a difference seen through the gateway is never a difference of theirs.
Only the standard library is used here.
"""

import struct
import zlib
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

SERVER_NAME = "callgate-fixture"
SERVER_VERSION = "1.0.0"
INSTRUCTIONS = "A server for tests. Every tool does what its name says."


def png_pixel() -> str:
    """One red pixel as a PNG file, in base64."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\x00\xff\x00\x00")
    body = chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b64encode(b"\x89PNG\r\n\x1a\n" + body).decode()


def wav_silence() -> str:
    """A hundredth of a second of silence as a WAV file, in base64."""
    rate, samples = 8000, b"\x80" * 80
    fmt = struct.pack("<HHIIHH", 1, 1, rate, rate, 1, 8)
    body = b"WAVEfmt " + struct.pack("<I", len(fmt)) + fmt + b"data" + struct.pack("<I", len(samples)) + samples
    return b64encode(b"RIFF" + struct.pack("<I", len(body)) + body).decode()


PNG = png_pixel()
WAV = wav_silence()


def text(value: str) -> Json:
    return {"type": "text", "text": value}


def image() -> Json:
    return {"type": "image", "data": PNG, "mimeType": "image/png"}


def embedded(uri: str, mime: str, value: str) -> Json:
    return {"type": "resource", "resource": {"uri": uri, "mimeType": mime, "text": value}}


def schema(required: tuple[str, ...] = (), **properties: Any) -> Json:
    result: Json = {"type": "object", "properties": properties}
    if required:
        result["required"] = list(required)
    return result


def string(description: str) -> Json:
    return {"type": "string", "description": description}


# Tools whose answer never changes.
FIXED: dict[str, list[Json]] = {
    "test_simple_text": [text("This is a simple text response for testing.")],
    "test_image_content": [image()],
    "test_audio_content": [{"type": "audio", "data": WAV, "mimeType": "audio/wav"}],
    "test_embedded_resource": [
        embedded("test://embedded-resource", "text/plain", "This is an embedded resource content.")
    ],
    "test_multiple_content_types": [
        text("Multiple content types test:"),
        image(),
        embedded("test://mixed-content-resource", "application/json", '{"test":"data","value":123}'),
    ],
}

RICH_SCHEMA: Json = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}

HEADER_SCHEMA: Json = schema(
    ("region",),
    region={"type": "string", "description": "Sent in a header too", "x-mcp-header": "Region"},
    count={"type": "integer", "description": "Sent in a header too", "x-mcp-header": "Count"},
    plain={"type": "string", "description": "Sent in the body alone"},
)

ECHO_OUTPUT: Json = schema(("text", "length"), text={"type": "string"}, length={"type": "integer"})


def _tool(name: str, description: str, input_schema: Json | None = None, **more: Any) -> Json:
    return {"name": name, "description": description, "inputSchema": input_schema or schema(), **more}


INTERACTIVE = ("elicitation", "sampling", "list_roots", "request_state", "multiple_inputs", "multi_round",
               "tampered_state", "capabilities")  # fmt: skip

TOOLS: list[Json] = [
    *(_tool(name, f"Answers with fixed content ({name}).") for name in FIXED),
    _tool("test_error_handling", "Always ends in a tool error."),
    _tool("test_tool_with_logging", "Sends three log messages while it runs."),
    _tool("test_logging_tool", "Sends one log message, if the caller wants any."),
    _tool("test_tool_with_progress", "Reports progress three times while it runs."),
    _tool("test_sampling", "Asks the client's model.", schema(("prompt",), prompt=string("What to ask"))),
    _tool("test_elicitation", "Asks the user.", schema(("message",), message=string("What to show"))),
    _tool("test_streaming_elicitation", "Reports progress, then asks the user."),
    _tool("test_elicitation_sep1034_defaults", "Asks the user with a default for each primitive type."),
    _tool("test_elicitation_sep1330_enums", "Asks the user with every kind of enumeration."),
    _tool("test_x_mcp_header", "Has arguments that also travel in headers.", HEADER_SCHEMA),
    _tool("test_missing_capability", "Needs the sampling capability."),
    *(_tool(f"test_input_required_result_{name}", f"Needs input ({name}).") for name in INTERACTIVE),
    _tool("json_schema_2020_12_tool", "Has a schema with many keywords.", RICH_SCHEMA),
    _tool("test_reconnection", "Closes its stream in the middle of the call."),
    _tool("test_trigger_tool_change", "Adds or removes one tool and says so."),
    _tool("test_trigger_prompt_change", "Adds or removes one prompt and says so."),
    _tool("echo", "Answers with its text.", schema(("text",), text=string("Anything")), outputSchema=ECHO_OUTPUT),
    _tool("pause", "Waits, then answers.", schema(("seconds",), seconds={"type": "number", "maximum": 600})),
]
EXTRA_TOOL = _tool("test_dynamic_tool", "Comes and goes.")

RESOURCES: list[Json] = [
    {"uri": "test://static-text", "name": "Static text", "description": "A text.", "mimeType": "text/plain"},
    {"uri": "test://static-binary", "name": "Static binary", "description": "A picture.", "mimeType": "image/png"},
    {"uri": "test://watched-resource", "name": "Watched", "description": "May change.", "mimeType": "text/plain"},
]
TEMPLATES: list[Json] = [
    {
        "uriTemplate": "test://template/{id}/data",
        "name": "Data by id",
        "description": "Data for the id in the address.",
        "mimeType": "application/json",
    }
]
_ARGUMENTS = ({"name": "arg1", "required": True}, {"name": "arg2", "required": True})
PROMPTS: list[Json] = [
    {"name": "test_simple_prompt", "description": "A prompt without arguments."},
    {"name": "test_prompt_with_arguments", "description": "Two arguments.", "arguments": list(_ARGUMENTS)},
    {
        "name": "test_prompt_with_embedded_resource",
        "description": "Embeds a resource.",
        "arguments": [{"name": "resourceUri", "required": True}],
    },
    {"name": "test_prompt_with_image", "description": "Holds a picture."},
    {"name": "test_input_required_result_prompt", "description": "Needs input first."},
]
EXTRA_PROMPT: Json = {"name": "test_dynamic_prompt", "description": "Comes and goes."}
COMPLETIONS = ("paris", "park", "party", "test", "testing")


def read(uri: str) -> Json | None:
    """The contents of a resource, or None where there is none of that address."""
    if uri == "test://static-text":
        return {"uri": uri, "mimeType": "text/plain", "text": "This is the content of the static text resource."}
    if uri == "test://static-binary":
        return {"uri": uri, "mimeType": "image/png", "blob": PNG}
    if uri == "test://watched-resource":
        return {"uri": uri, "mimeType": "text/plain", "text": "This resource may change."}
    head, tail = "test://template/", "/data"
    if uri.startswith(head) and uri.endswith(tail):
        key = uri[len(head) : -len(tail)]
        body = f'{{"id":"{key}","templateTest":true,"data":"Data for ID: {key}"}}'
        return {"uri": uri, "mimeType": "application/json", "text": body}
    return None


def prompt(name: str, arguments: Mapping[str, str]) -> list[Json] | None:
    """The messages of a prompt that needs no input, or None for an unknown one."""
    contents: list[Json]
    if name == "test_simple_prompt":
        contents = [text("This is a simple prompt for testing.")]
    elif name == "test_prompt_with_arguments":
        one, two = arguments.get("arg1", ""), arguments.get("arg2", "")
        contents = [text(f"Prompt with arguments: arg1='{one}', arg2='{two}'")]
    elif name == "test_prompt_with_embedded_resource":
        uri = arguments.get("resourceUri", "test://missing")
        contents = [
            embedded(uri, "text/plain", "Embedded resource content for testing."),
            text("Please process the embedded resource above."),
        ]
    elif name == "test_prompt_with_image":
        contents = [image(), text("Please analyze the image above.")]
    elif name == EXTRA_PROMPT["name"]:
        contents = [text("This prompt comes and goes.")]
    else:
        return None
    return [{"role": "user", "content": content} for content in contents]


# --- interactive tools -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ask:
    """One thing wanted from the client; `needs` is the capability that the client must have declared."""

    key: str
    method: str
    params: Json
    needs: str


@dataclass(frozen=True)
class Need:
    """The call cannot end yet. `state` is what the server wants to be told again with the answers."""

    asks: tuple[Ask, ...]
    state: str | None = None


@dataclass(frozen=True)
class Done:
    content: list[Json]
    is_error: bool = False


Outcome = Need | Done


@dataclass(frozen=True)
class Turn:
    """What is known when an interactive tool or prompt is called, or called again with answers."""

    arguments: Json = field(default_factory=dict)
    answers: Json = field(default_factory=dict)
    state: str | None = None
    capabilities: frozenset[str] = frozenset({"elicitation", "sampling", "roots"})


def _elicit(key: str, message: str, properties: Json, required: tuple[str, ...] = ()) -> Ask:
    wanted = schema(required, **properties)
    return Ask(key, "elicitation/create", {"message": message, "requestedSchema": wanted}, "elicitation")


def _sample(key: str, question: str, tokens: int) -> Ask:
    messages = [{"role": "user", "content": text(question)}]
    return Ask(key, "sampling/createMessage", {"messages": messages, "maxTokens": tokens}, "sampling")


ROOTS = Ask("client_roots", "roots/list", {}, "roots")
_NAME = {"name": {"type": "string"}}
_OK = {"ok": {"type": "boolean"}}
_ABOUT_YOU = {"username": string("User's response"), "email": string("User's email address")}
_DEFAULTS: Json = {
    "name": {"type": "string", "default": "John Doe"},
    "age": {"type": "integer", "default": 30},
    "score": {"type": "number", "default": 95.5},
    "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
    "verified": {"type": "boolean", "default": True},
}


def _titled(noun: str) -> list[Json]:
    return [{"const": f"value{n}", "title": f"{word} {noun}"} for n, word in enumerate(("First", "Second", "Third"), 1)]


_OPTIONS = ["option1", "option2", "option3"]
_ENUMS: Json = {
    "untitledSingle": {"type": "string", "enum": _OPTIONS},
    "titledSingle": {"type": "string", "oneOf": _titled("Option")},
    "legacyEnum": {
        "type": "string",
        "enum": ["opt1", "opt2", "opt3"],
        "enumNames": ["Option One", "Option Two", "Option Three"],
    },
    "untitledMulti": {"type": "array", "items": {"type": "string", "enum": _OPTIONS}},
    "titledMulti": {"type": "array", "items": {"anyOf": _titled("Choice")}},
}


def _said(answer: Json) -> str:
    """A sampling answer's text."""
    content = answer.get("content", {})
    return str(content.get("text", "")) if isinstance(content, dict) else str(content)


def _one(ask: Ask, say: Callable[[Json], str], state: str | None = None) -> Callable[[Turn], Outcome]:
    """A conversation of one question."""

    def step(turn: Turn) -> Outcome:
        if ask.key not in turn.answers or (state is not None and turn.state != state):
            return Need((ask,), state)
        return Done([text(say(turn.answers[ask.key]))])

    return step


def _completed(answer: Json) -> str:
    return f"Elicitation completed: action={answer.get('action')}, content={answer.get('content')}"


def _sampling(turn: Turn) -> Outcome:
    ask = _sample("sample", str(turn.arguments.get("prompt", "")), 100)
    return _one(ask, lambda answer: f"LLM response: {_said(answer)}")(turn)


def _elicitation(turn: Turn) -> Outcome:
    message = str(turn.arguments.get("message", "Please tell us about you"))
    ask = _elicit("user", message, _ABOUT_YOU, ("username", "email"))
    return _one(ask, lambda a: f"User response: action: {a.get('action')}, content: {a.get('content')}")(turn)


def _multiple(turn: Turn) -> Outcome:
    asks = (
        _elicit("user_name", "What is your name?", _NAME, ("name",)),
        _sample("greeting", "Generate a greeting", 50),
        ROOTS,
    )
    if turn.state != "multiple" or any(ask.key not in turn.answers for ask in asks):
        return Need(asks, "multiple")
    return Done([text(f"All {len(asks)} answers have arrived.")])


def _rounds(turn: Turn) -> Outcome:
    if turn.state == "round-2" and "step2" in turn.answers:
        return Done([text("Both steps are done.")])
    if turn.state == "round-1" and "step1" in turn.answers:
        ask = _elicit("step2", "Step 2: What is your favorite color?", {"color": {"type": "string"}}, ("color",))
        return Need((ask,), "round-2")
    return Need((_elicit("step1", "Step 1: What is your name?", _NAME, ("name",)),), "round-1")


def _by_capability(turn: Turn) -> Outcome:
    asks = (_elicit("confirm", "Please confirm", _OK, ("ok",)), _sample("greeting", "Generate a greeting", 50))
    asked = tuple(ask for ask in asks if ask.needs in turn.capabilities)
    if not asked:
        return Done([text("The client can answer nothing.")], is_error=True)
    if any(ask.key not in turn.answers for ask in asked):
        return Need(asked)
    return Done([text("The answers have arrived.")])


_HELLO = _one(
    _elicit("user_name", "What is your name?", _NAME, ("name",)),
    lambda answer: f"Hello, {(answer.get('content') or {}).get('name', 'nobody')}!",
)
_CONFIRM = _elicit("confirm", "Please confirm", _OK, ("ok",))
_PREFIX = "test_input_required_result_"

CONVERSATIONS: dict[str, Callable[[Turn], Outcome]] = {
    "test_sampling": _sampling,
    "test_elicitation": _elicitation,
    "test_streaming_elicitation": _elicitation,
    "test_elicitation_sep1034_defaults": _one(_elicit("form", "Please check the values", _DEFAULTS), _completed),
    "test_elicitation_sep1330_enums": _one(_elicit("form", "Please choose", _ENUMS), _completed),
    _PREFIX + "elicitation": _HELLO,
    _PREFIX + "sampling": _one(_sample("capital_question", "What is the capital of France?", 100), _said),
    _PREFIX + "list_roots": _one(ROOTS, lambda answer: f"Roots: {[root.get('uri') for root in answer['roots']]}"),
    _PREFIX + "request_state": _one(_CONFIRM, lambda _: "state-ok", state="asked"),
    _PREFIX + "tampered_state": _one(_CONFIRM, lambda _: "state-ok", state="asked"),
    _PREFIX + "multiple_inputs": _multiple,
    _PREFIX + "multi_round": _rounds,
    _PREFIX + "capabilities": _by_capability,
}


def ask_for_prompt(turn: Turn) -> Outcome:
    """The conversation of the one prompt that needs input."""
    wanted = {"context": {"type": "string"}}
    ask = _elicit("user_context", "What context should the prompt use?", wanted, ("context",))
    if ask.key not in turn.answers:
        return Need((ask,))
    content = turn.answers[ask.key].get("content") or {}
    return Done([text(f"Use this context: {content.get('context', '')}")])
