"""`ci/vm/debian`: docs/debian.md, done as it stands on plain Debian machines, and what came of it."""

import base64
import json
import os
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from . import files, qemu
from .check_units import Checks
from .checking import CheckFailed, expect
from .commands import MachineError
from .console import ConsoleError
from .lab import ROOT, LabError, log, state_directory
from .machine import Hardware, Machine
from .network import Network
from .page import Block, PageError, blocks, filled
from .run import INTERRUPTED, LAB_FAILED, interrupt

PAGE = ROOT / "docs/debian.md"
GIVEN = ROOT / "ci/vm/debian.d"
# As the page has it: the NAS's address is in its commands.
CIDR = "192.168.1.0/24"
ADDRESSES = {"host": "192.168.1.10", "nas": "192.168.1.20"}
OPERATOR = "192.168.1.2"
CONFIGURATION = "/etc/nats-server.conf"
HOME = "/home/admin"
# Where its two files lie that the page's first step has built.
BUILT = f"{HOME}/cim"
TIERED_SECONDS = 300


def programs() -> dict[str, Path]:
    """What the machines run."""
    built = Path(os.environ.get("CIM_BIN_DIR", ROOT / "target/release"))
    tools = ROOT / ".tools/bin"
    found = {name: tools / name for name in ("nats-server", "nats", "minio", "mc")}
    found["cim-storage-manager"] = Path(os.environ.get("CIM_STORAGE_MANAGER", built / "cim-storage-manager"))
    for name, path in found.items():
        if not path.is_file():
            way = "`cargo build --release --bins`" if name.startswith("cim-") else "`ci/setup --vm`"
            raise LabError(f"`{path}` is not there: {way} makes it")
    return found


class Walk:
    """A reader of the page, who does what it says on the host, as a user who may `sudo`."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        # What is a reader's own on the page.
        self.words = {name: secrets.token_hex(16) for name in ("ADMIN_PASSWORD", "SECRET", "NATS_PASSWORD", "APP_PASSWORD")}
        self.words["ADMIN"] = "admin-of-the-nas"
        self.seconds: dict[str, float] = {}

    def given(self, path: Path) -> bytes:
        """A file of what was there before, with the reader's own words in it."""
        return filled(path.read_text(), self.words).encode()

    def shell(self, commands: str, directory: str = HOME, timeout: int = 600) -> tuple[int, str]:
        """Runs commands as the user; status, and all that they say."""
        encoded = base64.b64encode(commands.encode()).decode()
        script = f"{HOME}/.block"
        # Bash reads its commands from a file, and none of them what is behind it there.
        inner = shlex.quote(f"cd {directory} && bash -euo pipefail {script} </dev/null")
        return self.machine.execute(
            f"echo {encoded} | base64 -d >{script}; status=0; "
            f"runuser --login admin --command {inner} 2>&1 || status=$?; exit $status",
            timeout=timeout,
        )

    def must(self, commands: str, timeout: int = 600) -> str:
        """Runs commands that must succeed; what they say."""
        status, said = self.shell(commands, timeout=timeout)
        expect(status == 0, f"`{commands}` ended with status {status}: {tail(said)}")
        return said

    def must_not(self, what: str, commands: str) -> None:
        status, said = self.shell(commands)
        expect(status != 0, f"{what} is not refused: {tail(said)}")

    def write(self, path: str, text: str) -> None:
        """Writes a file, as root's that all may read: the page says nothing else of it."""
        encoded = base64.b64encode(text.encode()).decode()
        self.must(f"echo {encoded} | base64 -d | sudo install -D -m 644 /dev/stdin {path}")

    def do(self, block: Block) -> str:
        """Does what a block says; a word on what that was."""
        text = filled(block.text, self.words)
        if block.path is not None:
            self.write(block.path, text)
            return f"wrote {block.path}"
        if block.language == "json":
            self.write(f"{HOME}/policy.json", text)
            return "wrote policy.json"
        if block.language == "" and text.startswith("authorization {"):
            before = self.given(GIVEN / f"host{CONFIGURATION}").decode()
            encoded = base64.b64encode((before.split("authorization {")[0] + text).encode()).decode()
            # Its owner and mode stay.
            self.must(f"echo {encoded} | base64 -d | sudo tee {CONFIGURATION} >/dev/null")
            return f"changed {CONFIGURATION}"
        if block.language != "sh":
            raise PageError(f"a block below `{block.step}` is neither commands nor a file that the words before it name")
        if "cargo build" in text:
            return "left out: the program was built before"
        status, said = self.shell(text, BUILT if block.step.startswith("1.") else HOME)
        expect(status == 0, f"a block ended with status {status}: {tail(said)}")
        return text.strip().splitlines()[0]

    def step(self, name: str, of_step: list[Block]) -> None:
        """Does all blocks below a heading."""
        began = time.monotonic()
        try:
            for block in of_step:
                log(f"{name}: {self.do(block)}")
        finally:
            self.seconds[name] = time.monotonic() - began

    def nats(self, words: str, user: str = "app", password: str = "APP_PASSWORD") -> str:
        """A command of natscli's, as a user."""
        return f"nats --user {user} --password {self.words[password]} {words}"

    def stream(self) -> dict[str, Any]:
        """What the server says of the stream that the page calls ORDERS."""
        answer: dict[str, Any] = json.loads(self.must(self.nats("stream info ORDERS --json")))
        return answer

    def archived(self, seq: int) -> None:
        """Waits until the NAS has a message, by what the archive itself says."""
        until, last = time.monotonic() + TIERED_SECONDS, -1
        while time.monotonic() < until:
            said = json.loads(self.must("sudo cim-run-storage-manager status --json"))
            last = next(s["nas"]["seq"] or 0 for s in said["streams"] if s["stream"] == "ORDERS")
            if last >= seq:
                return
            time.sleep(1)
        raise CheckFailed(f"the NAS has ORDERS up to {last} and not to {seq}, {TIERED_SECONDS} s later")


def tail(said: str) -> str:
    return " | ".join(said.strip().splitlines()[-4:])


def events_arrive(walk: Walk) -> None:
    """Those of before the first step, and those that were published meanwhile."""
    last = walk.stream()["state"]["last_seq"]
    expect(last > 0, "the application has published nothing")
    walk.archived(last)
    journal = walk.must("sudo journalctl --no-pager --output=cat --unit=cim-storage-manager")
    expect("ermissions violation" not in journal.lower(), f"NATS refuses the storage manager something: {tail(journal)}")
    restarts = walk.machine.get_unit_property("cim-storage-manager.service", "NRestarts")
    expect(restarts == "0", f"the unit was restarted {restarts} times")


def the_key_does_no_more(walk: Walk) -> None:
    """What was archived can be hidden with the storage manager's key, and not destroyed."""
    walk.must(f"mc --quiet alias set key http://{ADDRESSES['nas']}:9000 storage-manager {walk.words['SECRET']}; mc mb --quiet nas/another")
    versions = "mc ls --quiet --recursive --versions nas/cim-archive | grep -c ' PUT '"
    before = int(walk.must(versions))
    walk.shell("mc rm --quiet --recursive --force --versions key/cim-archive/")
    left = int(walk.must(versions))
    expect(left >= before > 0, f"of {before} versions {left} are left after a deletion with the storage manager's key")
    walk.must_not("giving up versions", "mc version suspend key/cim-archive")
    walk.must_not("another bucket", "mc ls key/another")
    walk.must_not("a bucket of its own", "mc mb key/of-its-own")
    walk.must_not("looking at users", "mc admin user list key")


def the_user_does_no_more(walk: Walk) -> None:
    said = walk.shell(walk.nats("publish orders.new forged --timeout 3s", "storage-manager", "NATS_PASSWORD"))[1]
    expect("ermissions violation" in said.lower(), f"the storage manager's user may publish an order: {tail(said)}")


def what_was_lost_comes_back(walk: Walk) -> None:
    """JetStream's directory is gone; a new one and `restore --all`, as the page says of the day of the loss."""
    walk.must("sudo systemctl stop shop")
    before = walk.stream()["state"]
    walk.archived(before["last_seq"])
    middle = (before["first_seq"] + before["last_seq"]) // 2
    numbers = (before["first_seq"], middle, before["last_seq"])
    get = "; ".join(walk.nats(f"stream get ORDERS {number} --json") for number in numbers)
    messages = walk.must(get)
    walk.must("sudo systemctl stop nats-server && sudo rm -rf /var/lib/nats/jetstream && sudo systemctl start nats-server")
    walk.machine.wait_for_open_port(4222, timeout=60)
    walk.must("sudo cim-run-storage-manager restore --all", timeout=300)
    after = walk.stream()["state"]
    for what in ("messages", "bytes", "first_seq", "first_ts", "last_seq", "last_ts"):
        expect(before[what] == after[what], f"`{what}` was {before[what]}, and is {after[what]} after the restore")
    expect(walk.must(get) == messages, "a message is another one after the restore")
    walk.must("sudo systemctl start shop")
    until = time.monotonic() + 60
    while walk.stream()["state"]["last_seq"] <= before["last_seq"]:
        expect(time.monotonic() < until, "the application does not go on")
        time.sleep(1)
    walk.archived(before["last_seq"] + 1)


def set_up(stack: ExitStack, image: Path, logs: Path) -> tuple[Walk, Machine]:
    """Both machines, booted, with what is there before the page is read."""
    state = state_directory(stack)
    logs.mkdir(parents=True)
    accelerator = qemu.choose(image, image.parent)
    memory = int(os.environ.get("CIM_VM_MEMORY", "768"))
    hardware = Hardware(image, files.programs_disk(image.parent, programs()), accelerator, memory)
    network = Network(CIDR, OPERATOR, ADDRESSES, {}, state, logs / "network.log")
    stack.callback(network.close)
    machines = {}
    for number, name in enumerate(ADDRESSES, start=1):
        machine = Machine(name, number, hardware, state / f"{name}.tar", network.sockets[name], state / name, logs, log)
        stack.callback(machine.crash)
        machines[name] = machine
    host, nas = machines["host"], machines["nas"]
    walk = Walk(host)
    for name, machine in machines.items():
        with tarfile.open(machine.files, "w") as tar:
            for path in sorted((GIVEN / name).rglob("*")):
                if path.is_file():
                    files.add(tar, str(path.relative_to(GIVEN / name)), walk.given(path), 0o644)
            files.add_base(tar, name, ADDRESSES, CIDR, GIVEN / "install")
            if name == "nas":
                root = files.Key(walk.words["ADMIN"], walk.words["ADMIN_PASSWORD"])
                files.add(tar, "etc/minio.env", root.environment("MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD").encode(), 0o600)
            else:
                script = "nixos/lib/scripts/cim-run-storage-manager"
                files.add(tar, f"{BUILT[1:]}/{script}", (ROOT / script).read_bytes(), 0o755)
    network.check()
    for machine in machines.values():
        machine.start()
    host.wait_for_unit("shop.service", timeout=240)
    nas.wait_for_unit("minio.service", timeout=240)
    host.wait_for_open_port(9000, ADDRESSES["nas"], timeout=240)
    # Events are live before the first step.
    host.wait_until_succeeds(walk.nats("stream info ORDERS --json") + " | grep -q '\"last_seq\": [1-9]'", timeout=240)
    return walk, host


def run(image: Path, logs: Path) -> Checks:
    checks = Checks()
    steps: dict[str, list[Block]] = {}
    for block in blocks(PAGE.read_text()):
        steps.setdefault(block.step, []).append(block)
    with ExitStack() as stack:
        walk, host = set_up(stack, image.resolve(), logs)
        for name, of_step in steps.items():
            checks.check(name, walk.step, name, of_step)
        checks.check("events arrive on the NAS", events_arrive, walk)
        checks.check("NATS: the storage manager's user may do no more", the_user_does_no_more, walk)
        checks.check("what was lost comes back, and is archived on", what_was_lost_comes_back, walk)
        # The last one: it hides the archive.
        checks.check("NAS: the storage manager's key may do no more", the_key_does_no_more, walk)
        if checks.failed and host.is_up():
            journal = host.execute("journalctl --no-pager --output=short-precise", timeout=60)[1]
            (logs / "host.journal").write_text(journal)
    total = sum(walk.seconds.values())
    log(f"the page: {total:.0f} s, of which " + "; ".join(f"{name}: {taken:.0f} s" for name, taken in walk.seconds.items()))
    return checks


def main(arguments: list[str]) -> int:
    signal.signal(signal.SIGTERM, interrupt)
    logs = ROOT / "runs" / f"vm-{time.strftime('%Y%m%d-%H%M%S')}-debian"
    try:
        checks = run(Path(arguments[0]), logs)
    except KeyboardInterrupt:
        return INTERRUPTED
    except (LabError, PageError, MachineError, ConsoleError, OSError, RuntimeError, subprocess.SubprocessError) as error:
        log(f"error: {error}")
        return LAB_FAILED
    if checks.failed:
        log(f"the machines' consoles and the host's journal: {logs}")
    else:
        shutil.rmtree(logs)
    print(f"{checks.passed} passed, {checks.failed} failed, {checks.skipped} skipped")
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
