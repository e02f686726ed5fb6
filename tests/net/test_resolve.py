"""Names to checked addresses, and DNS rebinding."""

import asyncio
import socket
from ipaddress import ip_network

import pytest

from callgate.net.errors import EgressRefused, ResolveFailed
from callgate.net.policy import TargetPolicy
from callgate.net.resolve import Resolver, system_lookup

PUBLIC = TargetPolicy()


class Names:
    """A look-up whose answers are scripted; counts how often it was asked."""

    def __init__(self, *answers: list[str] | Exception) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def __call__(self, host: str) -> list[str]:
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        await asyncio.sleep(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


async def test_a_name_gives_its_addresses_in_order_and_once() -> None:
    resolver = Resolver(Names(["1.1.1.1", "2606:4700::1111", "1.1.1.1"]))
    assert (await resolver.resolve("a.example", PUBLIC)).addresses == ("1.1.1.1", "2606:4700::1111")


@pytest.mark.parametrize("bad", ["127.0.0.1", "169.254.169.254", "::ffff:10.0.0.1", "fe80::1%eth0"])
async def test_one_forbidden_address_refuses_the_whole_name(bad: str) -> None:
    resolver = Resolver(Names(["1.1.1.1", bad]))
    with pytest.raises(EgressRefused, match=r"a\.example leads to a forbidden address"):
        await resolver.resolve("a.example", PUBLIC)


async def test_an_address_beyond_those_that_are_used_is_checked_too() -> None:
    resolver = Resolver(Names([f"1.1.1.{n}" for n in range(1, 40)] + ["10.0.0.1"]))
    with pytest.raises(EgressRefused):
        await resolver.resolve("a.example", PUBLIC)


async def test_a_name_that_changes_to_a_private_address_is_refused_at_the_next_look() -> None:
    resolver = Resolver(Names(["1.1.1.1"], ["127.0.0.1"]), ttl=0)
    assert (await resolver.resolve("a.example", PUBLIC)).addresses == ("1.1.1.1",)
    with pytest.raises(EgressRefused):
        await resolver.resolve("a.example", PUBLIC)


async def test_the_cache_is_shared_but_each_policy_judges_for_itself() -> None:
    names = Names(["10.0.0.1"])
    resolver = Resolver(names)
    opened = TargetPolicy(allowed_networks=(ip_network("10.0.0.0/8"),))
    assert (await resolver.resolve("a.example", opened)).addresses == ("10.0.0.1",)
    with pytest.raises(EgressRefused):
        await resolver.resolve("a.example", PUBLIC)
    assert names.asked == 1


async def test_parallel_questions_ask_once_and_one_that_gives_up_ends_no_other() -> None:
    names = Names(["1.1.1.1"])
    resolver = Resolver(names)
    tasks = [asyncio.create_task(resolver.resolve("a.example", PUBLIC)) for _ in range(10)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert {result.addresses for result in results[1:]} == {("1.1.1.1",)}
    assert names.asked == 1


async def test_an_address_literal_is_judged_without_a_question() -> None:
    names = Names(ResolveFailed("never asked"))
    resolver = Resolver(names)
    assert (await resolver.resolve("1.1.1.1", PUBLIC)).addresses == ("1.1.1.1",)
    with pytest.raises(EgressRefused, match=r"^127\.0\.0\.1 is a loopback address"):
        await resolver.resolve("127.0.0.1", PUBLIC)
    assert names.asked == 0


@pytest.mark.parametrize(
    "answer", [[], ["not an address"], socket.gaierror(-2, "Name or service not known"), UnicodeError("label too long")]
)
async def test_no_usable_answer_is_an_error_and_is_not_remembered(answer) -> None:
    names = Names(answer, ["1.1.1.1"])
    resolver = Resolver(names)
    with pytest.raises(ResolveFailed):
        await resolver.resolve("a.example", PUBLIC)
    assert (await resolver.resolve("a.example", PUBLIC)).addresses == ("1.1.1.1",)


async def test_the_memory_for_names_is_bounded() -> None:
    resolver = Resolver(Names(["1.1.1.1"]))
    for number in range(5000):
        await resolver.resolve(f"h{number}.example", PUBLIC)
    assert len(resolver._known) <= 4096


def test_a_longer_memory_than_thirty_seconds_is_refused() -> None:
    with pytest.raises(ValueError, match="30"):
        Resolver(ttl=31)


async def test_the_system_resolver_knows_localhost() -> None:
    assert set(await system_lookup("localhost")) <= {"127.0.0.1", "::1"}
    with pytest.raises(EgressRefused):
        await Resolver().resolve("localhost", PUBLIC)
