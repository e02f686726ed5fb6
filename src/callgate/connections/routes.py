"""The paths of connections."""

from functools import partial

from callgate.connections import pages
from callgate.connections.context import Desk
from callgate.web.site import PageRoute


def routes(desk: Desk) -> list[PageRoute]:
    """Every path with its page."""
    return [
        PageRoute("GET", "/connections", partial(pages.overview, desk)),
        PageRoute("GET", "/connections/callback/{upstream}", partial(pages.callback, desk)),
        PageRoute("GET", "/connections/client/{upstream}", partial(pages.client_document, desk), machine=True),
        PageRoute("GET", "/connections/{upstream}", partial(pages.one, desk)),
        PageRoute("POST", "/connections/{upstream}", partial(pages.begin, desk)),
        PageRoute("POST", "/connections/{upstream}/disconnect", partial(pages.disconnect, desk)),
    ]
