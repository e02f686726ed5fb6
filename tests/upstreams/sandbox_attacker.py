# ruff: noqa: PTH108, PTH119, PTH120, PTH123, PTH208
"""A hostile stdio child: reads one line of JSON with what to attack, tries everything, prints one line of JSON.

Each value is `denied …`, `works …` or `absent …`; nothing raises. Standard library only; runs in any Python from 3.9.
"""

import ctypes
import json
import os
import resource
import signal
import socket
import subprocess
import sys
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)
IPPROTO_MPTCP, AF_SMC, MSG_FASTOPEN = 262, 43, 0x20000000
PTRACE_ATTACH = 16


def attempt(action, *arguments):
    try:
        result = action(*arguments)
    except OSError as error:
        return f"denied {error.strerror}"
    return f"works {str(result)[:80]}"


def read(path):
    with open(path, "rb") as file:
        return file.read(200)


def checked(result):
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def connect_unix(path):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(3)
        sock.connect(path)
        return "connected"


def connect_unix_from_inside(path):
    os.chdir(os.path.dirname(path))
    return connect_unix(os.path.basename(path))


def connect_tcp(port, family=socket.AF_INET, protocol=0):
    host = "127.0.0.1" if family != socket.AF_INET6 else "::1"
    with socket.socket(family, socket.SOCK_STREAM, protocol) as sock:
        sock.settimeout(3)
        sock.connect((host, port))
        return "connected"


def fast_open(port, how):
    with socket.socket() as sock:
        sock.settimeout(3)
        if how == "sendto":
            sock.sendto(b"x", MSG_FASTOPEN, ("127.0.0.1", port))
        else:
            sock.sendmsg([b"x"], [], MSG_FASTOPEN, ("127.0.0.1", port))
        return sock.getpeername()


def ptrace(pid):
    LIBC.ptrace.restype = ctypes.c_long
    return checked(LIBC.ptrace(PTRACE_ATTACH, pid, None, None))


def pidfd_getfd(pid):
    pidfd = checked(LIBC.syscall(434, pid, 0))
    return checked(LIBC.syscall(438, pidfd, 0, 0))


def pidfd_signal(pid):
    pidfd = checked(LIBC.syscall(434, pid, 0))
    return checked(LIBC.syscall(424, pidfd, 0, None, 0))


def shrink(pid):
    return resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, 3))


def uncover(data):
    """In a user namespace of one's own one is root; that must not uncover or show anything."""
    pid = os.fork()
    if pid == 0:
        code = 1
        if LIBC.unshare(0x10020000) == 0:
            LIBC.umount2(data.encode(), 2)
            LIBC.mount(data.encode(), os.environ["HOME"].encode(), None, 0x1000, None)
            found = attempt(read, data + "/secrets/key").startswith("works")
            found = found or attempt(read, os.environ["HOME"] + "/secrets/key").startswith("works")
            code = 0 if found else 1
        os._exit(code)
    if os.waitpid(pid, 0)[1] != 0:
        raise OSError(1, "nothing was uncovered")
    return "uncovered"


def through_link(path, how):
    link = os.environ["HOME"] + "/link"
    if os.path.lexists(link):
        os.unlink(link)
    how(path, link)
    return read(link)


def make_device():
    path = os.environ["HOME"] + "/disk"
    os.mknod(path, 0o060600, os.makedev(254, 0))
    return read(path)


def shell():
    return subprocess.run(["/bin/sh", "-c", "echo $((6*7))"], capture_output=True, check=True).stdout


def read_random():
    with open("/dev/urandom", "rb") as file:
        return len(file.read(8))


def write_home():
    path = Path(os.environ["HOME"], "note")
    path.write_text("mine")
    return path.read_text()


def write_temporary():
    path = Path(os.environ["TMPDIR"], "note")
    path.write_text("mine")
    return path.read_text()


def status():
    lines = read_all("/proc/self/status").splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def read_all(path):
    with open(path) as file:
        return file.read()


def processes():
    """Processes of others that are in sight."""
    return sorted(int(name) for name in os.listdir("/proc") if name.isdigit())


def attacks(given):
    data, gateway, sibling = given["data"], given["gateway"], given["sibling"]
    key, control, home = data + "/secrets/key", data + "/control.sock", given["sibling_home"]
    yield "read the key", read, key
    yield "list the data directory", os.listdir, data
    yield "read the key by a symbolic link", through_link, key, os.symlink
    yield "read the key by a hard link", through_link, key, os.link
    yield "truncate the key", os.truncate, key, 0
    yield (
        "empty the key by opening it",
        lambda: os.open(key, os.O_RDONLY | os.O_TRUNC),
    )
    yield (
        "write into the data directory",
        lambda: Path(data, "new").write_text("x"),
    )
    yield "change the mode of a file outside", os.chmod, given["outside"], 0o666
    yield "change the times of a file outside", os.utime, given["outside"]
    yield "make a file outside a set-user-id one", os.chmod, given["outside"], 0o4755
    yield "rename the data directory", os.rename, data, data + "2"
    yield "remove the key", os.unlink, key
    yield "uncover the data directory", uncover, data
    for name in ("root", "cwd"):
        yield (
            f"go through /proc/gateway/{name}",
            read,
            f"/proc/{gateway}/{name}{key if name == 'root' else '/secrets/key'}",
        )
    yield "connect to the control socket", connect_unix, control
    yield "connect to the control socket from its directory", connect_unix_from_inside, control
    for pid, who in ((gateway, "gateway"), (sibling, "sibling"), (given["launcher"], "launcher")):
        yield f"read the environment of the {who}", read, f"/proc/{pid}/environ"
        yield (
            f"open the memory of the {who}",
            lambda pid=pid: os.open(f"/proc/{pid}/mem", os.O_RDWR),
        )
        yield f"see what stdin of the {who} is", os.readlink, f"/proc/{pid}/fd/0"
        yield (
            f"open stdout of the {who}",
            lambda pid=pid: os.open(f"/proc/{pid}/fd/1", os.O_WRONLY),
        )
        yield f"ptrace the {who}", ptrace, pid
        yield f"take a descriptor of the {who}", pidfd_getfd, pid
        yield f"signal the {who}", os.kill, pid, 0
        yield f"signal the {who} by a pidfd", pidfd_signal, pid
        yield f"signal the group of the {who}", os.killpg, pid, 0
        yield f"limit the {who}", shrink, pid
    yield "read the home of the sibling", read, home + "/note"
    yield (
        "write into the home of the sibling",
        lambda: Path(home, "evil").write_text("x"),
    )
    yield (
        "make a device",
        make_device,
    )
    yield "read the password hashes", read, "/etc/shadow"
    yield "read kernel memory", read, "/proc/kcore"
    yield (
        "open the kernel's settings",
        lambda: os.open("/proc/sys/kernel/hostname", os.O_WRONLY),
    )
    yield "become root", os.setuid, 0 if os.getuid() else 1
    port = given["denied_port"]
    if port:
        yield "connect to the gateway's port", connect_tcp, port
        yield "connect to the gateway's port by IPv6", connect_tcp, port, socket.AF_INET6
        yield "connect to the gateway's port by multipath TCP", connect_tcp, port, socket.AF_INET, IPPROTO_MPTCP
        yield "connect to the gateway's port by SMC", connect_tcp, port, AF_SMC
        yield "connect to the gateway's port by sendto", fast_open, port, "sendto"
        yield "connect to the gateway's port by sendmsg", fast_open, port, "sendmsg"


def needs(given):
    """What an honest server does and must be able to do."""
    yield "connect to another port", connect_tcp, given["open_port"]
    yield (
        "run a shell",
        shell,
    )
    yield (
        "write at home",
        write_home,
    )
    yield (
        "write temporary files",
        write_temporary,
    )
    yield "resolve a name", socket.getaddrinfo, "localhost", 80
    yield (
        "make a socket pair",
        socket.socketpair,
    )
    yield (
        "use a named directory",
        lambda: Path(given["named"], "made").write_text("x"),
    )
    yield (
        "read random bytes",
        read_random,
    )


def main():
    for line in sys.stdin:
        given = json.loads(line)
        if given.get("do") == "ready":
            write_home()
            answer = {"pid": os.getpid()}
        else:
            found = status()
            descriptors = sorted(int(name) for name in os.listdir("/proc/self/fd"))
            answer = {
                "descriptors": descriptors,
                "attacks": {name: attempt(action, *rest) for name, action, *rest in attacks(given)},
                "needs": {name: attempt(action, *rest) for name, action, *rest in needs(given)},
                "environment": dict(os.environ),
                "status": {
                    name: found[name] for name in ("Uid", "Groups", "CapEff", "CapPrm", "NoNewPrivs", "Seccomp")
                },
                "session": os.getsid(0) == os.getpid(),
                "core": resource.getrlimit(resource.RLIMIT_CORE),
                "processes": processes(),
                "me": os.getpid(),
            }
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGSYS, signal.SIG_DFL)
    main()
