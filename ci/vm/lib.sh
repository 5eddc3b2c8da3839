# shellcheck shell=bash
# What the scripts of ci/vm share, besides ci/lib.sh. Sourced after `set -euo pipefail`.

# shellcheck source=ci/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
me=ci/vm/$(basename "$0")
# shellcheck disable=SC2034 # For who sources this.
here=$root/ci/vm

# need_command COMMAND PACKAGE: installs Debian's package where that is possible, or says how.
need_command() {
    local found=$PATH:/usr/sbin:/sbin
    PATH=$found command -v "$1" >/dev/null && return
    if ((EUID != 0)) || ! command -v apt-get >/dev/null; then
        fail "\`$1\` is not on PATH" "\`apt-get install $2\`"
    fi
    phase "installing $2" apt_install "$2" || fail "\`apt-get install $2\` failed" "its own message stands above"
}
apt_install() {
    # Lists that were never fetched, or are older than the packages, are worth a second try.
    DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@" ||
        { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@"; }
}
