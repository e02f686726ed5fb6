"""Who may see a page: the same table as for the API."""

from starlette.responses import Response

from callgate.control.permissions import TABLE, check
from callgate.model.caller import Actor
from callgate.web.site import Handler, Visit


def needing(method: str, path: str, handler: Handler) -> Handler:
    """A page that shows what this route of the API shows. Raises `Refused("forbidden")` naming the roles."""
    need = TABLE[(method, path)]

    async def checked(visit: Visit) -> Response:
        person = visit.signed_in(visit.request.url.path)
        check(Actor(visit.tenant, "person", person.id, person.roles), need)
        return await handler(visit)

    return checked
