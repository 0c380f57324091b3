#!/usr/bin/env python3
"""A reflector as Telegram runs them for calls (a model: telegram_sim/README.md says what is known).

    reflector.py --listen 10.77.0.2:5999 [--tcp] [--loss 0.03] [--jitter 30] [--seed 1]

Ends of a call send it packets that begin with a 16-byte id: 12 bytes that all ends of the call share, 4 that name one end. A
packet whose bytes 16..28 are all ff is a hello: the sender is remembered under its id and answered with the id and 12 times ff.
Anything else goes to the end that its first 16 bytes name. Over TCP a connection begins with four times ee, each packet follows its
length (32 bits, little-endian), and a hello is an id and 4 zeros, which is not answered. It prints a line when it is ready, and one for each new end.

Over UDP it can be a bad network: of what it carries `--loss` is the share that gets lost, and `--jitter` the milliseconds by which
each packet may be late, so that packets overtake each other. Over TCP a connection that begins with `drop` and then says IP:PORT
and a line end has the connection of that address closed, and is answered `done`.
"""
import argparse
import heapq
import random
import select
import socket
import struct
import threading
import time

HELLO = b"\xff" * 12
ENDS = 256


def serve(address, loss, jitter, dice):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(address)
    print("ready", flush=True)
    ends, late = {}, []
    while True:
        while late and late[0][0] <= time.monotonic():
            _, _, data, end = heapq.heappop(late)
            sock.sendto(data, end)
        wait = max(0, late[0][0] - time.monotonic()) if late else None
        if not select.select([sock], [], [], wait)[0]:
            continue
        data, source = sock.recvfrom(4096)
        name = data[:16]
        if len(data) < 24:
            continue
        if data[16:28] == HELLO:
            if name not in ends and len(ends) < ENDS:
                print("end", name.hex(), "%s:%d" % source, flush=True)
                ends[name] = source
            elif name in ends:
                ends[name] = source
            sock.sendto(name + HELLO, source)
        elif name in ends and dice.random() >= loss:
            at = time.monotonic() + dice.random() * jitter / 1000
            heapq.heappush(late, (at, dice.random(), data, ends[name]))


def exactly(sock, count):
    data = b""
    while len(data) < count:
        part = sock.recv(count - len(data))
        if not part:
            raise ConnectionError("closed")
        data += part
    return data


def carry(sock, peer, ends, all_of_them):
    try:
        first = exactly(sock, 4)
        if first == b"drop":
            line = b""
            while not line.endswith(b"\n"):
                line += exactly(sock, 1)
            all_of_them[line.decode().strip()].shutdown(socket.SHUT_RDWR)
            sock.sendall(b"done")
            return
        if first != b"\xee" * 4:
            return
        all_of_them["%s:%d" % peer] = sock
        while True:
            length, = struct.unpack("<I", exactly(sock, 4))
            if length > 4096:
                return
            data = exactly(sock, length)
            name = data[:16]
            if length == 20 and data[16:] == bytes(4):
                if name not in ends:
                    print("end", name.hex(), "%s:%d" % peer, flush=True)
                elif ends[name] is not sock:
                    print("again", name.hex(), "%s:%d" % peer, flush=True)
                ends[name] = sock
            elif name in ends:
                try:
                    ends[name].sendall(struct.pack("<I", length) + data)
                except OSError:
                    pass    # it may come back
    except (OSError, KeyError):
        pass
    finally:
        sock.close()


def serve_tcp(address):
    listener = socket.create_server(address)
    print("ready", flush=True)
    ends, all_of_them = {}, {}
    while True:
        sock, peer = listener.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=carry, args=(sock, peer, ends, all_of_them), daemon=True).start()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listen", required=True, metavar="IP:PORT")
    parser.add_argument("--tcp", action="store_true")
    parser.add_argument("--loss", type=float, default=0)
    parser.add_argument("--jitter", type=float, default=0)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    host, port = args.listen.rsplit(":", 1)
    if args.tcp:
        serve_tcp((host, int(port)))
    else:
        serve((host, int(port)), args.loss, args.jitter, random.Random(args.seed))


if __name__ == "__main__":
    main()
