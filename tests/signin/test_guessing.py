"""Guessing many at once: what slows down one after the other slows down all at the same moment, too."""

import threading
from collections.abc import Iterator

import pytest

from tests.signin.test_local import code_of
from tests.support.robot import Form, Robot
from tests.support.running import Running, on_each
from tests.support.signing_in import PASSWORD, account, sign_in


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with on_each(request, tmp_path_factory) as found:
        yield found


def at_once(robot: Robot, form: Form, guesses: list[dict[str, str]]) -> list[int]:
    """The statuses of a form that is sent many times at the same moment."""
    answers: list[int] = []

    def guess(given: dict[str, str]) -> None:
        answers.append(robot.post(form.action, {**form.values, **given}, follow=False).status)

    threads = [threading.Thread(target=guess, args=(given,)) for given in guesses]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def test_passwords_that_are_guessed_at_once_are_not_all_tried(run: Running) -> None:
    account(run, "ana@acme.test")
    robot = Robot(run.url)
    words = [*(f"guess number {number}" for number in range(23)), PASSWORD]
    guesses = [{"email": "ana@acme.test", "password": word} for word in words]
    answers = at_once(robot, robot.get("/signin").form(), guesses)
    assert answers.count(403) <= 10, answers
    assert 429 in answers


def test_codes_that_are_guessed_at_once_are_not_all_tried(run: Running) -> None:
    robot = account(run, "ben@acme.test")
    offer = robot.submit(robot.get("/account"), 1)
    robot.submit(offer, code=code_of(offer)[1])
    other = Robot(run.url)
    asked = sign_in(other, "ben@acme.test")
    answers = at_once(other, asked.form(), [{"code": f"{number:06}"} for number in range(24)])
    assert answers.count(403) <= 10, answers
    assert 429 in answers
