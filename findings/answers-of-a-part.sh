#!/usr/bin/env bash
# A bucket loses keys for half of its reads as soon as something mirrors a part of it.
#
# Run: nats-server 2.15.2 on loopback, nats-py 2.16.0: a KV bucket of two keys, and a second stream
#   that mirrors one of them; then one that renames them, and one of everything.
# Guess: a mirror reads its origin and changes nothing for those who read the origin. Answering
#   direct gets in its origin's name is `mirror_direct`, which was not asked for.
# Instead: the server sets `mirror_direct` on each mirror of a stream with `allow_direct`, also where
#   it is sent as false, at creation and by an update. A direct get for the origin is answered by
#   either, by chance, and the mirror goes by what it has: "key not found" for what its filter leaves
#   out or another name hides, the new name by sequence, half of the keys for `multi_last` with the
#   usual end of batch, and what the origin has purged. `create` for such a key is refused.
# Means: a copy of some subjects, for an edge or an auditor, makes reads of the whole flicker. Who
#   takes a stream out by direct gets archives a part of it, without an error: read it by a consumer
#   or `STREAM.MSG.GET`. `sources` in place of the mirror answer for themselves alone.
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
from collections import Counter

import nats
from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError

TRIES = 60
KEY = "$KV.PLANTS."


async def main():
    client = await nats.connect(sys.argv[1])
    stream = client.jetstream()
    bucket = await stream.create_key_value(bucket="PLANTS", direct=True)
    await bucket.put("moss", b"green")
    await bucket.put("fern", b"tall")

    async def ask(subject, body=None):
        payload = json.dumps(body).encode() if body else b""
        answer = json.loads((await client.request(f"$JS.API.{subject}", payload, timeout=5)).data)
        assert "error" not in answer, answer
        return answer

    async def mirror(until, kind="mirror", **part):
        """Makes the second stream, and returns its configuration once it has what it will have."""
        origin = {"name": "KV_PLANTS", **part}
        body = {"name": "COPY", "mirror_direct": False, kind: origin if kind == "mirror" else [origin]}
        config = (await ask("STREAM.CREATE.COPY", body))["config"]
        deadline = time.monotonic() + 20
        while (await ask("STREAM.INFO.COPY"))["state"]["messages"] < until:
            assert time.monotonic() < deadline, "the mirror has not caught up"
            await asyncio.sleep(0.05)
        # It answers for its origin a moment after it has caught up.
        while config["mirror_direct"] and "COPY" not in [await by_sequence(1) for _ in range(20)]:
            assert time.monotonic() < deadline, "the mirror does not answer for its origin"
        return config

    async def direct(body):
        answer = await client.request("$JS.API.DIRECT.GET.KV_PLANTS", json.dumps(body).encode(), timeout=5)
        return answer.headers

    async def by_sequence(sequence):
        return (await direct({"seq": sequence})).get("Nats-Stream", "not found")

    async def subject(sequence):
        return (await direct({"seq": sequence})).get("Nats-Subject", "not found")

    async def got(key):
        try:
            return (await bucket.get(key)).value.decode()
        except KeyNotFoundError:
            return "not found"

    async def listed():
        inbox = client.new_inbox()
        answers = await client.subscribe(inbox)
        body = json.dumps({"multi_last": [f"{KEY}>"]}).encode()
        await client.publish("$JS.API.DIRECT.GET.KV_PLANTS", body, reply=inbox)
        keys = []
        while (answer := await answers.next_msg(timeout=5)).data:
            keys.append(answer.headers["Nats-Subject"].removeprefix(KEY))
        assert answer.headers["Status"] == "204", answer.headers
        await answers.unsubscribe()
        return " ".join(keys)

    async def often(question, *about):
        return dict(Counter([await question(*about) for _ in range(TRIES)]))

    print("expected: one answer to a question, with a mirror and without")
    assert await often(got, "fern") == {"tall": TRIES}
    config = await mirror(1, filter_subject=f"{KEY}moss")
    again = (await ask("STREAM.UPDATE.COPY", {**config, "mirror_direct": False}))["config"]
    fern, keys = await often(got, "fern"), await often(listed)
    print(f"observed: mirror_direct: {config['mirror_direct']}, after an update to false: {again['mirror_direct']}")
    print("observed: a part: fern:", fern, "- listed:", keys)
    try:
        await bucket.create("fern", b"new")
        refused = False
    except (KeyWrongLastSequenceError, KeyNotFoundError):
        refused = True
    print("observed: a part: fern can be created:", not refused)
    await ask("STREAM.DELETE.COPY")
    assert await often(got, "fern") == {"tall": TRIES}, "it stays so without the mirror"

    transform = {"src": f"{KEY}>", "dest": "flora.>"}
    await mirror(2, subject_transforms=[transform])
    renamed, by_name = await often(subject, 2), await often(got, "fern")
    print("observed: renamed: subject of 2:", renamed, "- fern:", by_name)
    await ask("STREAM.DELETE.COPY")

    await mirror(2)
    await ask("STREAM.PURGE.KV_PLANTS", {"filter": f"{KEY}fern"})
    purged = await often(got, "fern")
    print("observed: a whole mirror: fern, purged from its origin:", purged)
    await ask("STREAM.DELETE.COPY")

    await bucket.put("fern", b"tall")
    await mirror(1, kind="sources", filter_subject=f"{KEY}moss")
    sourced = await often(got, "fern")
    print("observed: `sources` in place of the mirror: fern:", sourced)
    await client.close()
    assert config["mirror_direct"] is True and again["mirror_direct"] is True, "it can be set to false now"
    assert fern.keys() == {"tall", "not found"}, "a part answers otherwise now"
    assert keys.keys() == {"moss", "moss fern"} and refused, "a part is listed otherwise now"
    assert renamed.keys() == {f"{KEY}fern", "flora.fern"}, "a renamed one answers otherwise now"
    assert by_name.keys() == {"tall", "not found"}, "a renamed one answers otherwise now"
    assert purged.keys() == {"tall", "not found"}, "what was purged is gone now"
    assert sourced == {"tall": TRIES}, "sources answer for their origin"


asyncio.run(main())
PY
