#!/usr/bin/env bash
# A stream that was deleted is back with its messages when it is made anew, and cannot be restored.
#
# Run: nats-server 2.15.2 on loopback, nats-py 2.16.0: a stream is deleted, made again, and deleted
#   again at once; then it is made anew with other subjects, or restored from another's snapshot.
# Guess: a delete that is answered with `success: true` has taken the stream and its messages, also
#   for those who make a stream of this name. One that the server says it has just made
#   (`did_create`) is empty.
# Instead: what is deleted is put aside under one name for each stream, and removed behind the answer.
#   While the files of the first one still go, the second one cannot be put aside, and its messages
#   stay. The answer is `success: true`, no list has the stream, the log says nothing. The next one of
#   that name, seconds later too, begins with those messages, on subjects that it does not have. A
#   restore of a snapshot in its place ends with "expected sequence does not match store", and leaves
#   a stream with what was deleted. Memory streams are not concerned.
# Means: deleting twice in a row, as between two rehearsals of a restore, brings back what was meant
#   to be gone, and takes it into the archive of the new one. Count a stream when it is made, and
#   delete it once more if it is not empty; so too where a restore ends with that error.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"

go_program github.com/nats-io/nats-server/v2@v2.15.2
python_packages nats-py==2.16.0
"$work/bin/nats-server" --version
jetstream_server

"$python" - "$nats" "$work/jetstream" <<'PY'
import asyncio
import json
import pathlib
import sys
import time

import nats

CONSUMERS = 600


async def main():
    client = await nats.connect(sys.argv[1])

    async def ask(subject, body=None):
        payload = json.dumps(body).encode() if body else b""
        return json.loads((await client.request(f"$JS.API.{subject}", payload, timeout=20)).data)

    async def make(name, **more):
        answer = await ask(f"STREAM.CREATE.{name}", {"name": name, "subjects": [f"{name.lower()}.>"], **more})
        assert answer.get("did_create") is True, answer
        return answer["state"]["messages"]

    async def delete(name):
        assert (await ask(f"STREAM.DELETE.{name}"))["success"] is True

    async def settled():
        """Waits until the server has removed all that was put aside."""
        deadline = time.monotonic() + 60
        streams = next(pathlib.Path(sys.argv[2]).glob("jetstream/*/streams"))
        while any(not entry.name.isalpha() for entry in streams.iterdir()):
            assert time.monotonic() < deadline, [entry.name for entry in streams.iterdir()]
            await asyncio.sleep(0.05)

    async def snapshot(name):
        chunks, whole = [], asyncio.Event()

        async def keep(message):
            if message.data:
                chunks.append(message.data)
                if message.reply:
                    await message.respond(b"")
            else:
                whole.set()

        inbox = client.new_inbox()
        await client.subscribe(inbox, cb=keep)
        answer = await ask(f"STREAM.SNAPSHOT.{name}", {"deliver_subject": inbox})
        await asyncio.wait_for(whole.wait(), 20)
        return {"config": answer["config"], "state": answer["state"]}, chunks

    async def restore(name, begin, chunks):
        config = {**begin["config"], "name": name, "subjects": ["restored.>"]}
        begun = await ask(f"STREAM.RESTORE.{name}", {**begin, "config": config})
        assert "error" not in begun, begun
        for chunk in chunks + [b""]:
            answer = await client.request(begun["deliver_subject"], chunk, timeout=20)
        return json.loads(answer.data)

    async def twice(between):
        """Deletes a stream with many files, then one of its name with one message."""
        assert await make("DIARY") == 0
        for first in range(0, CONSUMERS, 100):
            names = [f"c{number}" for number in range(first, first + 100)]
            bodies = [{"stream_name": "DIARY", "config": {"durable_name": name, "ack_policy": "explicit"}} for name in names]
            made = [ask(f"CONSUMER.DURABLE.CREATE.DIARY.{n}", body) for n, body in zip(names, bodies)]
            assert not any("error" in answer for answer in await asyncio.gather(*made))
        await delete("DIARY")
        await between()
        assert await make("DIARY") == 0
        answer = json.loads((await client.request("diary.today", b"private", timeout=5)).data)
        assert answer["seq"] == 1, answer
        await delete("DIARY")
        await settled()
        assert "DIARY" not in ((await ask("STREAM.NAMES"))["streams"] or [])

    async def soon():
        pass

    async def until_back(attempt):
        """Repeats until what was deleted is back, for it is a race, if not a close one."""
        for _ in range(10):
            await twice(soon)
            seen = await attempt()
            if seen:
                return seen
            await delete("DIARY")
            await settled()
        sys.exit("the behaviour has changed")

    async def made_anew():
        messages = await make("DIARY", subjects=["notes.>"])
        return messages and (await ask("STREAM.MSG.GET.DIARY", {"seq": 1}))["message"]["subject"]

    async def restored():
        answer = await restore("DIARY", *other)
        return answer.get("error", {}).get("description")

    await make("OTHER")
    for _ in range(3):
        await client.request("other.x", b"other", timeout=5)
    other = await snapshot("OTHER")
    print("expected: a stream that is made after a delete is empty; one that is restored has 3 messages")
    subject = await until_back(made_anew)
    print("observed: made anew for `notes.>`, it begins with a message on", subject)
    await delete("DIARY")
    await settled()
    refused = await until_back(restored)
    left = (await ask("STREAM.MSG.GET.DIARY", {"seq": 1}))["message"]["subject"]
    print("observed: restored:", refused, "- and left is a stream with a message on", left)
    await delete("DIARY")
    await settled()
    answer = await restore("DIARY", *other)
    print("observed: deleted once more, then restored:", answer["state"]["messages"], "messages")
    await delete("DIARY")
    await twice(settled)
    waited = await make("DIARY")
    print("observed: with a pause between the two deletes:", waited, "messages in the one made anew")
    await client.close()
    assert subject == left == "diary.today", "another message came back"
    assert "expected sequence does not match store" in refused, "the restore is refused otherwise now"
    assert answer["state"]["messages"] == 3 and waited == 0, "the way out is none"


asyncio.run(main())
PY
