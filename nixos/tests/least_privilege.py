"""A component's key publishes and reads its own subjects; the server refuses the others with an error."""

from typing import Any

STREAM = "EVENTS"
# By component, subjects of its own: one of its events, and one of its service.
OWN = {
    "information-units": ("cim.event.iu.created", "cim.service.iu.get"),
    "pipeline-engine": ("cim.event.pipeline.done", "cim.service.pipeline.run"),
}


def attempts(component: str) -> list[tuple[str, str, str]]:
    """Lists actions that a component must not be able to do: natscli's words, the server's word, the subject."""
    found = [
        ("pub '{}' hello", "Publish Violation", f"$JS.API.STREAM.DELETE.{STREAM}"),
        ("sub --count 1 '{}'", "Subscription Violation", ">"),
    ]
    for other, (event, service) in OWN.items():
        if other != component:
            found.append(("pub '{}' hello", "Publish Violation", event))
            found.append(("sub --count 1 '{}'", "Subscription Violation", event))
            found.append(("sub --count 1 '{}'", "Subscription Violation", service))
    return found


def run(machines: dict[str, Any], url: str, keys: str) -> None:
    host, operator = machines["host"], machines["operator"]
    for machine in (host, operator):
        machine.start()
    host.wait_for_unit("nats.service")
    host.wait_for_open_port(4222)
    operator.wait_for_unit("multi-user.target")

    def nats(user: str, words: str) -> str:
        return f"timeout 10 nats --server {url} --nkey {keys}/{user}.nk {words}"

    operator.succeed(nats("operator", f"stream add {STREAM} --subjects 'cim.event.>' --defaults"))
    for component, (event, _) in OWN.items():
        operator.succeed(nats(component, f"pub {event} hello"))
        for words, violation, subject in attempts(component):
            host.succeed("journalctl --rotate && journalctl --vacuum-time=1s")
            # The client's status is not checked: it does not always fail when the server refuses.
            operator.execute(nats(component, words.format(subject)))
            # The server's own message shows that the request was refused, and not only unanswered.
            host.wait_until_succeeds(
                f"journalctl --unit=nats --no-pager | grep -F '{violation}' | grep -F '\"{subject}\"'", timeout=30
            )

    # None of it has happened: the stream exists, and holds the messages of its owners.
    stream = operator.succeed(nats("operator", f"stream info {STREAM} --json | jq .state.messages"))
    assert int(stream) == len(OWN), f"the stream holds {stream.strip()} messages, not {len(OWN)}"

    # A key that the inventory does not name is refused, and so is no key.
    operator.succeed("nk -gen user >/tmp/stranger.nk")
    operator.fail(f"timeout 10 nats --server {url} --nkey /tmp/stranger.nk pub cim.event.iu.created hello")
    operator.fail(f"timeout 10 nats --server {url} pub cim.event.iu.created hello")
