"""NATS as its users see it: `nats` with a lab's keys, from the operator, over the LAN."""

import os
import shutil
import subprocess

from .checking import Skipped, expect
from .lab import ROOT, Lab

# What a user's answers come to, where it is not the client's default.
INBOXES = {"information-units": "_INBOX_iu", "storage-manager": "_INBOX_storage"}
OWN = "cim.event.iu.checked"
OTHERS = ["cim.event.pipeline.checked", "cim.service.pipeline.checked", "$JS.API.STREAM.DELETE.CHECKED"]


class Nats:
    """The command with one user's key, or with none."""

    def __init__(self, lab: Lab, user: str | None) -> None:
        program = shutil.which("nats", path=f"{ROOT / '.tools/bin'}:{os.environ['PATH']}")
        if program is None:
            raise Skipped("`nats` is not there: `ci/setup --vm` brings it")
        self.words = [program, "--server", f"nats://127.0.0.1:{lab.local('host', 4222)}", "--timeout", "10s"]
        if user is not None:
            seed = lab.secret(f"{user}.nk", (lab.nkeys / f"{user}.nk").read_text())
            self.words += ["--nkey", str(seed), "--inbox-prefix", INBOXES.get(user, "_INBOX")]

    def __call__(self, *words: str) -> str:
        """What it says, whatever its status: it does not always fail when the server refuses."""
        done = subprocess.run(
            [*self.words, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        return done.stdout

    def is_refused(self, what: str, *words: str) -> None:
        said = self(*words)
        expect("permissions violation" in said.lower(), f"{what} is not refused: {said}")


def refused_without_a_key(lab: Lab) -> None:
    said = Nats(lab, None)("rtt")
    expect("authorization violation" in said.lower(), f"NATS lets somebody in without a key: {said}")


def refused_on_anothers_subjects(lab: Lab) -> None:
    """What is a component's own goes through, so that a refusal means what it says."""
    operator, component = Nats(lab, "operator"), Nats(lab, "information-units")
    operator("stream", "add", "CHECKED", "--subjects", "cim.event.>", "--defaults")
    try:
        component("publish", OWN, "mine")
        said = operator("stream", "subjects", "CHECKED", "--json")
        expect(OWN in said, f"what a component published on `{OWN}` did not arrive: {said}")
        for subject in OTHERS:
            component.is_refused(f"publishing on `{subject}`", "publish", subject, "not mine")
        component.is_refused("hearing another's events", "subscribe", "cim.event.pipeline.>", "--wait", "3s")
        component.is_refused("hearing everything", "subscribe", ">", "--wait", "3s")
        Nats(lab, "storage-manager").is_refused("the storage manager's publishing of an event", "publish", OWN, "forged")
        said = operator("stream", "subjects", "CHECKED", "--json")
        expect("pipeline" not in said, f"what was refused arrived: {said}")
    finally:
        operator("stream", "rm", "CHECKED", "--force")
