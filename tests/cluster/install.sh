#!/usr/bin/env bash
# Install Debian's Slurm packages for these tests (as root). Nothing under /etc is changed and nothing is started:
# mariadb-server-core brings the binaries without a system database, and the tests run their own copies of all daemons.
set -euo pipefail
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    slurmctld slurmd slurm-client slurmdbd munge mariadb-server-core mariadb-client-core
