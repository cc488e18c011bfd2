#!/usr/bin/env bash
# On a bare Debian 12 with its own Python 3.11.2, git, make and python3-venv: from a clone of this revision through
# `make install` to tests and tables.
#   bare_debian.sh [MINUTES]    no step begins later than this (15), none takes longer; what is left out is said
# Needs root, debootstrap, room, and a kernel that allows a mount namespace of its own; says in one line what is missing and
# ends well without it. apt's mirror, pip's settings and the certificates are those of the machine it runs on.
set -euo pipefail
source "$(dirname "$0")/tests.sh"
here=$(cd "$(dirname "$0")/../.." && pwd)
minutes=${1:-15}
skip() { echo "bare Debian 12: skipped, $1"; exit 0; }

if [ "${BARE_INSIDE:-}" ]; then # in the namespaces: all mounts and processes end with this script, whatever ends it
  root=$BARE_INSIDE
  mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | grep -vE '^ *#' | grep -oE '(https?|file)://[^ ]+/debian/?( |$)' | head -n 1 || true)
  log=$root.log
  debootstrap --variant=minbase --include=ca-certificates bookworm "$root" ${mirror:+"$mirror"} >"$log" 2>&1 ||
    { tail -n 3 "$log"; skip "debootstrap got no packages"; }
  cp /etc/resolv.conf /etc/hosts "$root/etc/" 2>/dev/null || true
  apt-config dump | grep -E '^Acquire::(http|https|Check|Retries)' >"$root/etc/apt/apt.conf.d/90machine" || true
  cp -r /etc/ssl/certs/. "$root/etc/ssl/certs/"
  settings=$(python3 -m pip config debug 2>/dev/null | sed -n 's/^ *\(\/.*\), exists: True$/\1/p' || true)
  named=$(python3 -m pip config list 2>/dev/null | grep -oE "(file://)?/[^' ]+" | sed 's#^file://##' || true)
  for file in $settings $named; do # settings of a home go to root's
    [ -f "$file" ] || continue
    copy="$root${file/#$HOME\//\/root\/}"
    mkdir -p "$(dirname "$copy")"
    cp "$file" "$copy"
  done
  folders=$(for name in $named; do [ ! -d "$name" ] || echo "/$(cut -d/ -f2 <<<"$name")"; done | sort -u | grep -vE '^/(etc|usr|tmp|root|home)$' | tr '\n' ' ' || true)
  git clone -q --bare "$here" "$root/srv/petvr.git"
  git -C "$root/srv/petvr.git" update-ref refs/heads/main "$(git -C "$here" rev-parse HEAD)"
  git -C "$root/srv/petvr.git" symbolic-ref HEAD refs/heads/main
  echo "bare Debian 12: system made in $SECONDS s"

  mount -t proc proc "$root/proc"
  for folder in /dev /dev/shm /dev/pts $folders; do
    [ -d "$folder" ] || continue
    mkdir -p "$root$folder"
    mount --bind "$folder" "$root$folder"
  done
  mapfile -t keep < <(env | grep -E '^(PIP_|SSL_|REQUESTS_|https?_proxy|HTTPS?_PROXY|no_proxy|NO_PROXY)' || true)
  inside() { chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 "${keep[@]}" bash -c "cd /srv/petvr 2>/dev/null; $1"; }
  quietly() { "$@" >"$root/tmp/log" 2>&1 || { cat "$root/tmp/log" >&2; exit 1; }; }
  step() { # name, command
    if [ $((SECONDS / 60)) -ge "$minutes" ]; then
      echo "bare Debian 12: left out after $((SECONDS / 60)) minutes: $1"
      return
    fi
    local began=$SECONDS code=0
    inside "timeout --kill-after=20 ${minutes}m $2" || code=$?
    case $code in
      0) echo "bare Debian 12: $1: $((SECONDS - began)) s" ;;
      124 | 137) echo "bare Debian 12: cut after $minutes minutes: $1" ;;
      *) echo "bare Debian 12: FAILED: $1" >&2; exit 1 ;;
    esac
  }
  quietly inside "export DEBIAN_FRONTEND=noninteractive; apt-get update && apt-get install -y --no-install-recommends git make python3-venv"
  inside "git clone -q /srv/petvr.git /srv/petvr"
  step "make install ($(inside 'python3 -V'))" "make install"
  inside "test -x .venv/bin/petvr" || exit 0 # it was cut
  step "tests" ".venv/bin/python -m pytest -q -n $(nproc) -m 'not slow and not slurm' $TESTS"
  step "the smallest table of the demo" ".venv/bin/petvr warm .venv/bin/snakemake --profile demo --cores $(nproc) results/demo/tables/rap/table_4.md"
  inside "test ! -d results/demo/tables || ls results/demo/tables/*/*.md"
  exit 0
fi

[ "$minutes" -gt 0 ] || skip "no time is left for it"
[ "$(id -u)" = 0 ] || skip "it needs root"
[ "$(uname -sm)" = "Linux x86_64" ] || skip "it needs Linux on x86_64"
unshare --mount --pid --fork true 2>/dev/null || skip "no namespaces of its own are allowed here"
command -v debootstrap >/dev/null || { apt-get update -qq && apt-get install -y -qq debootstrap; } >/dev/null 2>&1 ||
  skip "there is no debootstrap and apt-get does not bring it"
free=$(df -Pk "${TMPDIR:-/tmp}" | awk 'NR == 2 {print int($4 / 1000000)}')
[ "$free" -ge 8 ] || skip "${TMPDIR:-/tmp} has $free GB free, it takes 8"

root=$(mktemp -d "${TMPDIR:-/tmp}/bare-debian.XXXXXX")
child=
tidy() {
  [ -z "$child" ] || kill -KILL "$child" 2>/dev/null || true # takes everything in the namespaces along
  rm -rf --one-file-system "$root" "$root.log" || { sleep 2 && rm -rf --one-file-system "$root"; }
}
trap tidy EXIT
trap 'exit 143' TERM INT HUP

export BARE_INSIDE=$root
unshare --mount --pid --fork --kill-child --propagation private "$0" "$minutes" </dev/null &
child=$!
wait "$child"
