"""Kill switches: deny rules that somebody throws in an emergency. Pure.

They are rules like others, with ids that begin with `kill-`, so that they are evaluated, listed, recorded and
versioned as such. They also end what is under way. Fail closed: a switch that names nothing kills everything of the
tenant, and has to be asked for by name.
"""

import hashlib

from callgate.model.rule import Match, Rule

PREFIX = "kill-"
_WORDS = 45  # characters of an id that say what is switched off


def switch(upstream: str = "", agent: str = "", person: str = "", reason: str = "") -> Rule:
    """The rule of a switch: for one upstream, agent or person (or what all three have in common), or for everything."""
    named = {"upstream": upstream, "agent": agent, "person": person}
    what = [f"{name} {value}" for name, value in named.items() if value]
    given = {name: value for name, value in named.items() if value}
    if given:
        words = "-".join(f"{name}-{_part(value)}" for name, value in given.items())[:_WORDS].rstrip("-")
        # names that look alike in an id are told apart by what they exactly are
        key = f"{words}-{hashlib.sha256(repr(sorted(given.items())).encode()).hexdigest()[:10]}"
    else:
        key = "everything"
    return Rule(
        id=f"{PREFIX}{key}",
        title=f"Switched off: {', '.join(what) or 'everything'}",
        effect="deny",
        match=Match(
            upstream=(upstream,) if upstream else (),
            agent=(agent,) if agent else (),
            person=(person,) if person else (),
        ),
        message=f"This was switched off by an admin: {reason} Do not repeat it.",
        description=reason,
    )


def _part(value: str) -> str:
    return "".join(char if char.isascii() and char.isalnum() else "-" for char in value.lower()).strip("-")


def is_switch(rule: Rule) -> bool:
    return rule.id.startswith(PREFIX)
