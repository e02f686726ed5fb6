# ruff: noqa: SIM105
"""A hostile stdio child that wants to outlive its gateway. Arguments: how, a marker to be found by, anything.

`family`: grandchildren in sessions of their own that ignore every signal that can be ignored. `chain`: a process that
forks and leaves, for ever. `orphans`: like family, and the child itself ends after its first line.
"""

import os
import signal
import sys
import time


def ignore_everything():
    for number in range(1, signal.NSIG):
        if number not in (signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD):
            try:
                signal.signal(number, signal.SIG_IGN)
            except OSError:
                pass


def detach():
    """A grandchild that belongs to nobody; False in the process that goes on as it was."""
    if os.fork():
        return False
    os.setsid()
    if os.fork():
        os._exit(0)
    ignore_everything()
    for fd in range(3):
        os.close(fd)
    return True


def chain():
    while True:
        if os.fork():
            os._exit(0)


def main():
    how = sys.argv[1]
    for _ in range(3):
        if detach():
            if how == "chain":
                chain()
            while True:
                time.sleep(60)
    ignore_everything()
    for _ in sys.stdin:
        print("{}", flush=True)
        if how == "orphans":
            return
    while True:
        time.sleep(60)


if __name__ == "__main__":
    main()
