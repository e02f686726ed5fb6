"""structlog on stderr: JSON lines, or plain text for a person at a terminal.

Promise 4 in code: only fields of `FIELDS` are written; their values are cut, and control characters escaped. Of an
exception its class and the places in our code are written, never its message, because others may have written that.
The standard library's loggers (uvicorn, asyncio, SQLAlchemy) go the same way; their messages are kept only as far as
they are constant texts. On failure to write, the line is lost and the gateway goes on: the audit is the record.
"""

import logging
import sys
import unicodedata
from collections.abc import MutableMapping
from types import TracebackType
from typing import TextIO

import structlog
from structlog.typing import EventDict, ExcInfo, Processor, WrappedLogger

from callgate import clock

MAX_VALUE = 300  # characters
FIELDS = frozenset(
    {
        "event", "level", "time", "logger", "error", "code", "reason", "task", "upstream", "upstream_id", "tenant",
        "replica", "revision", "aggregate", "count", "seconds", "attempt", "exit_code", "signal", "pid", "uid", "path",
        "host", "port", "url", "state", "era", "version", "setting", "lease", "kind", "definition", "call", "method",
        "status", "size", "role", "data_dir", "database",
    }
)  # fmt: skip
_CHATTY = (
    "uvicorn.error",
    "alembic",
    "sqlalchemy",
    "asyncio",
    "botocore",
    "boto3",
    "google",
    "urllib3",
)  # their `info` is for their own developers
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def configure(level: str = "info", stream: TextIO | None = None, plain: bool | None = None) -> None:
    """Set up all logging of this process. `plain` is decided by whether the stream is a terminal when it is None."""
    out = stream or sys.stderr
    is_plain = out.isatty() if plain is None else plain
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(processors=_writing(is_plain), foreign_pre_chain=[_foreign])
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(_LEVELS[level])
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers = []
        logging.getLogger(name).propagate = True
    logging.getLogger("uvicorn.access").disabled = True
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(_LEVELS[level], logging.WARNING))
    structlog.configure(
        processors=[structlog.stdlib.add_log_level, structlog.stdlib.add_logger_name, _hand_over],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger; the event is a constant text, everything that varies is a field of `FIELDS`."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return logger


def _hand_over(logger: WrappedLogger, name: str, event: EventDict) -> tuple[tuple[EventDict], dict[str, object]]:
    return structlog.stdlib.ProcessorFormatter.wrap_for_formatter(logger, name, event)  # type: ignore[return-value]


def _writing(plain: bool) -> list[Processor]:
    last: Processor = _plain if plain else structlog.processors.JSONRenderer(sort_keys=False)
    return [_unwrap, _timestamp, _exception, neutralise, last]


def _unwrap(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    record = event.pop("_record", None)
    event.pop("_from_structlog", None)
    if record is not None:
        event.setdefault("level", record.levelname.lower())
        event.setdefault("logger", record.name)
    return event


def _foreign(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    """A record of the standard library: the constant text before formatting, without its arguments."""
    record = event["_record"]
    event["event"] = record.msg if isinstance(record.msg, str) else type(record.msg).__name__
    if record.exc_info:
        event["exc_info"] = record.exc_info
    return event


def _timestamp(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    event["time"] = clock.utc(clock.now()).isoformat(timespec="milliseconds")
    return event


def _exception(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    info: ExcInfo | BaseException | bool | None = event.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()  # type: ignore[assignment]
    error = info if isinstance(info, BaseException) else info[1] if isinstance(info, tuple) else None
    if error is not None:
        event["error"] = describe(error)
    return event


def describe(error: BaseException) -> str:
    """An exception without its text: `KeyError at callgate.fleet.sync:120 < …`, innermost place first."""
    places = _places(error.__traceback__)
    return f"{type(error).__name__} at {' < '.join(places) or 'unknown'}"


def _places(trace: TracebackType | None) -> list[str]:
    found: list[str] = []
    while trace is not None:
        module = str(trace.tb_frame.f_globals.get("__name__", "?"))
        found.append(f"{module}:{trace.tb_lineno}")
        trace = trace.tb_next
    return found[::-1][:6]


def neutralise(_logger: WrappedLogger, _name: str, event: MutableMapping[str, object]) -> MutableMapping[str, object]:
    """Drop unknown fields; cut values; escape control and format characters (terminal escapes, bidi overrides)."""
    ordered = [key for key in ("time", "level", "logger", "event") if key in event]
    ordered += [key for key in event if key in FIELDS and key not in ordered]
    return {key: _value(event[key]) for key in ordered}


def _value(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    return plain_text(str(value))[:MAX_VALUE]


def plain_text(text: str) -> str:
    """A text that is safe to print: every control, format and surrogate character is escaped."""
    return "".join(_escaped(char) if unicodedata.category(char) in _UNSAFE else char for char in text)


_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def _escaped(char: str) -> str:
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"


def _plain(_logger: WrappedLogger, _name: str, event: MutableMapping[str, object]) -> str:
    values = dict(event)
    time, level, text = (str(values.pop(key, "")) for key in ("time", "level", "event"))
    values.pop("logger", None)
    fields = " ".join(f"{key}={value}" for key, value in values.items())
    return f"{time[11:19]} {level:<7} {text} {fields}".rstrip()
