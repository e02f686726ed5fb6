"""A private PostgreSQL server for tests and benchmarks: temporary directory, free loopback port, user postgres.

`Cluster.start` fails (never skips) when PostgreSQL is missing, with the line to run.
"""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

MISSING = "PostgreSQL 15 or newer is needed; run: apt-get install -y postgresql"
OWNER = "callgate_owner"  # may create roles and databases, is no superuser: as an operator would set it up
QUICK: Mapping[str, str] = {"fsync": "off", "full_page_writes": "off", "shared_buffers": "32MB"}  # what tests want
DURABLE: Mapping[str, str] = {"fsync": "on", "shared_buffers": "128MB"}  # as it runs in earnest


def binaries() -> Path:
    """The directory of the newest installed server's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    if found:
        return found[-1]
    program = shutil.which("postgres")
    if program is None:
        raise AssertionError(MISSING)
    return Path(program).parent


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Cluster:
    """One running server. `url(database)` connects as the owner, `admin_url(database)` as superuser.

    `wrapper` stands before each program, such as `taskset -c 1`.
    """

    directory: Path
    port: int
    options: Mapping[str, str]
    wrapper: tuple[str, ...] = ()

    @classmethod
    def start(cls, options: Mapping[str, str] = QUICK, wrapper: tuple[str, ...] = ()) -> "Cluster":
        """A fresh server with these settings. Raises `AssertionError` with what PostgreSQL said."""
        directory = Path(tempfile.mkdtemp(prefix="callgate-pg-"))
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(directory, user.pw_uid, user.pw_gid)
        cluster = cls(directory, free_port(), options, wrapper)
        cluster._run("initdb", "-D", str(cluster.data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
        cluster.up()
        cluster.sql(f"CREATE ROLE {OWNER} LOGIN CREATEROLE CREATEDB")
        return cluster

    @property
    def data(self) -> Path:
        return self.directory / "data"

    @property
    def pid(self) -> int:
        """The server's first process; the others descend from it."""
        return int((self.data / "postmaster.pid").read_text().splitlines()[0])

    def url(self, database: str, role: str = OWNER) -> str:
        return f"postgresql://{role}@127.0.0.1:{self.port}/{database}"

    def admin_url(self, database: str = "postgres") -> str:
        return self.url(database, "postgres")

    def up(self) -> None:
        """Start the server and wait until it answers."""
        fixed = {"listen_addresses": "127.0.0.1", "unix_socket_directories": str(self.directory)}
        settings = {**fixed, "max_connections": "60", "log_statement": "none", **self.options}
        options = " ".join([f"-p {self.port}", *(f"-c {name}={value}" for name, value in settings.items())])
        log = str(self.directory / "log")
        self._run("pg_ctl", "-D", str(self.data), "-l", log, "-w", "-t", "60", "-o", options, "start")

    def down(self, mode: str = "immediate") -> None:
        """Stop the server: `immediate` breaks every connection, as a crash does."""
        self._run("pg_ctl", "-D", str(self.data), "-w", "-t", "60", "-m", mode, "stop")

    def restart(self, mode: str = "immediate") -> None:
        """Stop the server and start it again at once, with the options that it had."""
        log = str(self.directory / "log")
        self._run("pg_ctl", "-D", str(self.data), "-l", log, "-w", "-t", "60", "-m", mode, "restart")

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """The server answers nothing until the end of the block, and its connections stay: as on a disk that hangs."""
        first = self.pid
        stopped = [first, *_children(first)]
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)

    def destroy(self) -> None:
        if (self.data / "postmaster.pid").exists():
            self.down()
        shutil.rmtree(self.directory, ignore_errors=True)

    def sql(self, statement: str, database: str = "postgres") -> str:
        """Run one statement as superuser and return what psql prints."""
        return self._run(
            "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(self.port),
            "-U", "postgres", "-d", database, "-c", statement,
        )  # fmt: skip

    def _run(self, program: str, *arguments: str) -> str:
        command = [*self.wrapper, str(binaries() / program), *arguments]
        if os.geteuid() == 0:
            command = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", *command]
        # pg_ctl leaves the server behind: it must not keep our pipe open
        captured = subprocess.DEVNULL if program == "pg_ctl" else subprocess.PIPE
        done = subprocess.run(
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=captured,
            stderr=captured,
            timeout=120,
            cwd="/",
            text=True,
        )
        if done.returncode != 0:
            raise AssertionError(f"{program} failed: {done.stderr or (self.directory / 'log').read_text()[-2000:]}")
        return done.stdout or ""


def _children(parent: int) -> list[int]:
    listed = Path(f"/proc/{parent}/task/{parent}/children").read_text()
    return [int(pid) for pid in listed.split()]
