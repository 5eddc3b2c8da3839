#!/usr/bin/env bash
# nats-py reads one message's headers differently by subscription and by sequence.
#
# Run: nats-server 2.15.2 on loopback; three messages with headers that the protocol allows; nats-py
#   2.16.0 reads each by subscription, by direct get, and by `get_msg`, which needs no direct get.
# Guess: the same bytes give the same strings, whichever way they come: headers are text in UTF-8.
# Instead: `get_msg` parses them with Python's parser for mail. A value beyond ASCII is an
#   `email.header.Header`, equal to no string, and its `str` has lost the letters; spaces at the end
#   stay, that the others take away. A name that is there twice has its last value only, by each way.
# Means: who copies or compares messages by sequence with nats-py (to rebuild a stream, to check an
#   archive) writes other headers than there were, and signatures over headers break. Ask with
#   `direct=True`, or read `hdrs` from the API's answer.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"

go_program github.com/nats-io/nats-server/v2@v2.15.2
python_packages nats-py==2.16.0
"$work/bin/nats-server" --version
jetstream_server

"$python" - "$nats" <<'PY'
import asyncio
import sys

import nats

BLOCKS = {
    "beyond ASCII": "Name: Z\u00fcrich\r\n",
    "spaces at the end": "Name: Bern  \r\n",
    "twice": "Name: one\r\nName: two\r\n",
}


async def publish(address):
    """Publishes each block as it is, by the protocol: a client would rewrite it."""
    host, port = address.removeprefix("nats://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b'CONNECT {"verbose":false,"headers":true}\r\n')
    for number, block in enumerate(BLOCKS.values()):
        header = b"NATS/1.0\r\n" + block.encode() + b"\r\n"
        size = len(header)
        writer.write(f"HPUB cities.{number} {size} {size}\r\n".encode() + header + b"\r\n")
    writer.write(b"PING\r\n")
    while not (await reader.readline()).startswith(b"PONG"):
        pass
    writer.close()
    await writer.wait_closed()


def plain(headers):
    """Returns the headers that were sent; a direct get adds its own."""
    return headers and {name: value for name, value in headers.items() if not name.startswith("Nats-")}


async def main():
    client = await nats.connect(sys.argv[1])
    stream = client.jetstream()
    await stream.add_stream(name="CITIES", subjects=["cities.*"], allow_direct=True)
    await publish(sys.argv[1])
    subscription = await stream.subscribe("cities.*")
    seen = {}
    for sequence, what in enumerate(BLOCKS, 1):
        message = await subscription.next_msg(timeout=10)
        direct = await stream.get_msg("CITIES", sequence, direct=True)
        by_api = await stream.get_msg("CITIES", sequence)
        seen[what] = [plain(message.headers), plain(direct.headers), plain(by_api.headers)]
    await client.close()

    print("expected: each message has the same headers by subscription, direct get and get_msg")
    for what, headers in seen.items():
        print(f"observed: {what}:", *[f"{type(one['Name']).__name__} {str(one['Name'])!r}" for one in headers], sep="  ")
    for subscribed, direct, _ in seen.values():
        assert subscribed == direct, "subscription and direct get differ now"
    value = seen["beyond ASCII"][2]["Name"]
    assert type(value).__name__ == "Header" and str(value) != "Z\u00fcrich", "read as text now"
    assert seen["spaces at the end"][1:] == [{"Name": "Bern"}, {"Name": "Bern  "}]
    assert seen["twice"] == [{"Name": "two"}] * 3


asyncio.run(main())
PY
