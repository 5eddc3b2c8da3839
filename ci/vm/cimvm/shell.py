"""`ci/vm/shell NODE`: one machine, and its root shell a line at a time."""

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from .commands import MachineError
from .console import ConsoleError
from .lab import Lab, LabError, log
from .run import LAB_FAILED, interrupt


def main(arguments: list[str]) -> int:
    signal.signal(signal.SIGTERM, interrupt)
    image, nas, node = arguments
    try:
        with tempfile.TemporaryDirectory() as logs, Lab(Path(image), Path(logs), nas) as lab:
            if node not in lab.machines:
                raise LabError(f"there is no machine `{node}`; there are {', '.join(lab.machines)}")
            machine = lab.machines[node]
            machine.connect()
            for line in sys.stdin:
                status, output = machine.execute(f"set +eu; ( {line.strip() or 'true'} ) 2>&1", timeout=None)
                print(output, end="", flush=True)
                if status != 0:
                    log(f"status {status}")
    except KeyboardInterrupt:
        pass
    except (LabError, MachineError, ConsoleError, OSError, RuntimeError, subprocess.SubprocessError) as error:
        log(f"error: {error}")
        return LAB_FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
