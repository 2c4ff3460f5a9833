#!/usr/bin/env bash
# Ends the Slurm that start.sh began, with its jobs. munge stays: it is the system's.
place=${SLURM_TEST_DIR:-/tmp/moco-tui-slurm}
export SLURM_CONF="$place/slurm.conf"
scancel --user root 2>/dev/null
sleep 1
scontrol shutdown 2>/dev/null
sleep 1
for file in "$place"/*.pid; do
  [ -f "$file" ] && kill "$(cat "$file")" 2>/dev/null
done
rm -rf "$place"
