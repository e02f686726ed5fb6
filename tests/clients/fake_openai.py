"""The OpenAI responses API with a script in the model's place (streaming)."""

import json
from collections.abc import Iterator
from typing import Any

from tests.clients.scripted import Model

Event = tuple[str, dict[str, Any]]
USAGE = {
    "input_tokens": 10,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens": 5,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 15,
}
DONE = "The scripted model has finished."


class OpenAIModel(Model):
    """Asks for the scripted tool once; afterwards it ends the turn."""

    def answer(self, path: str, body: dict[str, Any]) -> Iterator[Event] | dict[str, Any]:
        if not path.endswith("/responses"):
            return {"data": []}
        self.record.requests.append(body)
        offered = dict(_functions(body.get("tools", [])))
        self.record.tools.extend(name for name in offered if name not in self.record.tools)
        results = [item for item in body.get("input", []) if item.get("type") == "function_call_output"]
        self.record.results[len(self.record.results) :] = results[len(self.record.results) :]
        name = None if results else self.script.choose(list(offered))
        item = self._call(offered[name]) if name else _text()
        return _stream(f"resp_{len(self.record.requests):04d}", item)

    def _call(self, parts: dict[str, str]) -> dict[str, Any]:
        arguments = json.dumps(self.script.arguments)
        return {"type": "function_call", "id": "fc_01", "call_id": "call_01", "arguments": arguments, **parts}


def _functions(tools: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, str]]]:
    """Full name → what a call must carry. Tools may stand in namespaces."""
    for tool in tools:
        if tool.get("type") == "namespace":
            for inner in tool.get("tools", []):
                yield f"{tool['name']}__{inner['name']}", {"name": inner["name"], "namespace": tool["name"]}
        elif tool.get("type") == "function":
            yield tool["name"], {"name": tool["name"]}


def _text() -> dict[str, Any]:
    content = [{"type": "output_text", "text": DONE, "annotations": []}]
    return {"type": "message", "id": "msg_01", "role": "assistant", "status": "completed", "content": content}


def _stream(id_: str, item: dict[str, Any]) -> Iterator[Event]:
    response: dict[str, Any] = {"id": id_, "object": "response", "status": "in_progress", "output": []}
    yield "response.created", {"type": "response.created", "response": response}
    yield "response.output_item.added", {"type": "response.output_item.added", "output_index": 0, "item": item}
    yield "response.output_item.done", {"type": "response.output_item.done", "output_index": 0, "item": item}
    done = {**response, "status": "completed", "output": [item], "usage": USAGE}
    yield "response.completed", {"type": "response.completed", "response": done}
