"""Events survive a change of the host's configuration and its way back, and neither stalls."""

import json
import time
from typing import Any

STREAM = "EVENTS"
EVENTS = 500
# Stopping NATS in lame duck mode would take half a minute and more.
SWITCH_SECONDS = 60


def run(machines: dict[str, Any], url: str, keys: str, before: int, after: int) -> None:
    host, operator = machines["host"], machines["operator"]
    for machine in (host, operator):
        machine.start()
    host.wait_for_unit("multi-user.target")
    host.wait_for_open_port(4222)
    operator.wait_for_unit("multi-user.target")
    nats = f"nats --server {url} --nkey {keys}/operator.nk"

    def holds(events: int) -> None:
        """Waits until the stream holds so many messages, and fails if it holds more."""
        operator.wait_until_succeeds(
            f"test $({nats} stream info {STREAM} --json | jq .state.messages) = {events}", timeout=60
        )

    def publish(events: int) -> None:
        operator.succeed(f"{nats} pub cim.event.lab 'event {{{{Count}}}}' --count {EVENTS}")
        holds(events)

    def switch(system: str, limit: int) -> None:
        began = time.monotonic()
        host.succeed(f"{system}/bin/switch-to-configuration test")
        host.wait_for_open_port(4222)
        seconds = time.monotonic() - began
        assert seconds < SWITCH_SECONDS, f"the switch took {seconds:.0f} s"
        # A server's greeting to every client, before any request.
        greeting = host.succeed("timeout 10 bash -c 'exec 3<>/dev/tcp/127.0.0.1/4222; head -n 1 <&3'")
        found = json.loads(greeting.removeprefix("INFO "))["max_payload"]
        assert found == limit, f"NATS takes messages of {found} bytes, not {limit}"

    first = host.succeed("readlink -f /run/current-system").strip()
    operator.succeed(f"{nats} stream add {STREAM} --subjects 'cim.event.>' --defaults")
    publish(EVENTS)

    switch(f"{first}/specialisation/next", after)
    holds(EVENTS)
    publish(2 * EVENTS)

    switch(first, before)
    holds(2 * EVENTS)
    publish(3 * EVENTS)

    failed = host.succeed("systemctl --failed --plain --no-legend")
    assert failed.strip() == "", f"units failed:\n{failed}"
