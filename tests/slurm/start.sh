#!/usr/bin/env bash
# Starts a small real Slurm on this machine, for the tests marked "slurm": munge, slurmctld and slurmd, without accounting.
# As root, on Debian or Ubuntu; the packages are installed where they are missing.
#   eval "$(bash tests/slurm/start.sh)" && python -m pytest -m slurm tests/slurm; bash tests/slurm/stop.sh
# Jobs of the partition urgent preempt those of main, which are queued again. SLURM_NODES=3 makes three nodes of this machine. SLURM_TEST_DIR is where everything lies (/tmp/moco-tui-slurm).
set -euo pipefail
place=${SLURM_TEST_DIR:-/tmp/moco-tui-slurm}
count=${SLURM_NODES:-2}
if ! command -v slurmctld >/dev/null; then
  { apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install -y -qq slurm-wlm munge; } >&2
fi
mkdir -p "$place/state" "$place/log"
cat > "$place/slurm.conf" <<CONF
ClusterName=tests
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort=16917
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
StateSaveLocation=$place/state
SlurmdSpoolDir=$place/spool.%n
SlurmctldPidFile=$place/slurmctld.pid
SlurmdPidFile=$place/slurmd.%n.pid
SlurmctldLogFile=$place/log/slurmctld.log
SlurmdLogFile=$place/log/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
KillWait=30
$(for n in $(seq "$count"); do
  echo "NodeName=node$n NodeHostname=localhost NodeAddr=127.0.0.1 Port=$((16919 + n)) CPUs=2 RealMemory=2000 State=UNKNOWN"
done)
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=9 PreemptMode=OFF
CONF
export SLURM_CONF="$place/slurm.conf"
if ! munge -n >/dev/null 2>&1; then
  mkdir -p /run/munge && chown munge /run/munge
  runuser -u munge -- /usr/sbin/munged --force >&2
fi
for _ in $(seq 50); do munge -n >/dev/null 2>&1 && break; sleep 0.1; done
if ! sinfo >/dev/null 2>&1; then
  slurmctld -f "$SLURM_CONF" >&2
  for n in $(seq "$count"); do slurmd -f "$SLURM_CONF" -N "node$n" >&2; done
fi
for _ in $(seq 100); do
  [ "$(sinfo -h -N -o %T 2>/dev/null | grep -c idle)" = "$count" ] && break
  sleep 0.1
done
sinfo >&2
echo "export SLURM_CONF=$SLURM_CONF"
