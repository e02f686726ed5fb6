"""The seccomp filter as a program: what it answers to calls on both machines, by a small interpreter."""

import errno
import struct

import pytest

from callgate.upstreams import sandbox_linux as linux
from callgate.upstreams.sandbox_launcher import descendants

ALLOW, KILL = 0x7FFF0000, 0x80000000
X86, ARM = 0xC000003E, 0xC00000B7
NAMES = ("socket", "socketpair", "prlimit64", "keyctl", "sendto", "sendmsg", "read")
CALLS = {
    "x86_64": dict(zip(NAMES, (41, 53, 302, 250, 44, 46, 0), strict=True)),
    "aarch64": dict(zip(NAMES, (198, 199, 261, 219, 206, 211, 63), strict=True)),
}
ARCHITECTURES = {"x86_64": X86, "aarch64": ARM}


def answer(program: bytes, architecture: int, number: int, *arguments: int) -> int:
    """Run classic BPF over a `struct seccomp_data`."""
    data = struct.pack("<IIQ6Q", number, architecture, 0, *arguments, *[0] * (6 - len(arguments)))
    instructions = [struct.unpack_from("=HBBI", program, at) for at in range(0, len(program), 8)]
    at = accumulator = 0
    while True:
        code, jump_true, jump_false, value = instructions[at]
        at += 1
        if code == 0x20:
            accumulator = struct.unpack_from("<I", data, value)[0]
        elif code == 0x06:
            return value
        else:
            test = {0x15: accumulator == value, 0x35: accumulator >= value, 0x45: bool(accumulator & value)}[code]
            at += jump_true if test else jump_false


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("same_user", [False, True])
@pytest.mark.parametrize("ports", [False, True])
def test_the_filter_refuses_what_it_should_and_nothing_else(machine: str, same_user: bool, ports: bool) -> None:
    program = linux.seccomp_program(machine, same_user=same_user, ports=ports)
    calls = CALLS[machine]

    def allowed(name: str, *arguments: int) -> bool:
        return answer(program, ARCHITECTURES[machine], calls[name], *arguments) == ALLOW

    assert allowed("read", 3)
    assert allowed("socket", 2, 1, 0)  # TCP
    assert allowed("socket", 10, 2, 17)
    assert allowed("socketpair", 1, 1, 0)
    assert allowed("sendto", 3, 0, 1, 0x4000)
    assert allowed("prlimit64", 0, 7)
    assert allowed("socket", 1, 1, 0) is not same_user
    assert allowed("socket", 1 << 32 | 1, 1, 0) is not same_user  # the kernel looks at the low half only
    assert allowed("prlimit64", 4711, 7) is not same_user
    assert allowed("keyctl", 0) is not same_user
    assert allowed("socket", 2, 1, 262) is not ports
    assert allowed("socket", 43, 1, 0) is not ports
    assert allowed("sendto", 3, 0, 1, 0x20000000) is not ports
    assert allowed("sendmsg", 3, 0, 0x20004000) is not ports
    assert answer(program, ARCHITECTURES[machine], 425) == 0x00050000 | errno.ENOSYS
    assert answer(program, 0x40000003, 11) == KILL
    if machine == "x86_64":
        assert answer(program, X86, 0x40000000 | 41, 1) == 0x00050000 | errno.ENOSYS


def test_a_machine_whose_calls_are_not_known_has_no_filter() -> None:
    with pytest.raises(OSError, match="riscv64"):
        linux.seccomp_program("riscv64", same_user=True, ports=False)


def test_ports_need_a_landlock_that_knows_them() -> None:
    with pytest.raises(OSError, match="ports"):
        linux.Landlock(3, files=False, ports=True)


def test_descendants_are_found_by_walking_proc() -> None:
    assert descendants(1 << 30) == []
