#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""names PORT ADDRESS - a name server, over TCP, to which every name has that one IPv4 address"""
import asyncio
import socket
import struct
import sys


async def serve(reader, writer):
    try:
        while True:
            size, = struct.unpack('!H', await reader.readexactly(2))
            query = await reader.readexactly(size)
            end = query.index(0, 12) + 5  # of the question: a name, a type, a class
            known = query[end - 4:end - 2] == b'\0\1'
            reply = query[:2] + struct.pack('!5H', 0x8580, 1, known, 0, 0) + query[12:end]
            if known:
                reply += struct.pack('!HHHIH', 0xc00c, 1, 1, 60, 4) + socket.inet_aton(sys.argv[2])
            writer.write(struct.pack('!H', len(reply)) + reply)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    writer.close()


async def main():
    server = await asyncio.start_server(serve, None, int(sys.argv[1]))
    await server.serve_forever()

asyncio.run(main())
