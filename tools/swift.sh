#!/bin/sh
# Swift 6 for the client in clients/swift: `tools/swift.sh install`, `have`, or `run FOLDER COMMAND…`.
#
# A `swift` of version 6 or later on the PATH is used. Otherwise Debian's package is installed, once, into a root of its own
# in the user's cache folder, which is named by the version of the package. Only root can do that, and only on Debian and its
# derivatives. It takes two minutes and 3.4 GB. The machine itself does not change, except that debootstrap is installed.
set -eu

suite=trixie
version=6.0.3-2
libraries=/usr/libexec/swift/lib/swift/linux # The package links its own programs without their path.
root="${XDG_CACHE_HOME:-$HOME/.cache}/baton/swift-$version"
here="$(cd "$(dirname "$0")/.." && pwd -P)"

own() { swift --version 2> /dev/null | grep -qE 'Swift version ([6-9]|[1-9][0-9])\.'; }

have() { own || { [ "$(id -u)" = 0 ] && [ -e "$root/installed" ] && command -v unshare > /dev/null; }; }

install() {
  if own; then echo "$(swift --version 2>&1 | head -n 1), on the PATH"; return; fi
  if [ "$(id -u)" != 0 ]; then echo "skipped: no swift 6 on the PATH, and only root can install one"; return; fi
  if ! [ -e "$root/installed" ]; then
    if ! command -v debootstrap > /dev/null; then
      command -v apt-get > /dev/null || { echo "skipped: no swift 6 on the PATH, and no debootstrap to install one"; return; }
      apt-get update -qq
      DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends debootstrap > /dev/null
    fi
    mkdir -p "${root%/*}"
    exec 9> "$root.lock"
    flock 9
  fi
  if ! [ -e "$root/installed" ]; then
    rm -rf "$root"
    debootstrap --variant=minbase "$suite" "$root" > "$root.log"
    {
      chroot "$root" apt-get update -qq
      DEBIAN_FRONTEND=noninteractive chroot "$root" apt-get install -y -qq --no-install-recommends "swiftlang=$version" \
        libc6-dev libstdc++-14-dev libssl-dev pkg-config git ca-certificates
      chroot "$root" apt-get clean
    } >> "$root.log" 2>&1
    touch "$root/installed"
  fi
  echo "swift $version of Debian $suite, in $root"
}

# Only this process has the mounts, and they end with the process. This checkout has the same path inside.
run() {
  folder="$(cd "$1" && pwd -P)"
  shift
  if own; then cd "$folder" && exec "$@"; fi
  have || { echo "error: no swift. remedy: tools/swift.sh install" >&2; exit 1; }
  # shellcheck disable=SC2016 # The inner shell expands these.
  exec unshare --mount sh -c '
    root=$1 here=$2 folder=$3 libraries=$4
    shift 4
    mount -t proc proc "$root/proc"
    for path in "$here" /tmp "$folder"; do mkdir -p "$root$path" && mount --bind "$path" "$root$path"; done
    exec chroot "$root" env LD_LIBRARY_PATH="$libraries" HOME=/root sh -c '\''cd "$0" && exec "$@"'\'' "$folder" "$@"
  ' sh "$root" "$here" "$folder" "$libraries" "$@"
}

case "${1:-}" in
  install | have) "$1" ;;
  run) shift && run "$@" ;;
  *) echo "usage: tools/swift.sh install | have | run FOLDER COMMAND…" >&2; exit 2 ;;
esac
