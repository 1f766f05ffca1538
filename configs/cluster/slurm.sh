#!/bin/bash
# A recipe on Slurm: one Ray head on the first node, one worker on each other node, the recipe, and Ray ends with the job.
#
#   sbatch configs/cluster/slurm.sh configs/ray-cluster.yaml [more arguments of `maetdol run`]
#   sbatch --test-only configs/cluster/slurm.sh configs/ray-cluster.yaml    # would it run, and when
#
# The root of the recipe must be on a file system that all nodes mount, or on object storage. The same environment with
# the extra `cluster` must be on all nodes; MAETDOL_VENV names it. A job that runs out of time goes on where it was when it
# is submitted again.
#SBATCH --job-name=maetdol
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --mem=64G
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
set -euo pipefail

recipe=${1:?"usage: sbatch configs/cluster/slurm.sh RECIPE [arguments of maetdol run]"}
shift
if [[ -n "${MAETDOL_VENV:-}" ]]; then
  source "$MAETDOL_VENV/bin/activate"
fi
port=${RAY_PORT:-6379}
cpus=${SLURM_CPUS_PER_TASK:-16}

# Other users of the nodes reach Ray's ports: a token of this job's own keeps them out.
umask 077
tokens=$(mktemp -d "${SLURM_SUBMIT_DIR:-$PWD}/.ray-token-XXXXXX")
head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' > "$tokens/token"
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="$tokens/token"

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
first=${nodes[0]}
address=$(srun --nodes=1 --ntasks=1 -w "$first" hostname --ip-address | awk '{print $1}')

started=()
finish() {
  trap - EXIT TERM
  kill "${started[@]}" 2> /dev/null || true
  wait 2> /dev/null || true
  rm -rf "$tokens"
}
trap finish EXIT

srun --nodes=1 --ntasks=1 --exact -w "$first" \
  ray start --head --block --node-ip-address="$address" --port="$port" --num-cpus="$cpus" --disable-usage-stats &
started+=($!)

for _ in $(seq 60); do
  if ray status --address="$address:$port" > /dev/null 2>&1; then break; fi
  sleep 2
done

for node in "${nodes[@]:1}"; do
  srun --nodes=1 --ntasks=1 --exact -w "$node" \
    ray start --block --address="$address:$port" --num-cpus="$cpus" --disable-usage-stats &
  started+=($!)
done

# The recipe ends in its own way on SIGTERM (exit code 143, finished shards kept), two minutes before the time is up.
maetdol run "$recipe" --set run.address="$address:$port" "$@" &
run=$!
trap 'kill -TERM "$run"' TERM
code=0
wait "$run" || code=$?
if [[ $code -gt 128 ]] && kill -0 "$run" 2> /dev/null; then # the wait was cut short by the signal, the recipe is still ending
  wait "$run" || code=$?
fi
exit "$code"
