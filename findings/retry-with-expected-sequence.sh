#!/usr/bin/env bash
# A retried publish is a duplicate on a replicated stream, and an error on one with a single replica.
#
# Run: nats-server 2.15.2, three of them as a cluster on loopback, nats-py 2.16.0 as a plain client.
# Guess: a publish with `Nats-Msg-Id` and `Nats-Expected-Last-Subject-Sequence` may be sent again
#   when its answer was lost. The first one was stored, so the second is answered with its sequence
#   and `duplicate: true`, whatever the number of replicas: that is what message ids are for, and
#   what nats-server 2.9 answers.
# Instead: with three replicas it is a duplicate. With one, on the same servers, the expected
#   sequence is looked at before the id: "wrong last sequence", error 10071, though the first one
#   was stored.
# Means: an event-sourced writer takes its own success for a lost race, reads its aggregate again
#   and decides anew, with a new id: the event is there twice. It shows only where R1 is used:
#   single hosts, tests, and a cluster that was restored as one server.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"

go_program github.com/nats-io/nats-server/v2@v2.15.2
python_packages nats-py==2.16.0
"$work/bin/nats-server" --version

mapfile -t ports < <(free_ports 6)
for node in 0 1 2; do
    cat >"$work/$node.conf" <<CONF
server_name: n$node
listen: "127.0.0.1:${ports[node]}"
jetstream { store_dir: "$work/store$node" }
cluster {
  name: finding
  listen: "127.0.0.1:${ports[node + 3]}"
  routes: ["nats://127.0.0.1:${ports[3]}", "nats://127.0.0.1:${ports[4]}", "nats://127.0.0.1:${ports[5]}"]
}
CONF
    start "$work/$node.log" "$work/bin/nats-server" -c "$work/$node.conf"
done
for node in 0 1 2; do
    until_ready grep -q "Server is ready" "$work/$node.log"
done

"$python" - "nats://127.0.0.1:${ports[0]}" <<'PY'
import asyncio
import json
import sys
import time

import nats
from nats.errors import NoRespondersError, TimeoutError


async def main():
    client = await nats.connect(sys.argv[1])

    async def ask(subject, body, headers=None):
        answer = await client.request(subject, body, timeout=2, headers=headers)
        return json.loads(answer.data)

    async def create(name, replicas):
        config = {"name": name, "subjects": [f"{name}.>"], "num_replicas": replicas}
        deadline = time.monotonic() + 30
        while True:
            try:
                answer = await ask(f"$JS.API.STREAM.CREATE.{name}", json.dumps(config).encode())
                if "error" not in answer:
                    return
            except (NoRespondersError, TimeoutError):
                answer = "no answer yet"
            if time.monotonic() > deadline:
                sys.exit(f"the cluster made no stream: {answer}")
            await asyncio.sleep(0.1)

    retries = {}
    for replicas in (3, 1):
        name = f"R{replicas}"
        await create(name, replicas)
        headers = {"Nats-Msg-Id": "order-1-placed", "Nats-Expected-Last-Subject-Sequence": "0"}
        first = await ask(f"{name}.order.1", b"placed", headers)
        assert first == {"stream": name, "seq": 1}, first
        retries[replicas] = await ask(f"{name}.order.1", b"placed", headers)
        by_id = await ask(f"{name}.order.1", b"placed", {"Nats-Msg-Id": "order-1-placed"})
        assert by_id["duplicate"] is True, by_id
    print("expected: the retry of a stored publish is answered with `duplicate: true`, on R3 and R1")
    print("observed: R3", retries[3])
    print("observed: R1", retries[1])
    await client.close()
    assert retries[3].get("duplicate") is True, "R3 answers otherwise now"
    assert retries[1].get("error", {}).get("err_code") == 10071, "R1 answers otherwise now"


asyncio.run(main())
PY
