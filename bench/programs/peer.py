"""Packets, or descriptors that are closed as they come, one way. The word is the work."""

import array
import json
import os
import socket
import sys
import time

role, work, path = sys.argv[1:4]
size, warm, count = map(int, sys.argv[4:7])
kind = socket.SOCK_SEQPACKET if work == "packets" else socket.SOCK_STREAM
items = 0
sock = socket.socket(socket.AF_UNIX, kind)


def receive(conn):
    """Receives one item. Reports whether there was one."""
    if work == "packets":
        return len(conn.recv(65536)) > 0
    data, ancillary, _, _ = conn.recvmsg(size, socket.CMSG_SPACE(4))
    for _, _, fds in ancillary:
        os.close(array.array("i", fds)[0])
    return len(data) > 0


def send(item, fds):
    if work == "packets":
        sock.send(item)
    else:
        sock.sendmsg([item], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])


seconds = {}
if role == "server":
    sock.bind(path)
    sock.listen()
    print("ready", flush=True)
    for expected in (warm, count):
        conn, _ = sock.accept()
        for _ in range(expected):
            items += receive(conn)
        conn.close()
else:
    fds = array.array("i", [os.open("/dev/null", os.O_RDONLY)])
    for expected in (warm, count):
        begin = time.perf_counter()
        sock = socket.socket(socket.AF_UNIX, kind)
        sock.connect(path)
        item = bytes(size)
        for _ in range(expected):
            send(item, fds)
            items += 1
        sock.recv(1)
        sock.close()
        seconds = {"seconds": time.perf_counter() - begin}
print(json.dumps({"items": items, "bytes": items * size, **seconds}))
