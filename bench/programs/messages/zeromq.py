"""Messages one way with ZeroMQ's PUSH and PULL over ipc, and one reply after the last one."""

import json
import sys
import time

import zmq

role, _variant, path = sys.argv[1:4]
size, warm, count = map(int, sys.argv[4:7])
items = size_sum = 0
context = zmq.Context()

if role == "server":
    pull = context.socket(zmq.PULL)
    pull.bind(f"ipc://{path}")
    reply = context.socket(zmq.PUSH)
    reply.bind(f"ipc://{path}.reply")
    print("ready", flush=True)
    for expected in (warm, count):
        for _ in range(expected):
            size_sum += len(pull.recv())
            items += 1
        reply.send(b".")
    report = {"items": items, "bytes": size_sum}
else:
    push = context.socket(zmq.PUSH)
    push.connect(f"ipc://{path}")
    reply = context.socket(zmq.PULL)
    reply.connect(f"ipc://{path}.reply")
    message = bytes(size)
    for expected in (warm, count):
        begin = time.perf_counter()
        for _ in range(expected):
            push.send(message)
        reply.recv()
        seconds = time.perf_counter() - begin
        items += expected
        size_sum += expected * size
    report = {"items": items, "bytes": size_sum, "seconds": seconds}

context.destroy(linger=1000)
print(json.dumps(report))
