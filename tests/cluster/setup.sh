#!/usr/bin/env bash
# Installs the Debian packages of the tests in this directory, as root: setup.sh [CAPABILITY…], all without any.
set -euo pipefail

declare -A packages=(
    [image]="buildah debootstrap ca-certificates"
    [slurm]="slurm-wlm munge"
    [machines]="openssh-server openssh-client pdsh iproute2 procps"
)

wanted=()
if [[ $# -eq 0 ]]; then set -- "${!packages[@]}"; fi
for name in "$@"; do
    [[ -v packages[$name] ]] || { echo "setup.sh: there is no \`$name\`; known: ${!packages[*]}" >&2; exit 2; }
    read -ra words <<< "${packages[$name]}"
    wanted+=("${words[@]}")
done

missing=()
for package in "${wanted[@]}"; do
    dpkg-query --show --showformat='${Status}' "$package" 2> /dev/null | grep -q "install ok installed" || missing+=("$package")
done
[[ ${#missing[@]} -eq 0 ]] && exit
[[ $EUID -eq 0 ]] || { echo "setup.sh: only root can install ${missing[*]}" >&2; exit 1; }
apt-get update
DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "${missing[@]}"
