"""The Anthropic messages API with a script in the model's place (streaming and not)."""

import json
from collections.abc import Iterator
from typing import Any

from tests.clients.scripted import Model

Event = tuple[str, dict[str, Any]]
USAGE = {"input_tokens": 10, "output_tokens": 5, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
DONE = "The scripted model has finished."


class AnthropicModel(Model):
    """Asks for the scripted tool once; afterwards it ends the turn."""

    def answer(self, path: str, body: dict[str, Any]) -> Iterator[Event] | dict[str, Any]:
        if path.endswith("/count_tokens"):
            return {"input_tokens": 10}
        if not path.endswith("/messages"):
            return {}
        self.record.requests.append(body)
        offered = [tool["name"] for tool in body.get("tools", []) if "name" in tool]
        self.record.tools.extend(name for name in offered if name not in self.record.tools)
        results = [block for block in _blocks(body) if block.get("type") == "tool_result"]
        self.record.results[len(self.record.results) :] = results[len(self.record.results) :]
        name = None if results else self.script.choose(offered)
        block = self._tool_use(name) if name else {"type": "text", "text": DONE}
        message = {
            "id": f"msg_{len(self.record.requests):04d}",
            "type": "message",
            "role": "assistant",
            "model": body.get("model", "scripted"),
            "content": [block],
            "stop_reason": "tool_use" if name else "end_turn",
            "stop_sequence": None,
            "usage": USAGE,
        }
        return _stream(message, block) if body.get("stream") else message

    def _tool_use(self, name: str) -> dict[str, Any]:
        return {"type": "tool_use", "id": "toolu_01", "name": name, "input": self.script.arguments}


def _blocks(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for message in body.get("messages", []):
        content = message.get("content")
        if isinstance(content, list):
            yield from (block for block in content if isinstance(block, dict))


def _stream(message: dict[str, Any], block: dict[str, Any]) -> Iterator[Event]:
    opening = {**message, "content": [], "stop_reason": None}
    yield "message_start", {"type": "message_start", "message": opening}
    tool = block["type"] == "tool_use"
    empty = {**block, "input": {}} if tool else {**block, "text": ""}
    yield "content_block_start", {"type": "content_block_start", "index": 0, "content_block": empty}
    delta = (
        {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
        if tool
        else {"type": "text_delta", "text": block["text"]}
    )
    yield "content_block_delta", {"type": "content_block_delta", "index": 0, "delta": delta}
    yield "content_block_stop", {"type": "content_block_stop", "index": 0}
    end = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    yield "message_delta", {"type": "message_delta", "delta": end, "usage": USAGE}
    yield "message_stop", {"type": "message_stop"}
