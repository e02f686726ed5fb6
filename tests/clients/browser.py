"""The browser that clients open at a first login: signs in, allows what the page asks, and goes back to the client.

`python -m tests.clients.browser URL`; ROBOT names a file with the gateway's address, e-mail and password as JSON.
Writes where it was. A client may listen only once its page is open (a person is slower than a program), so the way
back to it is tried for a while.
"""

import hashlib
import json
import os
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.robot import Page, Robot
from tests.support.signing_in import sign_in

PATIENCE = 20  # seconds


def main(url: str) -> None:
    state = Path(os.environ["ROBOT"])
    try:  # some clients open a page and show its address as well: a person goes there once
        state.with_name(hashlib.sha256(url.encode()).hexdigest()).touch(exist_ok=False)
    except FileExistsError:
        return
    known = json.loads(state.read_text())
    robot = Robot(known["base"])
    sign_in(robot, known["email"], known["password"])
    page = robot.get(url)
    if urlsplit(page.url).path == "/oauth/authorize" and "<form" in page.text:
        page = back(robot, robot.submit(page, follow=False, answer="allow").location)
    print(json.dumps({"opened": url, "ended": page.url, "status": page.status, "words": page.words}))


def back(robot: Robot, client: str) -> Page:
    """Raises ConnectionRefusedError when the client does not listen in time."""
    late = time.monotonic() + PATIENCE
    while True:
        try:
            return robot.get(client)
        except ConnectionRefusedError:
            if time.monotonic() > late:
                raise
            time.sleep(0.1)


if __name__ == "__main__":
    main(sys.argv[-1])
