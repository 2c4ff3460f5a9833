#!/usr/bin/env bash
# What only a card can show, in parts. In the project's root, on the machine with the card:   bash .gpu/check.sh PART [SECONDS]
#   first      ResNet-18, 200 epochs, with its probe from 10 % of the labels                       (300 s)
#   tests      the GPU tests                                                                              (200 s)
#   speed      a step in every way: eager, recorded, fused, kernels, kernels-alone, with its dearest kernels; what the
#              measures and the history of the devices cost; start; roofline                              (540 s)
#   kernels    the views of a step, its loss, and each kernel alone beside torch's and beside its bytes, then with other tiles
#                                                                                      (60 s; 70 s; 100 s; 280 s)
#   peers      a step beside the notebook's pipeline and lightly                                          (150 s)
#   recipes    few-labels over 200 epochs: crops from 0.08, 0.2, 0.4 and 0.6, and at 0.2 batch 256 and learning rate
#              0.03, a minute each, and logistic probes of each from 1 and 10 % of the labels             (600 s)
#              RECIPES="crop-0.08 lr-0.03" takes only those
#   study      the preset study-few-labels, as far as the time allows, and its table; called again on the same
#              machine it goes on. EXTRA="--set seeds=[0]" adds settings                                   (540 s)
#   notebook   1,000 epochs of the notebook's ConvNet with both queue sizes, and probes                   (EPOCHS=2500)
#   reference  a referee (reference.py) to the end of 30 epochs, and ours with three seeds beside it       (600 s)
# Every step has a limit of its own, none goes on behind SECONDS, and the next one runs whatever became of it. $OUT gets
# two archives: all logs, and the run folders without their checkpoints. A table of all steps is printed last.
# DRY=1 prints each step instead: its name, its limit in seconds, "::" and the command.
set -uo pipefail
part=${1:-first}; budget=${2:-540}; dry=${DRY:-}
OUT=${OUT:-/tmp/out}; start=$(date +%s); here=$PWD; pack=$(dirname "$0"); card=tests/benchmarks/card
logs=/tmp/logs-$part-$start
runs=/tmp/runs-$part-$start
if [ "$part" = study ]; then runs=/tmp/runs-study; fi # it goes on with what an earlier call has begun
export PYTHONUNBUFFERED=1 CUBLAS_WORKSPACE_CONFIG=:4096:8 MOCO_TUI_RUNS=${MOCO_TUI_RUNS:-$runs}
table=()

prepare() { # the packages that the machine lacks, and the images
  mkdir -p "$OUT" "$logs"
  if [ -d "$pack/whl" ] && [ ! -e /tmp/site/.done ]; then
    if python3 -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade --target /tmp/site "$pack"/whl/*.whl >"$logs/pip.log" 2>&1
    then touch /tmp/site/.done; else cat "$logs/pip.log"; fi
    # a .pth file, since tests start processes with an environment of their own
    python3 - "$here" <<'P' || true
import pathlib, site, sys
pathlib.Path(site.getsitepackages()[0], "moco-tui-check.pth").write_text(f"import sys; sys.path[:0] = [{sys.argv[1]!r}, '/tmp/site']\n")
P
  fi
  export PYTHONPATH="$here:/tmp/site"
  [ -d /tmp/cifar10/train ] || { mkdir -p /tmp/cifar10 && tar -xJf "$pack/cifar10-jpeg.tar.xz" -C /tmp/cifar10; }
  nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader
  python3 -c "import torch, torchvision; print(torch.__version__, torchvision.__version__)"
}

keep() {
  tar -czf "$OUT/logs.tgz" -C /tmp "$(basename "$logs")"
  [ ! -d "$MOCO_TUI_RUNS" ] || tar -czf "$OUT/runs.tgz" --exclude='*.pt' -C "$MOCO_TUI_RUNS" .
}

step() { # name, limit in seconds, command ...
  local name=$1 limit=$2 left t rc; shift 2
  if [ -n "$dry" ]; then printf '%s %s ::' "$name" "$limit"; printf ' %q' "$@"; echo; return; fi
  left=$(( budget - ($(date +%s) - start) )); (( limit > left )) && limit=$left
  if (( limit < 10 )); then table+=("$name: not run, no time left"); return; fi
  t=$(date +%s)
  OUT=$logs timeout --kill-after=30 "$limit" "$@" >"$logs/$name.log" 2>&1; rc=$?
  table+=("$name: rc $rc, $(( $(date +%s) - t )) s :: $(tail -n 1 "$logs/$name.log" | tr '\r' '\n' | tail -n 1 | tail -c 150)")
  echo "=== $name"; tr '\r' '\n' <"$logs/$name.log" | tail -n "${SHOW:-10}" | cut -c1-220; keep
}
moco() { step "$1" "$2" python3 -m moco_tui "${@:3}"; }
pretrain() { moco "$1" "$2" pretrain --data "$images" --device cuda --name "$1" "${@:3}"; } # name, limit, options ...
probe() { moco "probe-$1-$2" 40 probe "$1" --device cuda --label-fraction "$2" --head logistic "${@:3}"; } # run, share, options ...

images=folder:/tmp/cifar10; quick='baselines=["random-init","pixels"]'
[ -n "$dry" ] || prepare
case $part in
first)
  pretrain resnet 330 --preset resnet18-moco --set knn_every=10
  probe resnet 0.1 --set "$quick" ;;
tests)
  # Only the files that have some: collecting all takes 40 s, and some need packages that are not packed.
  mapfile -t files < <(grep -rlE 'mark\.gpu' --include='test_*.py' tests | sort)
  SHOW=60 step tests 300 python3 -m pytest -q -m 'gpu and not slow' -p no:cacheprovider --timeout=100 --tb=short --durations=12 "${files[@]}" ;;
speed)
  SHOW=90 step steps 220 python3 $card/step.py 160
  step measures 60 python3 tests/benchmarks/measures.py notebook --device cuda --set runtime.capture=kernels
  step devices 40 python3 tests/benchmarks/devices.py
  step start 170 python3 tests/benchmarks/throughput.py start --device cuda --data $images
  step roofline 80 python3 tests/benchmarks/throughput.py roofline --device cuda ;;
kernels)
  SHOW=40 step views 60 python3 $card/views.py 45
  SHOW=40 step loss 70 python3 $card/loss.py 50
  SHOW=60 step kernels 100 python3 $card/kernels.py 80
  SHOW=200 step tiles 280 python3 $card/kernels.py 250 --tiles ;;
peers)
  step peers 170 python3 tests/benchmarks/throughput.py peers --device cuda --no-parts ;;
recipes)
  for recipe in "crop-0.08 crop.scale_min=0.08" "crop-0.2 crop.scale_min=0.2" "crop-0.4 crop.scale_min=0.4" "crop-0.6 crop.scale_min=0.6" \
                "batch-256 optim.batch_size=256" "lr-0.03 optim.lr=0.03"; do
    name=${recipe% *}; setting=${recipe#* }
    case " ${RECIPES:-$name} " in *" $name "*) ;; *) continue ;; esac
    pretrain "$name" 110 --preset few-labels --set optim.epochs="${EPOCHS:-200}" --set monitor.knn_every=50 --set "${setting/#crop./augment.crop.}"
    for share in 0.01 0.1; do probe "$name" $share --set 'baselines=[]'; done
  done ;;
study)
  # shellcheck disable=SC2086 # EXTRA is several words
  moco study $(( budget > 100 ? budget - 40 : budget )) study --preset study-few-labels --data $images --device cuda --name few-labels ${EXTRA:-}
  SHOW=80 moco table 30 study few-labels --show --markdown ;;
notebook)
  for k in 4096 16384; do
    pretrain "notebook-$k" 520 --preset notebook-small-angle --set moco.queue_size=$k --set optim.epochs="${EPOCHS:-1000}" --set monitor.knn_every=100
    for share in 0.1 0.5; do probe "notebook-$k" $share --set "$quick"; done
  done ;;
reference)
  SHOW=30 step reference 330 python3 $card/reference.py /tmp/cifar10 --epochs "${EPOCHS:-30}" --every 10 --seconds 300
  for seed in 0 1 2; do pretrain "ours-$seed" 90 --preset resnet18-moco --set optim.epochs="${EPOCHS:-30}" --set monitor.knn_every=10 --set seed=$seed; done ;;
*) echo "unknown part $part; it must be first, tests, speed, kernels, peers, recipes, study, notebook or reference" >&2; exit 2 ;;
esac
[ -n "$dry" ] || { keep; echo "--- $part, $(( $(date +%s) - start )) s"; printf '%s\n' "${table[@]}"; }
