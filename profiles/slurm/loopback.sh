#!/usr/bin/env bash
# A Slurm of one node on this machine, to try the profile with: as root, on a Debian or Ubuntu that has none.
#
#   profiles/slurm/loopback.sh start
#   make book PROFILE=smoke SCHEDULER=slurm
#   profiles/slurm/loopback.sh stop
#
# It installs Slurm's packages where they are missing. The daemons listen on loopback alone and keep what they write in
# one folder, but for the link to their settings, since the executor's jobs look for these nowhere else. ACCOUNTING=1
# starts an accounting database too (MariaDB and slurmdbd).
set -euo pipefail
PATH=$PATH:/usr/sbin
folder=/run/bitslice-slurm
settings=/etc/slurm/slurm.conf
accounting=${ACCOUNTING:-}

fail() {
  echo "No Slurm on loopback: $*" >&2
  exit 1
}

# Waits half a minute at most until a command succeeds.
await() {
  for _ in $(seq 150); do "$@" >/dev/null 2>&1 && return; sleep 0.2; done
  fail "'$*' did not succeed; the last lines of the daemons: $(tail -qn 1 "$folder"/*.log | paste -sd '|')"
}

install_packages() {
  local packages=(munge slurmctld slurmd slurm-client ${accounting:+slurmdbd mariadb-server})
  [ "$(dpkg-query -Wf '${db:Status-Status}\n' "${packages[@]}" 2>/dev/null | grep -cx installed)" = "${#packages[@]}" ] &&
    return
  command -v apt-get >/dev/null || fail "there is no apt-get to install it with"
  (apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}") \
    >/dev/null 2>&1 || fail "apt-get could not install ${packages[*]}"
}

start_munge() {
  dd if=/dev/urandom of=munge.key bs=128 count=1 status=none
  chmod 400 munge.key
  munged --key-file="$folder/munge.key" --socket="$folder/munge.socket" --pid-file="$folder/munged.pid" \
    --log-file="$folder/munged.log" --seed-file="$folder/munge.seed"
}

start_accounting() {
  mkdir database
  mariadb-install-db --no-defaults --user=root --datadir="$folder/database" >mariadbd.log 2>&1
  mariadbd --no-defaults --user=root --datadir="$folder/database" --pid-file="$folder/mariadbd.pid" --skip-networking \
    --socket="$folder/database/socket" >>mariadbd.log 2>&1 &
  await mariadb-admin --no-defaults --socket="$folder/database/socket" ping
  install -m 600 /dev/stdin slurmdbd.conf <<CONF
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
DbdHost=localhost
SlurmUser=root
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
PidFile=$folder/slurmdbd.pid
LogFile=$folder/slurmdbd.log
CONF
  MYSQL_UNIX_PORT="$folder/database/socket" SLURM_CONF="$folder/slurmdbd.conf" slurmdbd
  await sacctmgr --immediate add cluster loopback
}

write_settings() {
  cat >slurm.conf <<CONF
ClusterName=loopback
SlurmctldHost=$(hostname -s)(127.0.0.1)
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
${accounting:+AccountingStorageType=accounting_storage/slurmdbd
AccountingStoragePass=$folder/munge.socket}
JobAcctGatherType=jobacct_gather/linux
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
$(slurmd -C | sed -n 's/^NodeName=\S*/& NodeAddr=127.0.0.1/p')
PartitionName=all Nodes=ALL Default=YES
CONF
  ln -s "$folder/slurm.conf" "$settings"
}

start() {
  [ "$(id -u)" = 0 ] || fail "that takes root"
  install_packages
  [ ! -e "$settings" ] || fail "this machine has a Slurm, by $settings"
  trap stop EXIT
  mkdir -p "$folder"/{state,spool}
  cd "$folder"
  start_munge
  write_settings
  [ -z "$accounting" ] || start_accounting
  slurmctld
  slurmd
  await srun --immediate=5 true
  trap - EXIT
}

# Ends every daemon that left its process number, the database last, and removes what they wrote.
stop() {
  local daemon number
  for daemon in slurmd slurmctld slurmdbd munged mariadbd; do
    number=$(cat "$folder/$daemon.pid" 2>/dev/null) && kill "$number" 2>/dev/null || continue
    for _ in $(seq 100); do kill -0 "$number" 2>/dev/null || break; sleep 0.1; done
  done
  [ "$(readlink "$settings")" != "$folder/slurm.conf" ] || rm "$settings"
  rm -rf "$folder"
}

case ${1:-} in
  start | stop) "$1" ;;
  *) fail "start or stop it" ;;
esac
