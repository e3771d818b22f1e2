"""The system calls that a sandboxed program has no business with, as a filter for the kernel.

Namespaces hide things; this takes away the calls by which kernels have been broken out of, and
those that reach what no namespace hides: key rings, other processes' memory, virtual machines'
sockets.
"""

import platform
import struct

_EPERM, _ENOSYS, _EAFNOSUPPORT = 1, 38, 97
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_AT_NUMBER, _AT_ARCH, _AT_FIRST_ARGUMENT = 0, 4, 16
_X32_BIT = 0x40000000
_FAMILIES = (1, 2, 10, 16)
"""Unix, IPv4, IPv6 and netlink sockets; in a network namespace of their own, all are harmless."""

_CLONE3 = 435
_SAME_EVERYWHERE = {
    "io_uring_setup": 425,
    "io_uring_enter": 426,
    "io_uring_register": 427,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "fspick": 433,
    "pidfd_getfd": 438,
    "mount_setattr": 442,
    "quotactl_fd": 443,
}
_DENIED = {
    "acct": (163, 89),
    "add_key": (248, 217),
    "adjtimex": (159, 171),
    "bpf": (321, 280),
    "chroot": (161, 51),
    "clock_adjtime": (305, 266),
    "clock_settime": (227, 112),
    "delete_module": (176, 106),
    "finit_module": (313, 273),
    "init_module": (175, 105),
    "kcmp": (312, 272),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "lookup_dcookie": (212, 18),
    "mount": (165, 40),
    "name_to_handle_at": (303, 264),
    "nfsservctl": (180, 42),
    "open_by_handle_at": (304, 265),
    "perf_event_open": (298, 241),
    "pivot_root": (155, 41),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "quotactl": (179, 60),
    "reboot": (169, 142),
    "request_key": (249, 218),
    "setns": (308, 268),
    "settimeofday": (164, 170),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "syslog": (103, 116),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
    "vhangup": (153, 58),
}
"""By name: the number on x86-64, and on arm64."""
_MACHINES = {"x86_64": (0xC000003E, 0, 41), "aarch64": (0xC00000B7, 1, 198)}
"""Audit name, column of the table above, and the number of ``socket``."""


def build_filter(machine: str = "") -> bytes | None:
    """The filter as bubblewrap takes it; None for a kind of machine that we have no numbers for."""
    known = _MACHINES.get(machine or platform.machine())
    if known is None:
        return None
    arch, column, socket = known
    denied = sorted([*(row[column] for row in _DENIED.values()), *_SAME_EVERYWHERE.values()])
    program = [
        _step(_LOAD, _AT_ARCH),
        _step(_EQUAL, arch, on_true=1),
        _step(_RETURN, _KILL),
        _step(_LOAD, _AT_NUMBER),
        # The same calls by other numbers.
        _step(_AT_LEAST, _X32_BIT, on_false=1),
        _step(_RETURN, _KILL),
        # Programs then fall back on clone, which cannot make namespaces without privileges.
        *_answer(_CLONE3, _ENOSYS),
    ]
    for number in denied:
        program += _answer(number, _EPERM)
    program += [
        _step(_EQUAL, socket, on_true=1),
        _step(_RETURN, _ALLOW),
        _step(_LOAD, _AT_FIRST_ARGUMENT),
    ]
    for family in _FAMILIES:
        program += [_step(_EQUAL, family, on_false=1), _step(_RETURN, _ALLOW)]
    program.append(_step(_RETURN, _ERRNO | _EAFNOSUPPORT))
    return b"".join(program)


def _answer(number: int, error: int) -> list[bytes]:
    return [_step(_EQUAL, number, on_false=1), _step(_RETURN, _ERRNO | error)]


def _step(code: int, value: int, *, on_true: int = 0, on_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, on_true, on_false, value)
