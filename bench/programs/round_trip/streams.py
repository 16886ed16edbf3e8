"""A small message there and back with asyncio's streams."""

import asyncio
import json
import sys
import time

role, _variant, path = sys.argv[1:4]
size, warm, count = map(int, sys.argv[4:7])
passes = (warm, count)
counted = {"items": 0, "bytes": 0}


async def serve():
    done = asyncio.Event()
    served = 0

    async def handle(reader, writer):
        nonlocal served
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
            counted["bytes"] += len(data)
        writer.close()
        served += 1
        if served == len(passes):
            done.set()

    server = await asyncio.start_unix_server(handle, path)
    print("ready", flush=True)
    await done.wait()
    server.close()
    counted["items"] = counted["bytes"] // size
    print(json.dumps(counted))


async def connect():
    message = bytes(size)
    for items in passes:
        reader, writer = await asyncio.open_unix_connection(path)
        begin = time.perf_counter()
        for _ in range(items):
            writer.write(message)
            reply = await reader.readexactly(size)
            counted["items"] += 1
            counted["bytes"] += len(reply)
        seconds = time.perf_counter() - begin
        writer.close()
        await writer.wait_closed()
    print(json.dumps({**counted, "seconds": seconds}))


asyncio.run(serve() if role == "server" else connect())
