"""Public URIs of resources on the endpoint that joins upstreams: an upstream's own, or one that names the upstream.

A `ui://` URI keeps its scheme, since hosts of MCP Apps take no other. Wrapped ones are unwrapped once, by their form
alone; an upstream's own URI that looks wrapped is therefore always wrapped again.
"""

PREFIX = "gw+"
_APP = "ui://"


def wrapped(upstream: str, uri: str) -> str:
    """`gw+<upstream>:<uri>`, or `ui://gw+<upstream>/<rest>`."""
    if uri.startswith(_APP):
        return f"{_APP}{PREFIX}{upstream}/{uri.removeprefix(_APP)}"
    return f"{PREFIX}{upstream}:{uri}"


def unwrapped(uri: str) -> tuple[str, str] | None:
    """The upstream's name and its own URI; None when nothing is wrapped."""
    if uri.startswith(_APP + PREFIX):
        upstream, _, rest = uri.removeprefix(_APP + PREFIX).partition("/")
        return upstream, _APP + rest if rest else ""
    if not uri.startswith(PREFIX):
        return None
    upstream, _, own = uri.removeprefix(PREFIX).partition(":")
    return upstream, own
