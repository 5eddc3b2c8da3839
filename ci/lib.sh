# shellcheck shell=bash
# The common parts of the scripts of ci/. Sourced after `set -euo pipefail`.
#
# stdout belongs to the program that a script runs; the scripts' own messages go to stderr.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck disable=SC2034 # For the scripts that source this.
tools=$root/.tools
me=ci/$(basename "$0")

say() { printf '%s: %s\n' "$me" "$*" >&2; }

# fail MESSAGE [HINT…]: prints one line that names the thing and what happened, then the way out. Exits with
# `failure`, which is set by scripts that run a program with statuses of its own.
failure=1
fail() {
    printf '%s: error: %s\n' "$me" "$1" >&2
    shift
    (($# == 0)) || printf '  hint: %s\n' "$@" >&2
    exit "$failure"
}

# usage: prints the comment at the top of the script.
usage() { awk 'NR > 1 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "$0"; }

# phase NAME COMMAND…: runs it, with its output on stderr, and prints how long it took.
phase() {
    local name=$1 start=$SECONDS status=0
    shift
    say "$name …"
    "$@" >&2 || status=$?
    if ((status == 0)); then
        say "$name: done after $((SECONDS - start)) s"
    else
        say "$name: failed after $((SECONDS - start)) s"
    fi
    return "$status"
}

# at_exit COMMAND: runs it when the script ends, behind what was given before.
exits=
at_exit() {
    exits+="$1;"
    # shellcheck disable=SC2064 # It is known now.
    trap "$exits" EXIT
}

# beside COMMAND…: starts it in the background, in a process group of its own that ends with this script. Its
# output goes to stderr.
beside() {
    set -m
    "$@" </dev/null >&2 &
    set +m
    beside=$!
    # shellcheck disable=SC2016 # It is known then.
    at_exit '[[ -z $beside ]] || kill -- "-$beside" 2>/dev/null || true'
    trap 'exit 130' INT TERM
}

# joined: waits for what `beside` has started, and returns its status.
joined() {
    local status=0
    wait "$beside" || status=$?
    beside=
    return "$status"
}

# at_least HAVE WANTED: compares versions of up to three numbers.
at_least() {
    local have wanted i
    IFS=. read -r -a have <<<"${1%%[!0-9.]*}"
    IFS=. read -r -a wanted <<<"${2%%[!0-9.]*}"
    for i in 0 1 2; do
        ((${have[i]:-0} == ${wanted[i]:-0})) || { ((${have[i]:-0} > ${wanted[i]:-0})); return; }
    done
}

# choose_toolchain: leaves rustup the compiler of rust-toolchain.toml, which it fetches where it may. Where that is not
# installed and the machine's own is not older, takes the machine's own: without a network it builds too.
choose_toolchain() {
    local pinned own
    { [[ -z ${RUSTUP_TOOLCHAIN:-} ]] && command -v rustup >/dev/null; } || return 0
    pinned=$(sed -n 's/^channel = "\(.*\)"/\1/p' "$root/rust-toolchain.toml")
    ! rustup toolchain list 2>/dev/null | grep -q "^$pinned-" || return 0
    own=$(cd / && rustc --version 2>/dev/null) || return 0
    own=${own#rustc }
    own=${own%% *}
    at_least "$own" "$pinned" || return 0
    RUSTUP_TOOLCHAIN=$(cd / && rustup show active-toolchain | cut -d ' ' -f 1)
    export RUSTUP_TOOLCHAIN
    [[ $own == "$pinned" ]] || say "Rust $own is taken: $pinned is not installed (\`rustup toolchain install\` brings it)"
}
choose_toolchain

need_rust() {
    local wanted have
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml")
    command -v rustc >/dev/null ||
        fail "\`rustc\` is not on PATH: Rust $wanted or newer is needed" \
            "install it from https://rustup.rs"
    have=$(rustc --version)
    have=${have#rustc }
    at_least "${have%% *}" "$wanted" ||
        fail "rustc ${have%% *} is too old: Rust $wanted or newer is needed" \
            "\`rustup toolchain install\`, or install it from https://rustup.rs"
    command -v cc >/dev/null ||
        fail "\`cc\` is not on PATH: zstd and ring are compiled with a C compiler" \
            "\`apt-get install build-essential\`"
}

# target_dir: prints the directory that cargo builds to, from CARGO_TARGET_DIR and cargo's own configuration.
target_dir() {
    cargo metadata --manifest-path "$root/Cargo.toml" --no-deps --format-version 1 |
        grep -o '"target_directory":"[^"]*"' | cut -d '"' -f 4
}

# commit: prints the commit as `--version` says it: hash and day, and that files were changed since. Nothing without git.
commit() {
    local commit
    commit=$(git -C "$root" log -1 --abbrev=12 --format='%h %cs' 2>/dev/null) || return 0
    git -C "$root" diff --quiet HEAD 2>/dev/null || commit+=", changed"
    echo "$commit"
}

# release_build PROFILE: builds the programs that a lab needs, in target/PROFILE. The first time it compiles every dependency.
release_build() {
    local profile=$1
    need_rust
    # Both programs say which commit they are. Only their main.rs reads it, so that a new one costs a link.
    CIM_COMMIT=$(commit)
    [[ -z $CIM_COMMIT ]] || export CIM_COMMIT
    phase "$profile build (the first takes some minutes)" \
        cargo build --manifest-path "$root/Cargo.toml" --profile "$profile" --locked --bins \
        -p cim-harness -p cim-storage-manager -p cim-fake-wasabi ||
        fail "the $profile build failed" "the compiler's own message stands above"
    "$root/ci/check-release" "$(target_dir)/$profile/cim-storage-manager" ||
        fail "the $profile build has test hooks" "the program and what was found in it stand above"
}

test_hooks=cim-storage-manager/fail-points,cim-storage-manager/sabotage,cim-component-registry/fail-points,cim-information-units/fail-points

# sabotaged_build [FLAG…]: builds storage manager, registry and information units with their test hooks, beside the ordinary debug build, whose
# dependencies it shares: `--workspace` gives them the same features.
sabotaged_build() {
    cargo build --manifest-path "$root/Cargo.toml" --locked --workspace --bin cim-storage-manager-sabotaged \
        --bin cim-component-registry-sabotaged --bin cim-information-units-sabotaged \
        --features "$test_hooks" "$@"
}
