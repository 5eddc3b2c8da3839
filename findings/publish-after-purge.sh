#!/usr/bin/env bash
# A purged message is acknowledged when it is published again, and is not stored.
#
# Run: nats-server 2.15.2 on loopback, nats-py 2.16.0 as a plain client.
# Guess: an answer to a publish with a stream, a sequence and no error says that the stream has the
#   message at that sequence. Duplicates are found to keep a message from being there twice; one
#   that was purged or deleted is not there at all, so the same publish stores it again.
# Instead: the id outlives its message for the whole duplicate window (two minutes by default).
#   The answer has the sequence of what is gone, and `duplicate: true`, which no client raises; the
#   stream stays empty. After a restart of the server the same publish is stored.
# Means: who empties a stream and plays an archive back into it with the ids of old loses, without
#   an error, what was published or played within the window. Counting answers proves nothing
#   then: count the stream, or play into one that was made anew.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"

go_program github.com/nats-io/nats-server/v2@v2.15.2
python_packages nats-py==2.16.0
"$work/bin/nats-server" --version

cat >"$work/play.py" <<'PY'
import asyncio
import sys

import nats

GONE = [f"event-{number}" for number in range(5)]


async def main(address, step):
    client = await nats.connect(address)
    stream = client.jetstream()
    if step == "before":
        await stream.add_stream(name="EVENTS", subjects=["events.>"])
        for event in GONE:
            await stream.publish("events.a", event.encode(), headers={"Nats-Msg-Id": event})
        await stream.purge_stream("EVENTS")
    answers = [
        await stream.publish("events.a", event.encode(), headers={"Nats-Msg-Id": event})
        for event in GONE
    ]
    kept = (await stream.stream_info("EVENTS")).state.messages
    print(f"observed: {step}: {len(answers)} acknowledged as sequences",
          [answer.seq for answer in answers], f"and no error; the stream has {kept}")
    await client.close()
    wanted = {"before": 0, "after a restart": 5}[step]
    assert kept == wanted, f"{kept} messages, not {wanted}: the behaviour has changed"


asyncio.run(main(sys.argv[1], sys.argv[2]))
PY

echo "expected: 5 purged events, published again, acknowledged: the stream has 5"
jetstream_server
"$python" "$work/play.py" "$nats" before
kill "${started[0]}"
wait "${started[0]}" || true
rm -f "$work"/nats-server_*.ports
jetstream_server
"$python" "$work/play.py" "$nats" "after a restart"
