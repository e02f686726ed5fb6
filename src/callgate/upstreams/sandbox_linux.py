"""System calls of Linux that the launcher of stdio children needs: namespaces, capabilities, Landlock, seccomp.

Standard library only: this runs in a bare interpreter between the gateway and a hostile program. Fail closed: every
call that does not succeed raises `OSError` with the name of what was tried; the launcher then starts nothing.

Sources: landlock(7) and the kernel's userspace-api/landlock (ABI 1 to 7), seccomp(2), capabilities(7),
user_namespaces(7), prctl(2).
"""

import ctypes
import errno
import os
import stat
import struct
from collections.abc import Iterable
from pathlib import Path

# for unshare
CLONE_NEWNS = 0x00020000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
# for mount
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REC, MS_PRIVATE, MS_BIND = 1, 2, 4, 8, 0x4000, 1 << 18, 0x1000
_MOUNT_SETATTR, _AT_RECURSIVE, _AT_FDCWD = 442, 0x8000, -100
# for prctl
_PR_SET_PDEATHSIG, _PR_CAPBSET_DROP, _PR_SET_SECUREBITS, _PR_SET_SECCOMP = 1, 24, 28, 22
_PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 36, 38, 47
_SECUREBITS = 0x01 | 0x02 | 0x04 | 0x08 | 0x20 | 0x40 | 0x80  # root is nobody special, and that stays so
_SECCOMP_MODE_FILTER = 2
_O_PATH = getattr(os, "O_PATH", 0)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result


def _syscall(number: int, what: str, *arguments: object) -> int:
    call = _libc().syscall
    call.restype = ctypes.c_long
    return _checked(int(call(ctypes.c_long(number), *arguments)), what)


def prctl(option: int, value: int, what: str) -> None:
    _checked(_libc().prctl(option, ctypes.c_ulong(value), 0, 0, 0), what)


def die_with_parent(signal: int) -> None:
    prctl(_PR_SET_PDEATHSIG, signal, "PR_SET_PDEATHSIG")


def adopt_orphans() -> None:
    """Descendants whose parent ends become children of this process."""
    prctl(_PR_SET_CHILD_SUBREAPER, 1, "PR_SET_CHILD_SUBREAPER")


def no_new_privileges() -> None:
    """No program started from here gains rights by set-user-id bits or file capabilities."""
    prctl(_PR_SET_NO_NEW_PRIVS, 1, "PR_SET_NO_NEW_PRIVS")


def unshare(flags: int) -> None:
    _checked(_libc().unshare(flags), "unshare")


def mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    encoded = [None if text is None else os.fsencode(text) for text in (source, target, kind, data)]
    result = _libc().mount(encoded[0], encoded[1], encoded[2], ctypes.c_ulong(flags), encoded[3])
    _checked(result, f"mount on {target}")


def set_read_only(path: str, *, read_only: bool, below: bool) -> None:
    """Whether a mount (and those `below` it) can be changed at all: contents, modes, times. Since Linux 5.12."""
    attribute = struct.pack("=QQQQ", int(read_only), int(not read_only), 0, 0)
    flags = ctypes.c_uint(_AT_RECURSIVE if below else 0)
    where = (ctypes.c_int(_AT_FDCWD), os.fsencode(path), flags)
    _syscall(_MOUNT_SETATTR, f"mount_setattr on {path}", *where, attribute, ctypes.c_size_t(len(attribute)))


def map_own_ids(uid: int, gid: int) -> None:
    """In a fresh user namespace: be who one was, and nobody else."""
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        Path("/proc/self", name).write_text(text)


def drop_capabilities() -> None:
    """Give up every capability for good, also those that a program of root would get back when it is started."""
    for capability in range(64):
        try:
            prctl(_PR_CAPBSET_DROP, capability, "PR_CAPBSET_DROP")
        except OSError as error:
            # EINVAL: the kernel has no more of them. EPERM: not ours to drop; no_new_privileges keeps them out of reach
            if error.errno not in {errno.EINVAL, errno.EPERM}:
                raise
            break
    try:
        prctl(_PR_SET_SECUREBITS, _SECUREBITS, "PR_SET_SECUREBITS")
    except OSError as error:
        if error.errno != errno.EPERM:
            raise
    header = struct.pack("=Ii", 0x20080522, 0)
    _checked(_libc().capset(header, b"\0" * 24), "capset")


# --- Landlock --------------------------------------------------------------------------------------------------

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_RULE_PATH, _RULE_PORT = 1, 2
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 14
_MAKE_CHAR, _MAKE_BLOCK = 1 << 6, 1 << 11
_CONNECT_TCP = 1 << 1
_SCOPES = 0b11  # abstract unix sockets, signals
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_FILE_ONLY = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE


def landlock_abi() -> int:
    """The version of Landlock that the kernel offers; 0 where there is none."""
    try:
        return _syscall(_CREATE_RULESET, "landlock", None, ctypes.c_size_t(0), ctypes.c_uint(1))
    except OSError:
        return 0


def _handled(abi: int) -> int:
    rights = (1 << 13) - 1  # ABI 1
    if abi >= 2:
        rights |= 1 << 13  # REFER: move and link between directories
    if abi >= 3:
        rights |= _TRUNCATE
    return rights


class Landlock:
    """Rules for this process and all that it starts. Without `files`, only ports are governed."""

    def __init__(self, abi: int, *, files: bool, ports: bool) -> None:
        if ports and abi < 4:
            raise OSError(errno.ENOSYS, "Landlock of this kernel knows no ports (Linux 6.7 does)")
        self._rights = _handled(abi) if files else 0
        scopes = _SCOPES if files and abi >= 6 else 0
        attribute = struct.pack("=QQQ", self._rights, _CONNECT_TCP if ports else 0, scopes)
        size = {1: 8, 2: 8, 3: 8, 4: 16, 5: 16}.get(abi, 24)
        self._fd = _syscall(
            _CREATE_RULESET, "landlock_create_ruleset", attribute, ctypes.c_size_t(size), ctypes.c_uint(0)
        )

    def allow(self, paths: Iterable[str], *, write: bool) -> None:
        """Open paths and all below them; those that do not exist are left out."""
        rights = self._rights & ~(_MAKE_CHAR | _MAKE_BLOCK) if write else self._rights & _READ
        for path in paths:
            try:
                fd = os.open(path, _O_PATH | os.O_CLOEXEC)
            except OSError:
                continue
            try:
                allowed = rights if stat.S_ISDIR(os.fstat(fd).st_mode) else rights & _FILE_ONLY
                self._add(_RULE_PATH, struct.pack("=Qi", allowed, fd))
            finally:
                os.close(fd)

    def allow_all_ports_but(self, denied: Iterable[int]) -> None:
        """Landlock lists what is allowed, so every other port is a rule of its own (about 0.1 s in all)."""
        call = _libc().syscall
        shut = frozenset(denied)
        attribute = (ctypes.c_uint64 * 2)(_CONNECT_TCP, 0)
        number, fd, kind, flags = (ctypes.c_long(value) for value in (_ADD_RULE, self._fd, _RULE_PORT, 0))
        for port in range(65536):
            if port not in shut:
                attribute[1] = port
                _checked(call(number, fd, kind, attribute, flags), "landlock_add_rule")

    def _add(self, kind: int, attribute: bytes) -> None:
        arguments = (ctypes.c_int(self._fd), ctypes.c_int(kind), attribute, ctypes.c_uint(0))
        _syscall(_ADD_RULE, "landlock_add_rule", *arguments)

    def enforce(self) -> None:
        """From here on, for good. Needs `no_new_privileges` first."""
        _syscall(_RESTRICT_SELF, "landlock_restrict_self", ctypes.c_int(self._fd), ctypes.c_uint(0))
        os.close(self._fd)


# --- seccomp ---------------------------------------------------------------------------------------------------

# machine → (audit architecture, numbers of: socket, prlimit64, add_key, request_key, keyctl, sendto, sendmsg, sendmmsg)
_MACHINES = {
    "x86_64": (0xC000003E, (41, 302, 248, 249, 250, 44, 46, 307)),
    "aarch64": (0xC00000B7, (198, 261, 217, 218, 219, 206, 211, 269)),
}
_IO_URING_SETUP = 425  # the same number on every architecture
_AF_UNIX, _AF_SMC, _IPPROTO_MPTCP, _MSG_FASTOPEN = 1, 43, 262, 0x20000000
_LD, _JEQ, _JGE, _JSET, _RET = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_ARCH_OFFSET, _NUMBER_OFFSET, _ARGUMENTS_OFFSET = 4, 0, 16

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, value


def _refuse_if(number: int, argument: int, test: int, value: int) -> list[Instruction]:
    """Refuse a call (EACCES) when an argument's low half passes a test; the number is in the accumulator before and
    after."""
    return [
        (_JEQ, 0, 4, number),
        (_LD, 0, 0, _ARGUMENTS_OFFSET + 8 * argument),
        (test, 0, 1, value),
        (_RET, 0, 0, _ERRNO | errno.EACCES),
        (_LD, 0, 0, _NUMBER_OFFSET),
    ]


def _refuse(number: int, code: int) -> list[Instruction]:
    return [(_JEQ, 0, 1, number), (_RET, 0, 0, _ERRNO | code)]


def seccomp_program(machine: str, *, same_user: bool, ports: bool) -> bytes:
    """The filter as classic BPF. `same_user`: the child has the gateway's user id, so it gets no unix sockets (the
    control socket, the session bus, agents), no keyrings and no hand on the limits of other processes. `ports`: close
    the ways around Landlock's port rules (multipath TCP, SMC, fast open).

    Raises `OSError` for a machine whose call numbers are not known here.
    """
    if machine not in _MACHINES:
        raise OSError(errno.ENOSYS, f"no seccomp filter is known for {machine}")
    architecture, numbers = _MACHINES[machine]
    socket, prlimit, add_key, request_key, keyctl, sendto, sendmsg, sendmmsg = numbers
    rules: list[Instruction] = [
        (_LD, 0, 0, _ARCH_OFFSET),
        (_JEQ, 1, 0, architecture),
        (_RET, 0, 0, _KILL),  # another architecture would have other numbers
        (_LD, 0, 0, _NUMBER_OFFSET),
    ]
    if machine == "x86_64":  # x32 calls have the same meaning under other numbers
        rules += [(_JGE, 0, 1, 0x40000000), (_RET, 0, 0, _ERRNO | errno.ENOSYS)]
    rules += _refuse(_IO_URING_SETUP, errno.ENOSYS)  # its sockets would not pass this filter
    if same_user:
        rules += _refuse_if(socket, 0, _JEQ, _AF_UNIX)
        rules += [(_JEQ, 0, 4, prlimit), (_LD, 0, 0, _ARGUMENTS_OFFSET), (_JEQ, 1, 0, 0)]
        rules += [(_RET, 0, 0, _ERRNO | errno.EPERM), (_LD, 0, 0, _NUMBER_OFFSET)]
        for number in (add_key, request_key, keyctl):
            rules += _refuse(number, errno.EPERM)
    if ports:
        rules += _refuse_if(socket, 0, _JEQ, _AF_SMC) + _refuse_if(socket, 2, _JEQ, _IPPROTO_MPTCP)
        for number, flags in ((sendto, 3), (sendmsg, 2), (sendmmsg, 3)):
            rules += _refuse_if(number, flags, _JSET, _MSG_FASTOPEN)
    rules.append((_RET, 0, 0, _ALLOW))
    return b"".join(struct.pack("=HBBI", *rule) for rule in rules)


def enforce_seccomp(program: bytes) -> None:
    """Install a filter for good. Needs `no_new_privileges` first."""
    code = ctypes.create_string_buffer(program, len(program))
    head = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code)), 16)
    result = _libc().prctl(_PR_SET_SECCOMP, ctypes.c_ulong(_SECCOMP_MODE_FILTER), head, 0, 0)
    _checked(result, "PR_SET_SECCOMP")
