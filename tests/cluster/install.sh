#!/usr/bin/env bash
# Install Debian's Slurm packages for these tests, as root. Nothing under /etc is changed and nothing is started:
# mariadb-server-core brings the binaries without a system database, and the tests run their own copies of all daemons.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
packages=(slurmctld slurmd slurm-client slurmdbd munge mariadb-server-core mariadb-client-core)

absent() { for name in munged slurmctld slurmd slurmdbd sbatch mariadbd; do command -v $name > /dev/null || echo $name; done; }

# apt-get, which fails at once where another one holds a lock (a machine that has just started installs its updates)
patient_apt() {
    local words told=
    until words=$(LC_ALL=C apt-get -qq "$@" 2>&1 > /dev/null); do
        grep -qE "Could not get lock|Unable to (acquire|lock)" <<< "$words" || { echo "$words" >&2; return 1; }
        [ -n "$told" ] || echo "another apt is at work (${words%%$'\n'*}); waiting for it" >&2
        told=yes
        sleep 2
    done
}
fail() { echo "Slurm is not installed ($(absent | xargs)): $1" >&2; exit 1; }

[ -z "$(absent)" ] && { echo "Slurm is there: $(slurmctld -V)"; exit 0; }
command -v apt-get > /dev/null || fail "there is no apt-get here; install ${packages[*]} by hand"
[ "$(id -u)" = 0 ] || fail "run this as root: sudo $0"
if [ ! -e /usr/sbin/policy-rc.d ]; then # else the packages would start their services
    printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
    chmod +x /usr/sbin/policy-rc.d
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
patient_apt update || fail "apt-get update failed; is there a network?"
patient_apt install -y --no-install-recommends "${packages[@]}" || fail "apt-get could not install ${packages[*]}"
[ -z "$(absent)" ] || fail "its packages do not bring it"
echo "Slurm is installed: $(slurmctld -V)"
