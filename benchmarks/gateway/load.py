"""Asks again and again on open connections, and reads just enough of each answer to see its end."""

import argparse
import asyncio
import json
import statistics
import time

_END = b"0\r\n\r\n"


async def _connection(
    host: str, port: int, request: bytes, until: float, times: list[float]
) -> None:
    reader, writer = await asyncio.open_connection(host, port)
    while (began := time.perf_counter()) < until:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"refused: {head[:200]!r} {await reader.read(500)!r}")
        lower = head.lower()
        if b"content-length:" in lower:
            length = int(lower.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
            await reader.readexactly(length)
        else:
            tail = b""
            while not tail.endswith(_END):
                tail = (tail + await reader.read(65536))[-16:]
        times.append(time.perf_counter() - began)
    writer.close()


async def load(options: argparse.Namespace) -> None:
    """Print how many calls a second there were, and how long the median one took."""
    body = json.dumps(
        {
            "model": "claude-sonnet-4-5",
            "max_tokens": 1000,
            "stream": options.stream,
            "messages": [{"role": "user", "content": "hello " * 20}],
        }
    ).encode()
    head = (
        f"POST {options.path} HTTP/1.1\r\nhost: 127.0.0.1\r\nx-api-key: {options.key}\r\n"
        f"authorization: Bearer {options.key}\r\nanthropic-version: 2023-06-01\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    times: list[float] = []
    began = time.perf_counter()
    await asyncio.gather(
        *(
            _connection(
                "127.0.0.1", options.port, head.encode() + body, began + options.seconds, times
            )
            for _ in range(options.connections)
        )
    )
    took = time.perf_counter() - began
    told = {"per_second": len(times) / took, "p50_ms": statistics.median(times) * 1000}
    print(json.dumps(told | {"calls": len(times)}))


if __name__ == "__main__":
    import uvloop

    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    parser.add_argument("--path")
    parser.add_argument("--key", default="none")
    parser.add_argument("--stream", action="store_true")
    parser.add_argument("--connections", type=int)
    parser.add_argument("--seconds", type=float)
    uvloop.run(load(parser.parse_args()))
