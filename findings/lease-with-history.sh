#!/usr/bin/env bash
# A lease of two seconds lives an hour where its bucket keeps more than one revision of a key.
#
# Run: nats-server 2.15.2 on loopback, nats-py 2.16.0: two buckets with a limit marker of an hour that
#   differ in `history` alone, in each a key of two seconds.
# Guess: a key's own time holds, in both: history says how many revisions are kept, the limit marker
#   how long watchers may hear of the end. Client documentation says no more of either.
# Instead: where a subject may have more than one message, the server raises a shorter `Nats-TTL` to
#   the marker's time and rewrites the stored header. The publish is acknowledged, nothing warns, and
#   the key is there for 3600 s; with a history of 1 it is gone after two.
# Means: raising `history` to see who held a lock turns its two seconds into an hour for all leases
#   to come. The header that was sent is in no archive: what is restored lives as long again. Keep
#   leases in a bucket with a history of 1.
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
import time

import nats
from nats.js.api import KeyValueConfig
from nats.js.errors import KeyNotFoundError


async def main():
    client = await nats.connect(sys.argv[1])
    stream = client.jetstream()
    buckets, stored = {}, {}
    for history in (1, 2):
        config = KeyValueConfig(bucket=f"LEASES{history}", history=history, limit_marker_ttl=3600)
        buckets[history] = await stream.create_key_value(config)
    for history in (2, 1):
        await buckets[history].create("leader", b"me", msg_ttl=2)
        message = await stream.get_msg(f"KV_LEASES{history}", 1)
        stored[history] = message.headers["Nats-TTL"]

    # The key in the bucket with a history of 1 was made last: when it has gone, the other's time is over.
    begin = time.monotonic()
    while (await stream.stream_info("KV_LEASES1")).state.last_seq < 2:
        assert time.monotonic() - begin < 20, "the key with a history of 1 did not expire"
        await asyncio.sleep(0.05)
    try:
        other = (await buckets[2].get("leader")).value
    except KeyNotFoundError:
        other = None
    print("expected: both keys are gone after 2 s, and `Nats-TTL` is stored as it was sent")
    print("observed: history 1: gone; stored", stored[1])
    print("observed: history 2:", other, "is still there; stored", stored[2])
    await client.close()
    assert (other, stored[2]) == (b"me", "3600"), "the behaviour has changed"
    assert stored[1] != "3600", stored


asyncio.run(main())
PY
