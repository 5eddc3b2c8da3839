"""A lab: the machines of fixtures/inventory/lab.json, the network between them, and what they install."""

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from . import files, qemu
from .machine import Hardware, Machine
from .network import Network, free_ports

ROOT = Path(__file__).resolve().parents[3]
STATE_PREFIX = "cim-vm-"
# What the harness can have done to machines of this kind.
OFFERS = ["processes", "power-loss", "clock"]
# How many times slower than iron an emulated machine is, at the least: a shell's loop takes 15 times as
# long, gzip 34 times, sha256sum 83 times (QEMU 7.2, `ci/vm/shell host` and this machine in one go).
EMULATION_SLOWDOWN = 10




class LabError(Exception):
    """The lab cannot be set up; the text says the way out."""


@dataclass(frozen=True)
class Nas:
    """A service that the lab's NAS can have: its program, the variable that names another, what prints its version."""

    program: str
    variable: str
    version: str = "--version"


SERVICES = {
    "minio": Nas("minio", "CIM_MINIO"),
    "seaweedfs": Nas("weed", "CIM_WEED", "version"),
    "versitygw": Nas("versitygw", "CIM_VERSITYGW"),
}


BEGAN = time.monotonic()


def log(line: str) -> None:
    """A line of progress, with the seconds since the start."""
    print(f"ci/vm: {time.monotonic() - BEGAN:6.1f} s  {line}", file=sys.stderr, flush=True)


class Lab:
    """Machines that are off, until somebody starts them. Leaving the context deletes everything but logs."""

    def __init__(self, image: Path, logs: Path, nas: str = "minio", say: Callable[[str], None] = log) -> None:
        """`nas` is what serves S3 on the NAS."""
        if nas not in SERVICES:
            raise LabError(f"`--nas` takes {', '.join(SERVICES)}, and not `{nas}`")
        self.nas = nas
        self.image = image.resolve()
        self.logs = logs
        self.log = say
        self.inventory: dict[str, Any] = json.loads((ROOT / "fixtures/inventory/lab.json").read_text())
        self.nkeys = ROOT / "fixtures/inventory/lab-keys"
        self.slowdown = 1
        self.machines: dict[str, Machine] = {}
        self.ports: dict[tuple[str, int], int] = {}
        self.stack = ExitStack()

    def __enter__(self) -> "Lab":
        with ExitStack() as stack:
            self.set_up(stack)
            self.stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stack.close()

    def set_up(self, stack: ExitStack) -> None:
        began = time.monotonic()
        self.state = state_directory(stack)
        self.logs.mkdir(parents=True, exist_ok=True)
        service = SERVICES[self.nas]
        programs = find_programs(self.nas)
        self.versions = {"nats-server": version(programs["nats-server"])}
        self.versions[service.program] = version(programs[service.program], service.version)
        self.versions["linux"] = linux(self.image)
        accelerator = qemu.choose(self.image, self.image.parent)
        self.slowdown = EMULATION_SLOWDOWN if accelerator.emulated else 1
        self.keys = files.Keys.draw()
        disk = files.programs_disk(self.image.parent, programs)
        memory = int(os.environ.get("CIM_VM_MEMORY", "768"))
        hardware = Hardware(self.image, disk, accelerator, memory)

        hosts = self.inventory["hosts"]
        names = [name for name in sorted(hosts) if hosts[name]["role"] != "operator"]
        services = [(hosts[name]["address"], port) for name in names for port in service_ports(hosts[name])]
        self.ports = dict(zip(services, free_ports(len(services)), strict=True))
        operator = next(host for host in hosts.values() if host["role"] == "operator")
        cidr = self.inventory["networks"][operator["network"]]["cidr"]
        network = Network(cidr, operator["address"], names, self.ports, self.state, self.logs / "network.log")
        stack.callback(network.close)

        for number, name in enumerate(names, start=1):
            rendered = self.rendered(name)
            if not rendered.is_dir():
                raise LabError(f"`{rendered}` is not there: `ci/nix` renders it")
            tar = self.state / f"{name}.tar"
            secrets = files.secret_files(hosts[name]["role"], self.nas, self.keys, self.nkeys)
            files.pack(tar, name, self.inventory, rendered, ROOT / "ci/vm/install", secrets)
            port, place = network.sockets[name], self.state / name
            machine = Machine(name, number, hardware, tar, port, place, self.logs, self.log)
            stack.callback(machine.crash)
            self.machines[name] = machine
        network.check()
        seconds = time.monotonic() - began
        self.log(f"{', '.join(names)}: {memory} MiB each, {accelerator}; set up in {seconds:.1f} s")

    def rendered(self, name: str) -> Path:
        """The directory of what nixos/lib renders for a machine."""
        other = self.nas != "minio" and self.inventory["hosts"][name]["role"] == "nas"
        return ROOT / "fixtures/rendered" / (f"lab-{self.nas}" if other else "lab") / name

    def local(self, name: str, port: int) -> int:
        """The port on 127.0.0.1 that leads to a machine's port, over the LAN."""
        return self.ports[(self.inventory["hosts"][name]["address"], port)]

    def describe(self) -> dict[str, Any]:
        """LAB.json: the lab in the words of the driver protocol, as the operator sees it."""
        nodes: dict[str, Any] = {}
        tiers = self.inventory["tiers"].values()
        for name in self.machines:
            host = self.inventory["hosts"][name]
            if host["role"] == "host":
                nodes[name] = {
                    "role": "host",
                    "address": "127.0.0.1",
                    "nats_port": self.local(name, nats_port(host)),
                    "nats_nkey_file": str(self.secret("operator.nk", (self.nkeys / "operator.nk").read_text())),
                }
                continue
            role, key = ("nas", self.keys.nas) if host["role"] == "nas" else ("wasabi", self.keys.wasabi)
            nodes[name] = {
                "role": role,
                "endpoint": f"http://127.0.0.1:{self.local(name, s3_port(host))}",
                "bucket": next(tier["bucket"] for tier in tiers if tier.get("host") == name),
                "region": host["s3"].get("region", "us-east-1"),
                "credentials_file": str(self.secret(f"{role}.env", key.aws())),
            }
            if role == "nas":
                nodes[name]["unit"] = f"{self.nas}.service"
        return {"offers": OFFERS, "nodes": nodes, "slowdown": self.slowdown, "versions": self.versions}

    def secret(self, name: str, text: str) -> Path:
        """A file that nobody else can read."""
        path = self.state / name
        path.touch(mode=0o600)
        path.write_text(text)
        return path


def nats_port(host: dict[str, Any]) -> int:
    return int(host["nats"].get("port", 4222))


def s3_port(host: dict[str, Any]) -> int:
    return int(host["s3"].get("port", 9000))


def service_ports(host: dict[str, Any]) -> list[int]:
    """The ports that the operator is led to: what a machine of this role serves."""
    return [nats_port(host)] if host["role"] == "host" else [s3_port(host)]


def state_directory(stack: ExitStack) -> Path:
    """Disks, sockets and secrets. Short, because a socket's path is; deleted at the end.

    One that was left behind by a driver that was killed has a lock that nobody holds.
    """
    place = Path(os.environ.get("CIM_VM_STATE", tempfile.gettempdir()))
    for old in place.glob(f"{STATE_PREFIX}*/lock"):
        try:
            with old.open() as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(old.parent, ignore_errors=True)
        except OSError:
            continue
    state = Path(tempfile.mkdtemp(prefix=STATE_PREFIX, dir=place))
    stack.callback(shutil.rmtree, state, ignore_errors=True)
    lock = stack.enter_context((state / "lock").open("w"))
    fcntl.flock(lock, fcntl.LOCK_EX)
    return state


def find_programs(nas: str) -> dict[str, Path]:
    """The programs that the machines run, from where the harness takes them too."""
    service = SERVICES[nas]
    built = Path(os.environ.get("CIM_BIN_DIR", ROOT / "target/release"))
    tools = ROOT / ".tools/bin"
    found = {
        "nats-server": Path(os.environ.get("CIM_NATS_SERVER", tools / "nats-server")),
        service.program: Path(os.environ.get(service.variable, tools / service.program)),
        "cim-storage-manager": Path(os.environ.get("CIM_STORAGE_MANAGER", built / "cim-storage-manager")),
        "cim-fake-wasabi": Path(os.environ.get("CIM_FAKE_WASABI", built / "cim-fake-wasabi")),
    }
    if nas == "minio":
        found["mc"] = tools / "mc"
    for name, path in found.items():
        if not path.is_file():
            way = "`cargo build --release --bins`" if name.startswith("cim-") else f"`ci/setup --vm --nas {nas}`"
            raise LabError(f"`{path}` is not there: {way} makes it")
    return found


def version(program: Path, word: str = "--version") -> str:
    """What a program says of its version, without its name."""
    said = subprocess.run([program, word], capture_output=True, text=True, check=True).stdout
    match = re.search(r"v?\d+\.\d+(?:\.\d+)?\S*|RELEASE\.\S+|DEVELOPMENT\.\S+", said)
    return match.group() if match else said.split("\n")[0].strip()


def linux(image: Path) -> str:
    """The version of the image's kernel package."""
    for line in (image / "about").read_text().splitlines():
        name, _, package_version = line.partition("\t")
        if name.startswith("linux-image-cloud-"):
            return f"Debian {package_version}"
    return "unknown"
