#!/bin/sh
# Gets a machine ready: what is missing is installed, what is out of date is built. Running it again costs nothing.
#
#   sh scripts/setup.sh            what the program and its lab need
#   sh scripts/setup.sh --demo     and what `npm run demo` needs (Docker)
#   sh scripts/setup.sh --tests    and what `npm test` needs (other container runtimes to be tested with)
#
# Made for Debian 12. Services of the packages are not started: the lab runs its own.
set -eu
cd "$(dirname "$0")/.."

say() { echo "setup: $*"; }
fail() {
  echo "setup: $*" >&2
  exit 1
}

need_docker=no
need_tests=no
for option in "$@"; do
  case $option in
  --demo) need_docker=yes ;;
  --tests) need_docker=yes need_tests=yes ;;
  *)
    echo "usage: sh scripts/setup.sh [--demo | --tests]" >&2
    exit 2
    ;;
  esac
done

# --- Node -----------------------------------------------------------------------------------------------------------
command -v node >/dev/null 2>&1 || fail "Node is not installed: install Node 20.19 or newer, then run this again"
node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)' ||
  fail "Node $(node --version) is too old: install Node 20.19 or newer, then run this again"
command -v npm >/dev/null 2>&1 || fail "npm is not installed: install it, then run this again"

# --- Packages -------------------------------------------------------------------------------------------------------
missing=
want() { # program package...
  program=$1
  shift
  command -v "$program" >/dev/null 2>&1 || missing="$missing $*"
}

# The paths of system programs are not always in the user's PATH.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
export PATH
want ip iproute2
want nft nftables
want runc runc
want conmon conmon
# Shell lines of tasks obey SIGTERM by it.
want tini tini
want nsenter util-linux
want mount mount
want sysctl procps
want ping iputils-ping
want tcpdump tcpdump
# Containers of the demo and the tests run its web server, and Docker's image is made of it: so it must be static.
if ! command -v busybox >/dev/null 2>&1 || ldd "$(command -v busybox)" >/dev/null 2>&1; then
  missing="$missing busybox-static"
fi
# The plug-in is a tiny native program where there is a compiler, else a shell script.
command -v cc >/dev/null 2>&1 || command -v gcc >/dev/null 2>&1 || missing="$missing gcc libc6-dev"
if [ "$need_docker" = yes ]; then
  want dockerd docker.io
  want docker docker.io
fi
if [ "$need_tests" = yes ]; then
  want containerd containerd
  want podman podman
  # Images of native containers.
  want skopeo skopeo
  want umoci umoci
  want docker-registry docker-registry
  want unzip unzip
  want iperf3 iperf3
  want wrk wrk
  want haproxy haproxy
  want conntrack conntrack
  want dig bind9-dnsutils
  want dnsmasq dnsmasq-base
  want dnsperf dnsperf
  want iptables iptables
  want curl curl
  want jq jq
  want prometheus prometheus
  [ -x /usr/lib/cni/bridge ] || missing="$missing containernetworking-plugins"
fi

guard=/usr/sbin/policy-rc.d
guarded=no
lift_guard() {
  [ "$guarded" = no ] || rm -f "$guard"
  guarded=no
}

if [ -n "$missing" ]; then
  [ "$(id -u)" = 0 ] || fail "packages are missing:$missing: run this as root, or install them"
  command -v apt-get >/dev/null 2>&1 || fail "programs are missing: install what these Debian packages hold:$missing"
  say "installing$missing"
  # invoke-rc.d and deb-systemd-invoke ask this script before they start a service; 101 says no.
  if [ ! -e "$guard" ]; then
    trap lift_guard EXIT
    trap 'exit 130' INT TERM
    guarded=yes
    printf '#!/bin/sh\nexit 101\n' >"$guard"
    chmod 755 "$guard"
  fi
  log=$(mktemp)
  export DEBIAN_FRONTEND=noninteractive
  # shellcheck disable=SC2086 # a list of words
  if ! { apt-get update && apt-get install --yes --no-install-recommends $missing; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    rm -f "$log"
    fail "packages could not be installed:$missing"
  fi
  rm -f "$log"
  lift_guard
fi

# --- Node modules ---------------------------------------------------------------------------------------------------
if [ ! -e node_modules/.package-lock.json ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
  say "installing Node modules"
  npm ci --no-audit --no-fund --loglevel=error
  touch node_modules/.package-lock.json
fi

# --- Build ----------------------------------------------------------------------------------------------------------
built=dist/.built
if [ ! -e "$built" ] || [ -n "$(find src package.json rolldown.config.ts -newer "$built" -print -quit)" ]; then
  say "building"
  stamp=$(mktemp)
  sh scripts/build.sh
  # The time before the build: what is edited meanwhile is built next time.
  touch -r "$stamp" "$built"
  rm -f "$stamp"
fi
if [ ! -x dist/portolan-cni ] || [ -n "$(find src/cni -name 'portolan-cni.*' -newer dist/portolan-cni -print -quit)" ]; then
  say "building the CNI plug-in"
  sh scripts/build-shim.sh >/dev/null
fi
say "ready"
