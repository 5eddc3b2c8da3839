#!/usr/bin/env bash
# Two streams that collect from the same sources hold 1 and 501 messages: one source cleared the other.
#
# Run: nats-server 2.15.2 on loopback, nats-py 2.16.0: two streams, a stream that sources both, and the
#   same with a transform; one source publishes a snapshot of itself with `Nats-Rollup: all`.
# Guess: the header takes away what is before it in the stream that it was published to. A stream
#   that collects keeps what came from elsewhere, and the header as one header more: nothing was
#   published there.
# Instead: where the one that collects allows rollups itself, as each KV bucket does, the copy clears
#   all of it: what the other source had brought is gone, below foreign subjects, behind a transform
#   and with `deny_delete` too (`deny_purge` cannot be had beside it). What comes before the copy is
#   chance: the same stream, made again from the same two, has all of the other's, or none.
# Means: a service that snapshots its own state empties the others' part of a collection, for good
#   where the others keep less. One that was archived and one that is sourced anew after a loss
#   differ, and neither is damaged. A stream that collects from several must not allow rollups: then
#   it keeps the copies, and the header in them.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"

go_program github.com/nats-io/nats-server/v2@v2.15.2
python_packages nats-py==2.16.0
"$work/bin/nats-server" --version
jetstream_server

"$python" - "$nats" <<'PY'
import asyncio
import json
import sys
import time

import nats

FROM_PLANTS = 500


async def main():
    client = await nats.connect(sys.argv[1])
    stream = client.jetstream()

    async def ask(subject, body=None):
        payload = json.dumps(body).encode() if body else b""
        answer = json.loads((await client.request(f"$JS.API.{subject}", payload, timeout=5)).data)
        assert "error" not in answer, answer
        return answer

    async def collect(name, rollups=True, **origin):
        sources = [{"name": "WATER", **origin}, {"name": "PLANTS"}]
        await ask(f"STREAM.CREATE.{name}", {"name": name, "sources": sources, "allow_rollup_hdrs": rollups})

    async def held(name, copies):
        """Returns what the stream has when so many messages were copied into it, by first token."""
        deadline = time.monotonic() + 20
        while True:
            state = (await ask(f"STREAM.INFO.{name}", {"subjects_filter": ">"}))["state"]
            if state["last_seq"] == copies:
                break
            assert time.monotonic() < deadline, f"{name} has copied {state['last_seq']} of {copies}"
            await asyncio.sleep(0.05)
        subjects = state["subjects"]
        return {first: sum(s.split(".")[0] == first for s in subjects) for first in sorted({s.split(".")[0] for s in subjects})}

    for name in ("WATER", "PLANTS"):
        await ask(f"STREAM.CREATE.{name}", {"name": name, "subjects": [f"{name.lower()}.>"], "allow_rollup_hdrs": True})
    await collect("ALL")
    transform = {"src": "water.>", "dest": "river.>"}
    await collect("RENAMED", subject_transforms=[transform])
    await collect("PLAIN", rollups=False)
    for number in range(FROM_PLANTS):
        await stream.publish(f"plants.{number}", b"green")
    await stream.publish("water.level", b"1")
    before = FROM_PLANTS + 1
    for name in ("ALL", "RENAMED", "PLAIN"):
        assert (await held(name, before))["plants"] == FROM_PLANTS
    await stream.publish("water.snapshot", b"level: 1", headers={"Nats-Rollup": "all"})

    print(f"expected: plants: {FROM_PLANTS} in each that collects, and water's snapshot")
    seen = {name: await held(name, before + 1) for name in ("ALL", "RENAMED", "PLAIN")}
    for name, has in seen.items():
        print(f"observed: {name}: {has}")
    again = set()
    for _ in range(30):
        await ask("STREAM.DELETE.ALL")
        await collect("ALL")
        again.add((await held("ALL", before)).get("plants", 0))
        if len(again) > 1:
            break
    print("observed: ALL, made again from the same two: plants:", " or ".join(map(str, sorted(again))))
    await client.close()
    assert seen["ALL"] == {"water": 1}, "the other source's messages stay now"
    assert seen["RENAMED"] == {"river": 1}, "behind a transform they stay now"
    assert seen["PLAIN"] == {"plants": FROM_PLANTS, "water": 2}, "without rollups it is otherwise now"
    assert len(again) > 1, "it is the same each time now"


asyncio.run(main())
PY
