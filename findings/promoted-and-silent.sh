#!/usr/bin/env bash
# A mirror that took its origin's place never sends what was scheduled, unless a lease lies beside it.
#
# Run: nats-server 2.15.2 on loopback, nats-py 2.16.0: two streams with a scheduled message, in one of
#   them also a message with a time to live; mirrors of both that are promoted before either is due,
#   and a message scheduled there anew; then a clean restart of the server.
# Guess: a mirror has each message with its headers, and a promoted one, with the features of its
#   origin turned on by the same update, goes on for it: what falls due after that is sent.
# Instead: the update looks for schedules only in files of which it is noted that they have any, and
#   in a mirror, which must not have schedules, that is never noted. What was pending is not sent, with
#   no error and no line in the log, and not after a restart either. Ends of messages are noted, and
#   where one is in the same file, the schedule is found along with it, and sent. What is published
#   after the promotion works in both.
# Means: failing over to a mirror loses reminders, retries and payments that were pending, and a test
#   with a lease beside them passes. Publish what is on the subjects of schedules again. A stream that
#   is restored from an archive is read anew, and sends what is due.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"

go_program github.com/nats-io/nats-server/v2@v2.15.2
python_packages nats-py==2.16.0
"$work/bin/nats-server" --version
jetstream_server

cat >"$work/promote.py" <<'PY'
import asyncio
import datetime
import json
import sys
import time

import nats

FEATURES = {"allow_msg_schedules": True, "allow_msg_ttl": True, "allow_rollup_hdrs": True}


async def main():
    address, act = sys.argv[1:]
    client = await nats.connect(address)
    stream = client.jetstream()

    async def ask(subject, body=None):
        payload = json.dumps(body).encode() if body else b""
        answer = json.loads((await client.request(f"$JS.API.{subject}", payload, timeout=5)).data)
        assert "error" not in answer, answer
        return answer

    async def schedule(name, which, seconds):
        due = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
        at = due.strftime("@at %Y-%m-%dT%H:%M:%SZ")
        headers = {"Nats-Schedule": at, "Nats-Schedule-Target": f"{name}.sent.{which}"}
        await stream.publish(f"{name}.scheduled.{which}", b"remind", headers=headers)

    async def subjects(name):
        state = (await ask(f"STREAM.INFO.{name}", {"subjects_filter": ">"}))["state"]
        return sorted(subject.removeprefix(f"{name}.") for subject in state.get("subjects") or ())

    async def until(name, has):
        deadline = time.monotonic() + 25
        while (seen := await subjects(name)) != has:
            assert time.monotonic() < deadline, f"the behaviour has changed: {name}: {seen}"
            await asyncio.sleep(0.1)

    async def promoted(name, lease):
        origin = f"{name}-origin"
        await ask(f"STREAM.CREATE.{origin}", {"name": origin, "subjects": [f"{name}.>"], **FEATURES})
        await ask(f"STREAM.CREATE.{name}", {"name": name, "mirror": {"name": origin}})
        begun = time.monotonic()
        if lease:
            await stream.publish(f"{name}.lease", b"mine", headers={"Nats-TTL": "8s"})
        await schedule(name, "old", 8)
        await until(name, ["lease"] * lease + ["scheduled.old"])
        await ask(f"STREAM.DELETE.{origin}")
        config = (await ask(f"STREAM.INFO.{name}"))["config"]
        del config["mirror"]
        await ask(f"STREAM.UPDATE.{name}", {**config, "subjects": [f"{name}.>"], **FEATURES})
        assert time.monotonic() - begun < 6, "too slow a machine: it was due before the promotion"
        await schedule(name, "new", 8)

    if act == "promote":
        await promoted("alone", lease=False)
        await promoted("beside", lease=True)
    print("expected: sent.new sent.old, for both")
    # The new ones are due after the old ones.
    await until("beside", ["sent.new", "sent.old"])
    await until("alone", ["scheduled.old", "sent.new"])
    await asyncio.sleep(2)
    for name in ("alone", "beside"):
        print(f"observed: {name}:", *await subjects(name))
    await until("alone", ["scheduled.old", "sent.new"])
    await client.close()


asyncio.run(main())
PY
"$python" "$work/promote.py" "$nats" promote
kill "${started[-1]}"
wait "${started[-1]}" || true
unset "started[-1]"
printf 'restarted\n'
jetstream_server
"$python" "$work/promote.py" "$nats" look
