#!/usr/bin/env bash
# A lease that expired is still there for nats-py's `get`, and can never be taken again from Python.
#
# Run: nats-server 2.15.2, nats-py 2.16.0 and @nats-io/kv 3.4.0 on one bucket with a limit marker of
#   an hour and a key of one second.
# Guess: when the key's time is over, `get` says that there is no such key and `create` takes it, in
#   each client, as after a delete: the marker that the server writes (`Nats-Marker-Reason: MaxAge`)
#   is nats-py's own watch's PURGE.
# Instead: nats-py's `get` looks for `KV-Operation` alone and returns an entry without a value and
#   without an operation; `create` fails with "wrong last sequence" for as long as the marker lives.
#   Its `keys` and `history` know better. In @nats-io/kv `get` and `create` are right, and `keys`
#   lists the expired key. So each client contradicts itself, and they contradict each other.
# Means: a leader election or lock in Python stays locked for the marker's hour after its holder
#   died, without a holder. A bucket that comes back from an archive or a mirror brings its markers
#   along, and so does this.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"

go_program github.com/nats-io/nats-server/v2@v2.15.2
python_packages nats-py==2.16.0
node_packages @nats-io/transport-node@3.4.0 @nats-io/jetstream@3.4.0 @nats-io/kv@3.4.0
"$work/bin/nats-server" --version
jetstream_server

"$python" - "$nats" <<'PY'
import asyncio
import sys
import time

import nats
from nats.js.api import KeyValueConfig
from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError, NoKeysError


async def main():
    client = await nats.connect(sys.argv[1])
    stream = client.jetstream()
    config = KeyValueConfig(bucket="LEASES", limit_marker_ttl=3600)
    bucket = await stream.create_key_value(config)
    await bucket.create("leader", b"me", msg_ttl=1)
    deadline = time.monotonic() + 20
    while (await stream.stream_info("KV_LEASES")).state.last_seq < 2:
        assert time.monotonic() < deadline, "no marker was written"
        await asyncio.sleep(0.05)

    print("expected: no client finds the key or lists it; each can create it again")
    try:
        await bucket.keys()
        listed = True
    except NoKeysError:
        listed = False
    operations = [entry.operation for entry in await bucket.history("leader")]
    try:
        got = await bucket.get("leader")
        got = f"an entry, value {got.value}, operation {got.operation}, revision {got.revision}"
    except KeyNotFoundError:
        got = "not found"
    try:
        taken = f"created at {await bucket.create('leader', b'other')}"
    except KeyWrongLastSequenceError as error:
        taken = f"refused: {error.description}"
    print(f"observed: nats-py: listed: {listed}; history: {operations}; get: {got}; create: {taken}")
    await client.close()
    assert (listed, operations) == (False, ["PURGE"]), "keys or history see it otherwise now"
    assert got == "an entry, value None, operation None, revision 2", "get sees it otherwise now"
    assert taken.startswith("refused"), "create takes it now"


asyncio.run(main())
PY

cat >"$work/node/lease.mjs" <<'JS'
import { connect } from "@nats-io/transport-node";
import { jetstream } from "@nats-io/jetstream";
import { Kvm } from "@nats-io/kv";
import assert from "node:assert";

const client = await connect({ servers: process.argv[2] });
const bucket = await new Kvm(jetstream(client)).open("LEASES");
const keys = [];
for await (const key of await bucket.keys()) keys.push(key);
const entry = await bucket.get("leader");
const revision = await bucket.create("leader", "other");
console.log(`observed: @nats-io/kv: listed: ${keys.length > 0}; get: ${entry?.operation}; create: created at ${revision}`);
await client.close();
assert.deepEqual([keys, entry.operation, revision], [["leader"], "PURGE", 3], "the behaviour has changed");
JS
node "$work/node/lease.mjs" "$nats"
