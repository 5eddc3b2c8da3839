# shellcheck shell=bash
# What the findings share. Sourced by each; runs nothing by itself.
#
# Everything lies in one folder of mktemp, removed at the end together with the programs that were
# started. Packages come through the usual clients, which keep their usual caches.

work=$(mktemp -d)
started=()

finish() {
    local pid
    for pid in "${started[@]}"; do
        kill "$pid" 2>/dev/null || true
    done
    for pid in "${started[@]}"; do
        wait "$pid" 2>/dev/null || true
    done
    rm -rf "$work"
}
trap finish EXIT

# Installs packages from PyPI; afterwards "$python" has them.
python_packages() {
    python3 -m venv "$work/python"
    python=$work/python/bin/python
    "$python" -m pip --quiet --disable-pip-version-check install "$@"
}

# Installs packages from npm; scripts in "$work/node" may import them.
node_packages() {
    mkdir -p "$work/node"
    printf '{"private":true,"type":"module"}\n' >"$work/node/package.json"
    npm install --prefix "$work/node" --silent --no-audit --no-fund --save-exact "$@"
}

# Installs a program from the Go module proxy into "$work/bin".
go_program() {
    GOBIN=$work/bin go install "$1"
}

# Starts a program in the background, with its output in a file, and ends it at the end.
start() {
    local log=$1
    shift
    "$@" >"$log" 2>&1 &
    started+=("$!")
}

# Repeats a command until it succeeds, for 20 seconds at most.
until_ready() {
    local deadline=$((SECONDS + 20))
    until "$@" 2>/dev/null; do
        if ((SECONDS > deadline)); then
            printf 'not ready in 20 s: %s\n' "$*" >&2
            return 1
        fi
        sleep 0.05
    done
}

# Starts a nats-server with JetStream on a free port of loopback; "$nats" is its address.
jetstream_server() {
    start "$work/nats-server.log" "$work/bin/nats-server" \
        --addr 127.0.0.1 --port -1 --jetstream --store_dir "$work/jetstream" \
        --ports_file_dir "$work"
    until_ready compgen -G "$work/nats-server_*.ports" >/dev/null
    # shellcheck disable=SC2034 # For who sources this.
    nats=$(grep -o 'nats://127.0.0.1:[0-9]*' "$work"/nats-server_*.ports)
}

# Makes a Go module in "$work/go" that may import the packages given.
go_module() {
    mkdir -p "$work/go"
    (
        cd "$work/go"
        go mod init finding
        go get "$@"
    ) >"$work/go-module.log" 2>&1 || {
        cat "$work/go-module.log" >&2
        return 1
    }
}

# Prints so many different ports of loopback that are free at this moment, a line each.
free_ports() {
    python3 - "$1" <<'PY'
import socket
import sys
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
print(*[s.getsockname()[1] for s in held], sep="\n")
PY
}
