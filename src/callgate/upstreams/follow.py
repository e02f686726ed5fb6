"""Long-lived listening to an upstream: changes of its lists, and updates of resources.

Modern: a `subscriptions/listen` stream. Handshake era: the GET stream of the session, or the channel itself.
On failure: it ends; whoever runs it comes back with back-off. An upstream that offers no such stream is simply not
heard, and the refresh interval remains the guarantee.
"""

import contextlib

from callgate.errors import CallgateError, Refused
from callgate.upstreams.conversation import Conversation
from callgate.upstreams.exchange import Notice, Sent
from callgate.upstreams.inbox import whole
from callgate.upstreams.routing import LISTEN, UPDATED, OnNotice, member
from callgate.wire import eras, jsonrpc

_LISTS = {"toolsListChanged": True, "promptsListChanged": True, "resourcesListChanged": True}


class NothingToHear(CallgateError):
    """The upstream offers no stream of changes."""


async def listen(conversation: Conversation, uris: tuple[str, ...], tell: OnNotice) -> None:
    """Hear until the stream ends. With `uris` only updates of these, else changes of lists.

    Raises `Refused` when it breaks, `NothingToHear` when there is none.
    """
    if conversation.era == eras.MODERN:
        await _listen_modern(conversation, uris, tell)
        return
    if not await conversation.hear():
        raise NothingToHear
    wanted = _only(uris, tell)
    conversation.router.listeners.add(wanted)
    followed: list[str] = []
    try:
        for uri in uris:
            await _subscribe(conversation, uri)
            followed.append(uri)
        await conversation.until_lost()
        raise Refused("upstream_broke_off")
    finally:
        conversation.router.listeners.discard(wanted)
        for uri in followed:
            await _unsubscribe(conversation, uri)


def _only(uris: tuple[str, ...], tell: OnNotice) -> OnNotice:
    """`tell` for updates of these resources alone; without any, for everything else."""

    def wanted(method: str, params: bytes) -> None:
        if (method == UPDATED) == bool(uris) and (not uris or _uri(params) in uris):
            tell(method, params)

    return wanted


def _uri(params: bytes) -> str | None:
    return jsonrpc.text(member(params, "uri"))


async def _subscribe(conversation: Conversation, uri: str) -> None:
    """Several followers of one conversation share one subscription."""
    conversation.subscribed[uri] = conversation.subscribed.get(uri, 0) + 1
    if conversation.subscribed[uri] > 1:
        return
    try:
        kind, _ = await whole(conversation.start(Sent("resources/subscribe", jsonrpc.encoded({"uri": uri}))))
    except BaseException:
        _less(conversation, uri)
        raise
    if kind == "error":
        _less(conversation, uri)
        raise NothingToHear


async def _unsubscribe(conversation: Conversation, uri: str) -> None:
    if _less(conversation, uri) or conversation.lost:
        return
    with contextlib.suppress(Refused):  # the server is gone, and the subscription with it
        await whole(conversation.start(Sent("resources/unsubscribe", jsonrpc.encoded({"uri": uri}))))


def _less(conversation: Conversation, uri: str) -> int:
    left = conversation.subscribed[uri] - 1
    if left:
        conversation.subscribed[uri] = left
    else:
        del conversation.subscribed[uri]
    return left


async def _listen_modern(conversation: Conversation, uris: tuple[str, ...], tell: OnNotice) -> None:
    wanted: dict[str, object] = {"resourceSubscriptions": list(uris)} if uris else dict(_LISTS)
    exchange = conversation.start(Sent(LISTEN, jsonrpc.encoded({"notifications": wanted})))
    try:
        async for event in exchange:
            if isinstance(event, Notice):
                tell(event.method, member(event.raw, "params") or b"{}")
            elif getattr(event, "kind", "") == "error":
                raise NothingToHear
            else:
                raise Refused("upstream_broke_off")
    finally:
        await exchange.cancel()
