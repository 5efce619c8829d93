#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""streams - a server and a client with Python's asyncio, for a test of unmodified programs.

streams serve PORT
streams talk HOST PORT CONNECTIONS MESSAGES

The server sends every message back, and its SHA-256 after it. The client has all connections open
at once and sends on each of them, while it receives, messages of up to 64 KiB; it prints how many
bytes came back, all of them right.
"""

import asyncio
import hashlib
import random
import struct
import sys


async def receive(reader):
    (size,) = struct.unpack("<I", await reader.readexactly(4))
    return await reader.readexactly(size)


def send(writer, data):
    writer.write(struct.pack("<I", len(data)) + data)


async def echo(reader, writer):
    try:
        while True:
            data = await receive(reader)
            send(writer, data)
            send(writer, hashlib.sha256(data).digest())
            await writer.drain()
    except asyncio.IncompleteReadError as error:
        if error.partial:
            print("unclean end", file=sys.stderr, flush=True)
    except OSError as error:
        print(error, file=sys.stderr, flush=True)
    writer.close()


async def serve(port):
    # None: a socket for IPv4 and one for IPv6 only
    server = await asyncio.start_server(echo, None, port)
    await server.serve_forever()


async def talk(host, port, messages, seed):
    chance = random.Random(seed)
    reader, writer = await asyncio.open_connection(host, port)
    sent = [chance.randbytes(chance.choice((0, 1, 100, 4096, 65536))) for _ in range(messages)]

    async def all_out():
        for data in sent:
            send(writer, data)
            await writer.drain()
        writer.write_eof()

    out = asyncio.create_task(all_out())
    for data in sent:
        if await receive(reader) != data:
            raise ValueError("not what was sent")
        if await receive(reader) != hashlib.sha256(data).digest():
            raise ValueError("not what was received")
    await out
    if await reader.read() != b"":
        raise ValueError("more than was sent")
    writer.close()
    await writer.wait_closed()
    return sum(map(len, sent))


async def talk_all(host, port, connections, messages):
    done = await asyncio.gather(*(talk(host, port, messages, i) for i in range(connections)))
    print(sum(done))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", port]:
            asyncio.run(serve(int(port)))
        case ["talk", host, port, connections, messages]:
            asyncio.run(talk_all(host, int(port), int(connections), int(messages)))
        case _:
            sys.exit(__doc__)
