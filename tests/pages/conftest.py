"""A real browser, one for each file: it runs a loop in this thread, so no file here has async tests."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser

from tests.support.chromium import Human, chromium


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def human(browser: Browser) -> Iterator[Callable[[], Human]]:
    """Makes people, each with a browser of their own."""
    made: list[Human] = []

    def make() -> Human:
        made.append(Human.at(browser))
        return made[-1]

    yield make
    for one in made:
        one.close()
