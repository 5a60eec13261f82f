#!/bin/sh
# Builds the CNI plug-in's executable into dist/portolan-cni: native where there is a compiler, else the shell script.
#
# A runtime starts it for every container: without a C library it starts in 0.2 ms (src/cni/freestanding.h), linked with
# one statically in 0.5, with the dynamic linker in 0.7.
# PORTOLAN_SHIM=sh takes the script although there is a compiler.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
source=$root/src/cni
target=$root/dist/portolan-cni
mkdir -p "$root/dist"
# Written beside and renamed, for a runtime may start it at any moment.
new=$target.new.$$
trap 'rm -f "$new"' EXIT

build_native() { # compiler flags...
  compiler=$1
  shift
  command -v "$compiler" >/dev/null 2>&1 &&
    "$compiler" -O2 -Wall -Wextra "$@" -o "$new" "$source/portolan-cni.c" 2>/dev/null &&
    CNI_COMMAND=VERSION "$new" </dev/null 2>/dev/null | grep -q supportedVersions
}

build_freestanding() { # compiler
  build_native "$1" -DPORTOLAN_FREESTANDING -ffreestanding -nostdlib -static -fno-stack-protector -fno-pie -no-pie
}

kind=native
if [ "${PORTOLAN_SHIM:-}" = sh ] ||
  ! { build_freestanding cc || build_freestanding gcc || build_native cc -static || build_native gcc -static || build_native musl-gcc -static || build_native cc; }; then
  kind=shell
  cp "$source/portolan-cni.sh" "$new"
fi
chmod 755 "$new"
mv -f "$new" "$target"
echo "portolan-cni: $kind executable at ${target#"$root"/}"
