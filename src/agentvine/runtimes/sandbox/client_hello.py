"""Reading the server's name out of the first message of a TLS connection."""

import struct

_HANDSHAKE, _CLIENT_HELLO, _SERVER_NAME, _HOST_NAME = 22, 1, 0, 0
MAX_BYTES = 16 * 1024 + 5
"""A record's header and the longest record: no client needs more to say hello."""


class NotTls(Exception):
    """The bytes are no TLS greeting, or one that names no server."""


def needed_bytes(start: bytes) -> int:
    """How many bytes of the connection hold the greeting, judging by its first five.

    Raises:
        NotTls: It is none.
    """
    kind, major, _, length = struct.unpack("!BBBH", start[:5])
    if kind != _HANDSHAKE or major != 3 or not 4 < length <= MAX_BYTES - 5:
        raise NotTls
    return 5 + int(length)


def server_name(record: bytes) -> str:
    """The one server that the greeting asks for, in small letters.

    Raises:
        NotTls: It is none, goes on in another record, or names no server.
    """
    try:
        return _server_name(record)
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise NotTls from error


def _server_name(record: bytes) -> str:
    body = record[5:]
    if body[0] != _CLIENT_HELLO or int.from_bytes(body[1:4]) + 4 > len(body):
        raise NotTls
    at = 4 + 2 + 32  # version and random
    at += 1 + body[at]  # session
    at += 2 + _number(body, at)  # ciphers
    at += 1 + body[at]  # compressions
    end = at + 2 + _number(body, at)
    at += 2
    while at + 4 <= end:
        kind, length = struct.unpack_from("!HH", body, at)
        at += 4
        if kind == _SERVER_NAME:
            return _host_name(body[at : at + length])
        at += length
    raise NotTls


def _host_name(names: bytes) -> str:
    kind, length = struct.unpack_from("!BH", names, 2)
    if kind != _HOST_NAME or _number(names, 0) != length + 3 or len(names) != length + 5:
        # More than one name, or another kind: whoever reads it differently must not be fooled.
        raise NotTls
    return names[5:].decode("ascii").lower()


def _number(data: bytes, at: int) -> int:
    (value,) = struct.unpack_from("!H", data, at)
    return int(value)
