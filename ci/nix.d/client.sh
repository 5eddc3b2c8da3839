# shellcheck shell=bash
# Real nats-servers with rendered configurations, and a small client: it sends the protocol's text, and the
# server's lines are in `heard`. Sourced by the tests of ci/nix.d.
#
# The tests set `server` (the program) and `keys` (the directory of NAME.nk files).
set -euo pipefail
work=$(mktemp -d)
pids=()
stop() {
    ((${#pids[@]} == 0)) || { kill "${pids[@]}" && wait "${pids[@]}"; } 2>/dev/null || true
    rm -rf "$work"
}
trap stop EXIT
fail() {
    printf 'error: %s\n' "$1" >&2
    tail -qn 5 "$work"/*/log 2>/dev/null | sed 's/^/  /' >&2
    exit 1
}

# --- servers
declare -A port
# start NAME CONFIGURATION [SED…]: starts a server with free ports and a directory of its own; `port[NAME]` is
# the port for clients.
start() {
    local name=$1 configuration=$2 place=$work/$1 ports pid i
    shift 2
    mkdir -p "$place"
    sed -e "s#/var/lib/nats#$place/jetstream#; s#\"0.0.0.0\"#\"127.0.0.1\"#; s#\"server_name\": \"[^\"]*\"#\"server_name\": \"$name\"#" \
        -e "s#\"port\": 4222#\"port\": -1, \"ports_file_dir\": \"$place\"#" "$@" "$configuration" >"$place/nats.conf"
    # shellcheck disable=SC2154 # From the test.
    "$server" -c "$place/nats.conf" >"$place/log" 2>&1 &
    pid=$!
    pids+=("$pid")
    ports=$place/nats-server_$pid.ports
    for ((i = 0; i < 200; i++)); do
        [[ ! -s $ports ]] || break
        kill -0 "$pid" 2>/dev/null || fail "nats-server \`$name\` ended at once"
        sleep 0.05
    done
    port[$name]=$(tr -d '\n ' <"$ports" | sed -n 's#.*"nats":\["nats://127\.0\.0\.1:\([0-9]*\).*#\1#p')
    # The ready file lacks the port for leaf nodes; the log has it, before the file exists.
    port[$name-leaf]=$(sed -n 's#.*Listening for leafnode connections on 127\.0\.0\.1:\([0-9]*\).*#\1#p' "$place/log")
    [[ -n ${port[$name]} ]] || fail "nats-server \`$name\` did not say where it listens within 10 s"
}

# --- the client
declare -A fd

# sign NAME NONCE: signs with the key in NAME.nk. The seed is base32 of two bytes, the key and a checksum.
sign() {
    local seed
    # shellcheck disable=SC2154 # From the test.
    read -r seed <"$keys/$1.nk"
    {
        printf '\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20'
        printf '%s======' "$seed" | base32 -d | tail -c +3 | head -c 32
    } >"$work/key"
    printf '%s' "$2" >"$work/nonce"
    openssl pkeyutl -sign -rawin -keyform DER -inkey "$work/key" -in "$work/nonce" | base64 -w 0 | tr '+/' '-_' | tr -d =
}

# login CONNECTION NKEY KEY [SERVER]: logs in; CONNECTION names the connection in the following calls.
login() {
    local info nonce n
    exec {n}<>"/dev/tcp/127.0.0.1/${port[${4:-host}]}"
    fd[$1]=$n
    IFS= read -r -t 5 info <&"$n" || fail "no greeting from nats-server"
    nonce=$(sed -n 's/.*"nonce":"\([^"]*\)".*/\1/p' <<<"$info")
    tell "$1" "CONNECT {\"nkey\":\"$2\",\"sig\":\"$(sign "$3" "$nonce")\",\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true,\"protocol\":1,\"lang\":\"bash\",\"version\":\"1\"}"
}

# tell CONNECTION LINE…: sends lines, and reads everything up to the answer to a PING.
tell() {
    local n=${fd[$1]} line
    shift
    printf '%s\r\n' "$@" PING >&"$n"
    heard=
    while IFS= read -r -t 5 line <&"$n"; do
        case $line in
        PONG*) return 0 ;;
        PING*) printf 'PONG\r\n' >&"$n" ;;
        INFO*) ;;
        *) heard+=$line$'\n' ;;
        esac
    done
    heard+="connection lost"
}

# hear CONNECTION PATTERN: waits up to 5 s until the connection's lines match; `collected` has them.
hear() {
    local i
    for ((i = 0; i < 100; i++)); do
        tell "$1"
        collected+=$heard
        [[ ! $collected =~ $2 ]] || return 0
        sleep 0.05
    done
    return 1
}

# ask CONNECTION INBOX SUBJECT BODY: sends a request; the answer is in `collected`.
ask() {
    tell "$1" "SUB $2 9" "PUB $3 $2 ${#4}" "$4"
    collected=$heard
    hear "$1" 'MSG [^ ]+ 9 |Violation' || collected+="no answer"
    tell "$1" "UNSUB 9"
}

passed=0 failed=0
check() {
    if [[ $2 =~ $3 ]]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf 'not so: %s\n  heard: %s\n' "$1" "${2//[$'\r\n']/ }" >&2
    fi
}
may() {
    tell "$1" "$2" "${@:3}"
    check "\`$1\` may $2" "${heard:-nothing}" '^nothing$'
}
may_not() {
    tell "$1" "$2" "${@:3}"
    check "\`$1\` may not $2" "$heard" "Permissions Violation"
}
