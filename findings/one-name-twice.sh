#!/usr/bin/env bash
# An object store has two objects of one name, and each client finds, replaces and deletes only its own.
#
# Run: nats-server 2.15.2 on loopback, nats-py 2.16.0 and @nats-io/obj 3.4.0 on one bucket.
# Guess: an object's name is its key, for each client: what one puts the other one finds under the
#   same string, replaces, and deletes. The store has one object for each name.
# Instead: the name is in the subject as Base64, in Python of its UTF-8, in JavaScript of its Latin-1.
#   "Zürich" is two subjects: each has an object, the listing shows the name twice, and a delete by
#   one client leaves the other's object. A name beyond Latin-1 that Python has put is listed in
#   JavaScript, and to ask for it is an error. Plain ASCII is right, and hides it from tests.
# Means: a service that moves from one language to the other begins with nothing for names with an
#   umlaut, and what was deleted on request is still there, in the archive and in what is restored
#   from it. Give objects ASCII names; who looks for one in an archive goes by the `name` in the
#   messages on `$O.BUCKET.M.>`, not by their subjects.
set -euo pipefail
# shellcheck source=findings/lib.sh
source "$(dirname "$0")/lib.sh"

go_program github.com/nats-io/nats-server/v2@v2.15.2
python_packages nats-py==2.16.0
node_packages @nats-io/transport-node@3.4.0 @nats-io/jetstream@3.4.0 @nats-io/obj@3.4.0
"$work/bin/nats-server" --version
jetstream_server

cat >"$work/object.py" <<'PY'
import asyncio
import sys

import nats
from nats.js.errors import ObjectNotFoundError


async def main():
    address, verb, name, *content = sys.argv[1:]
    client = await nats.connect(address)
    bucket = await client.jetstream().object_store("CITIES")
    try:
        if verb == "put":
            await bucket.put(name, content[0].encode())
        elif verb == "delete":
            await bucket.delete(name)
        else:
            print((await bucket.get(name)).data.decode())
    except ObjectNotFoundError:
        print("not found")
    await client.close()


asyncio.run(main())
PY
cat >"$work/node/object.mjs" <<'JS'
import { connect } from "@nats-io/transport-node";
import { jetstream } from "@nats-io/jetstream";
import { Objm } from "@nats-io/obj";

const [address, verb, name, content] = process.argv.slice(2);
const client = await connect({ servers: address });
const bucket = await new Objm(jetstream(client)).create("CITIES");
if (verb === "put") {
  await bucket.putBlob({ name }, new TextEncoder().encode(content));
} else if (verb === "list") {
  console.log((await bucket.list()).map((info) => info.name).sort().join(" "));
} else {
  try {
    const got = await bucket.getBlob(name);
    console.log(got === null ? "not found" : new TextDecoder().decode(got));
  } catch (error) {
    console.log(error.name);
  }
}
await client.close();
JS
by_python() { "$python" "$work/object.py" "$nats" "$@" 2>/dev/null; }
by_node() { node "$work/node/object.mjs" "$nats" "$@"; }
observed() {
    printf 'observed: %s: %s\n' "$1" "$2"
    [ "$2" = "$3" ] || {
        printf 'the behaviour has changed: it was %s\n' "$3" >&2
        exit 1
    }
}

printf 'expected: one object for each name, the same one for both\n'
by_node put Bern "of Node"
observed "Bern of Node, by Python" "$(by_python get Bern)" "of Node"
by_python put Bern "of Python"
observed "Bern of Python, by Node" "$(by_node get Bern)" "of Python"
by_node put Zürich "of Node"
observed "Zürich of Node, by Python" "$(by_python get Zürich)" "not found"
by_python put Zürich "of Python"
observed "both put: by Node" "$(by_node get Zürich)" "of Node"
observed "both put: by Python" "$(by_python get Zürich)" "of Python"
observed "listed" "$(by_node list)" "Bern Zürich Zürich"
by_python delete Zürich
observed "deleted by Python: by Python" "$(by_python get Zürich)" "not found"
observed "deleted by Python: by Node" "$(by_node get Zürich)" "of Node"
by_python put 東京 "of Python"
observed "listed, with 東京 of Python" "$(by_node list)" "Bern Zürich 東京"
observed "東京, by Node" "$(by_node get 東京)" "InvalidCharacterError"
