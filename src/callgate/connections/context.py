"""What the pages of connections work with besides the site."""

from dataclasses import dataclass

from callgate.accounts.accounts import Accounts, personal
from callgate.credentials.status import Status
from callgate.errors import Refused
from callgate.model.person import Person
from callgate.model.upstream import Upstream
from callgate.web.site import Visit


@dataclass(frozen=True, slots=True)
class Desk:
    """One replica's parts."""

    accounts: Accounts
    status: Status


def upstreams_of(visit: Visit) -> list[Upstream]:
    """The upstreams at which people have accounts of their own."""
    view = visit.site.fleet.view(visit.tenant)
    return sorted((one for one in view.upstreams.values() if one.enabled and personal(one)), key=lambda one: one.name)


def named(visit: Visit) -> Upstream:
    """The upstream that a path names. Raises `Refused("not_found")`."""
    for one in upstreams_of(visit):
        if visit.match["upstream"] in (one.name, one.id):
            return one
    raise Refused("not_found", "There is no server of this name at which you could connect an account.")


def person_of(visit: Visit) -> Person:
    """Who is signed in. Raises `Refused("sign_in_failed")`."""
    if visit.person is None:
        raise Refused("sign_in_failed", "Sign in first.")
    return visit.person
