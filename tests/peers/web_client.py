#!/usr/bin/env python3
"""Lets a media peer restart ICE, as the web clients of Telegram do and ntgcalls never does.

    web_client.py -- python ntgcalls_peer.py run --role callee --wait-call ...

Stands between a call and its peer program, whose line protocol it speaks on both sides, and adds a command:

    {"cmd": "restart_ice"}

The peer goes on with its DTLS, its SRTP, its audio and its offers, and notices nothing; all of these are libwebrtc's. Towards the
other end of the call this program has

* sockets of its own, one for each address of the peer, and hands packets on between them and the peer;
* its own acknowledged signalling (framing A: versions 8.0.0 and 9.0.0), in which it changes addresses and ICE credentials;
* its own ICE credentials after a restart: it signs connectivity checks anew in both directions.

A restart is what a web client does in another network: the old sockets are closed, an InitialSetup says new credentials and the old
fingerprint, Candidates says where the new sockets are, and a NegotiateChannels is an offer with the peer's stream, the answer to
which is kept from the peer. From then on nothing gets through by the old addresses, and no check with the old credentials does.

On standard output there are the peer's lines and, of ours,

    {"event": "ice_restart", "n": 1}
    {"event": "answered", "n": 1}              the offer of the restart was answered
    {"event": "first", "n": 1, "way": "in", "ms": 80}    so long after the restart the first packet of media went this way by these sockets
    {"event": "carried", "n": 1}               50 packets of media went each way by these sockets; once a round
    {"event": "paths", "packets": [{"in", "out", "refused"}, ...]}     at the end, for each round of sockets
"""

import asyncio
import hashlib
import hmac
import ipaddress
import json
import os
import random
import re
import secrets
import struct
import sys
import time
import traceback
import zlib

from ntgcalls_peer import _aes_key_iv, decrypt_signaling, parse_acked_packet

MAGIC = 0x2112A442
USERNAME, INTEGRITY, MAPPED, FINGERPRINT = 0x0006, 0x0008, 0x0020, 0x8028
NEEDS_ACK, COUNTER = 0x40000000, 0x3FFFFFFF
ENOUGH = 50


def out(line):
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def say(event, **fields):
    out(json.dumps({"event": event, **fields}))


# -- signalling ----------------------------------------------------------------------------------------------------


class Framing:
    """One end of framing A, over a channel that loses nothing for long: what is not acknowledged goes along with the next."""

    def __init__(self, key, is_caller, send):
        self.key, self.is_caller, self.send_packet = key, is_caller, send
        self.counter, self.unacked, self.delivered = 0, {}, set()

    def _emit(self, parts):
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
        plain = b"".join(parts)
        x = 128 if self.is_caller else 136
        msg_key = hashlib.sha256(self.key[88 + x : 120 + x] + plain).digest()[8:24]
        aes_key, iv = _aes_key_iv(self.key, msg_key, x)
        cipher = Cipher(algorithms.AES(aes_key), modes.CTR(iv)).encryptor()
        self.send_packet(msg_key + cipher.update(plain) + cipher.finalize())

    def _next(self):
        self.counter = (self.counter + 1) & COUNTER
        return self.counter

    def send(self, message):
        text = json.dumps(message, separators=(",", ":")).encode()
        seq = self._next() | NEEDS_ACK
        body = struct.pack(">IBI", seq, 0x7F, len(text)) + text
        if self.unacked:
            self.unacked[seq] = body
            self._emit([struct.pack(">IB", self._next(), 0xFE), *self.unacked.values()])
        else:
            self.unacked[seq] = body
            self._emit([body])

    def receive(self, packet):
        """The new messages of a packet."""
        plain = decrypt_signaling(self.key, packet, not self.is_caller)
        new, acks = [], []
        for message in parse_acked_packet(plain):
            seq = message["counter"] | (NEEDS_ACK if message["needs_ack"] else 0)
            if message["type"] == "ack":
                self.unacked.pop(seq, None)
            elif message["type"] == "message":
                if message["needs_ack"]:
                    acks.append(struct.pack(">IB", seq, 0xFF))
                if message["counter"] not in self.delivered:
                    self.delivered.add(message["counter"])
                    new.append(message["json"])
        if acks:
            self._emit([struct.pack(">IB", self._next(), 0xFE), *acks])
        return new


# -- connectivity checks -------------------------------------------------------------------------------------------


def is_stun(data):
    return len(data) >= 20 and data[0] < 4 and struct.unpack_from(">I", data, 4)[0] == MAGIC


def attributes(data):
    found, at = [], 20
    while at + 4 <= len(data):
        kind, length = struct.unpack_from(">HH", data, at)
        found.append((kind, data[at + 4 : at + 4 + length]))
        at += 4 + (length + 3 & ~3)
    return found


def signature(head, body, password):
    """MESSAGE-INTEGRITY of a message whose attributes so far are `body` (RFC 8489 section 14.5)."""
    head = head[:2] + struct.pack(">H", len(body) + 24) + head[4:]
    return hmac.new(password.encode(), head + body, hashlib.sha1).digest()


def padded(kind, value):
    return struct.pack(">HH", kind, len(value)) + value + bytes(-len(value) % 4)


def checked(data, password):
    """The attributes before MESSAGE-INTEGRITY, if it is right by this password."""
    body = b""
    before = []
    for kind, value in attributes(data):
        if kind == INTEGRITY:
            return before if hmac.compare_digest(signature(data[:20], body, password), value) else None
        before.append((kind, value))
        at = 20 + len(body)
        body += data[at : at + 4 + (len(value) + 3 & ~3)]
    return None


def signed(data, found, password, username, mapped):
    """The same message with another user name, another mapped address, and a signature by this password."""
    body = b""
    for kind, value in found:
        if kind == USERNAME and username:
            value = username.encode()
        elif kind == MAPPED:
            host = int(ipaddress.IPv4Address(mapped[0]))
            value = struct.pack(">BBHI", 0, 1, mapped[1] ^ (MAGIC >> 16), host ^ MAGIC)
        body += padded(kind, value)
    head = data[:20]
    body += padded(INTEGRITY, signature(head, body, password))
    head = head[:2] + struct.pack(">H", len(body) + 8) + head[4:]
    crc = zlib.crc32(head + body) ^ 0x5354554E
    return head + body + padded(FINGERPRINT, struct.pack(">I", crc))


# -- the path of packets -------------------------------------------------------------------------------------------


class Socket(asyncio.DatagramProtocol):
    def __init__(self, take):
        self.take = take

    def connection_made(self, transport):
        self.transport = transport
        self.address = transport.get_extra_info("sockname")

    def datagram_received(self, data, addr):
        self.take(data, addr)

    def error_received(self, exc):
        pass


async def open_socket(host, take):
    loop = asyncio.get_running_loop()
    _, sock = await loop.create_datagram_endpoint(lambda: Socket(take), local_addr=(host, 0))
    return sock


class WebClient:
    def __init__(self, is_caller, child):
        self.is_caller, self.child = is_caller, child
        self.wire = self.peer = None            # framings: towards the call, towards the peer program
        self.packets = asyncio.Queue()          # what comes, in order
        self.inner = None                       # where the peer sends for the other end
        self.outer = {}                         # the peer's address -> our socket that stands for it
        self.there = None                       # the other end's address
        self.setup = None                       # the peer's InitialSetup
        self.shown = None                       # what of it the other end was told last: (ufrag, pwd)
        self.other = None                       # the other end's (ufrag, pwd)
        self.offer = None                       # the peer's, with its stream
        self.own_offers, self.other_offers = set(), set()
        self.lines = {}                         # candidate lines by the peer's address
        self.round, self.paths = 0, [{"in": 0, "out": 0, "refused": 0, "said": False}]

    # -- signalling

    def begin(self, call):
        key = bytes.fromhex(call["key"])
        if not set(call["versions"]) <= {"8.0.0", "9.0.0"}:
            raise SystemExit("only framing A: versions 8.0.0 and 9.0.0, not %s" % call["versions"])
        self.wire = Framing(key, self.is_caller, lambda p: say("signaling", hex=p.hex()))
        self.peer = Framing(key, not self.is_caller,
                            lambda p: self.child(cmd="signaling", hex=p.hex()))

    async def from_peer(self, packet):
        for message in self.peer.receive(packet):
            kind = message.get("@type")
            if kind == "InitialSetup":
                self.setup, self.shown = message, (message["ufrag"], message["pwd"])
            elif kind == "Candidates":
                message = await self.own_candidates(message)
                if message is None:
                    continue
            elif kind == "NegotiateChannels":
                if message["exchangeId"] not in self.other_offers:
                    self.offer = message
            self.wire.send(message)

    async def from_wire(self, packet):
        for message in self.wire.receive(packet):
            kind = message.get("@type")
            if kind == "InitialSetup":
                self.other = (message["ufrag"], message["pwd"])
            elif kind == "Candidates":
                message = await self.other_candidates(message)
                if message is None:
                    continue
            elif kind == "NegotiateChannels":
                if message["exchangeId"] in self.own_offers:
                    say("answered", n=self.round)
                    continue
                self.other_offers.add(message["exchangeId"])
            self.peer.send(message)

    async def own_candidates(self, message):
        lines = []
        for candidate in message["candidates"]:
            words = candidate["sdpString"].split()
            if words[2].lower() != "udp" or words[7] != "host" or ":" in words[4]:
                continue
            address = (words[4], int(words[5]))
            if address not in self.outer:
                self.lines[address] = candidate["sdpString"]
                self.outer[address] = await self.stand_in(address)
            lines.append(self.told(address))
        return {"@type": "Candidates", "candidates": lines} if lines else None

    async def stand_in(self, address):
        n = self.round
        return await open_socket(address[0], lambda data, source: self.inward(n, address, data, source))

    def told(self, address):
        words = self.lines[address].split()
        words[5] = str(self.outer[address].address[1])
        line = " ".join(words)
        if self.round:      # candidates may come before the InitialSetup that they belong to
            line = re.sub(r"ufrag \S+", "ufrag " + self.shown[0], line)
        return {"sdpString": line}

    async def other_candidates(self, message):
        lines = []
        for candidate in message["candidates"]:
            words = candidate["sdpString"].split()
            if words[2].lower() != "udp" or words[7] != "host" or ":" in words[4]:
                continue
            self.there = (words[4], int(words[5]))
            if self.inner is None:
                self.inner = await open_socket(words[4], self.outward)
            words[5] = str(self.inner.address[1])
            lines.append({"sdpString": " ".join(words)})
        return {"@type": "Candidates", "candidates": lines} if lines else None

    async def restart(self):
        self.round += 1
        self.begun = time.monotonic()
        self.paths.append({"in": 0, "out": 0, "refused": 0, "said": False})
        old, self.outer = self.outer, {}
        for address, sock in old.items():
            sock.transport.close()
            self.outer[address] = await self.stand_in(address)
        self.shown = (secrets.token_hex(2), secrets.token_hex(12))
        self.wire.send(dict(self.setup, ufrag=self.shown[0], pwd=self.shown[1]))
        self.wire.send({"@type": "Candidates", "candidates": [self.told(a) for a in self.outer]})
        exchange = str(random.getrandbits(32))
        self.own_offers.add(exchange)
        self.wire.send(dict(self.offer, exchangeId=exchange))
        say("ice_restart", n=self.round)

    # -- packets

    def outward(self, data, source):
        """The peer sends to the other end."""
        sock = self.outer.get(source)
        if sock is None or self.there is None:
            return
        if is_stun(data):
            data = self.turned(data, (self.setup["ufrag"], self.setup["pwd"]), self.other, self.shown[0],
                               self.there, None)
        else:
            self.count("out")
        if data is not None:
            sock.transport.sendto(data, self.there)

    def inward(self, n, address, data, source):
        """The other end sends to the peer."""
        if n != self.round or source != self.there:
            return
        if is_stun(data):
            own = (self.setup["ufrag"], self.setup["pwd"])
            data = self.turned(data, self.other, self.shown, None, address, own)
            if data is None:
                self.paths[n]["refused"] += 1
                return
        else:
            self.count("in")
        self.inner.transport.sendto(data, address)

    def count(self, way):
        """A packet of media went this way; said once for each round that had enough of them both ways."""
        path = self.paths[self.round]
        path[way] += 1
        if path[way] == 1 and self.round:
            say("first", n=self.round, way=way, ms=round((time.monotonic() - self.begun) * 1000))
        if path["in"] >= ENOUGH and path["out"] >= ENOUGH and not path["said"]:
            path["said"] = True
            say("carried", n=self.round)

    def turned(self, data, sender, receiver, shown, mapped, own):
        """A check as the far side of this program must see it; `None` when its signature is wrong.

        A request is signed by its receiver's password, a response by its sender's."""
        kind = struct.unpack_from(">H", data)[0]
        is_request, is_response = kind == 0x0001, kind in (0x0101, 0x0111)
        if sender is None or receiver is None or not (is_request or is_response):
            return data
        if own is None:                 # from the peer, which knows only its own credentials
            before = checked(data, receiver[1] if is_request else sender[1])
            if before is None:
                return None
            name = "%s:%s" % (receiver[0], shown) if is_request else None
            return signed(data, before, receiver[1] if is_request else self.shown[1], name, mapped)
        before = checked(data, receiver[1] if is_request else sender[1])
        if before is None or is_request and not dict(before)[USERNAME].decode().startswith(
                receiver[0] + ":"):
            return None
        name = "%s:%s" % (own[0], sender[0]) if is_request else None
        return signed(data, before, own[1] if is_request else sender[1], name, mapped)


# -- the program ---------------------------------------------------------------------------------------------------


async def main(command):
    role = command[command.index("--role") + 1]
    proc = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=1 << 20)

    def child(**message):
        if not proc.stdin.is_closing():
            proc.stdin.write(json.dumps(message).encode() + b"\n")

    web = WebClient(role == "caller", child)
    loop = asyncio.get_running_loop()
    stdin = asyncio.StreamReader(limit=1 << 20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)

    async def from_call():
        async for line in stdin:
            message = json.loads(line)
            if message["cmd"] == "signaling":
                await web.from_wire(bytes.fromhex(message["hex"]))
            elif message["cmd"] == "restart_ice":
                await web.restart()
            else:
                if message["cmd"] == "call":
                    web.begin(message)
                child(**message)
        proc.stdin.close()

    reading = asyncio.ensure_future(from_call())

    def broken(task):
        if not task.cancelled() and task.exception():
            traceback.print_exception(task.exception())
            os._exit(70)

    reading.add_done_callback(broken)
    async for line in proc.stdout:
        event = json.loads(line)
        if event.get("event") == "signaling":
            await web.from_peer(bytes.fromhex(event["hex"]))
            continue
        if event.get("event") == "result":
            say("paths", packets=web.paths)
        out(line.decode().rstrip())
    reading.cancel()
    return await proc.wait()


if __name__ == "__main__":
    if "--" not in sys.argv:
        raise SystemExit(__doc__)
    sys.exit(asyncio.run(main(sys.argv[sys.argv.index("--") + 1:])))
