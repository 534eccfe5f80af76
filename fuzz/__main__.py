"""``python -m fuzz [--seconds N] [TARGET …]``: every target in a process of its own, one after another.

What they find worth keeping is kept in .fuzz/TARGET and tried first the next time; an input that fails is left there,
too, as ``crash-…``.
"""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
from pathlib import Path

import fuzz

ROOT = Path(__file__).parent.parent
# Of one input: memory in MiB and seconds, so that what grows or hangs is found as well.
LIMITS = ("-rss_limit_mb=1024", "-timeout=10", "-max_len=65536", "-detect_leaks=0", "-print_final_stats=1")


def run(target: str, seconds: int, folder: Path) -> bool:
    """Fuzz one target; whether nothing was found."""
    corpus = folder / target
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(importlib.import_module(f"fuzz.{target}").SEEDS):
        (corpus / f"seed-{number}").write_bytes(seed)
    command = [sys.executable, "-m", "fuzz.engine", target, f"-max_total_time={seconds}", *LIMITS]
    command += [f"-artifact_prefix={corpus}/", str(corpus)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    lines = done.stderr.splitlines()
    runs = next((line.split()[-1] for line in lines if line.startswith("stat::number_of_executed_units")), "?")
    print(f"{target:15} {'ok' if done.returncode == 0 else 'FAILED'}  {runs} runs", flush=True)
    if done.returncode:
        print(done.stdout[-2000:], "\n".join(lines[-60:]), sep="\n")
    return done.returncode == 0


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m fuzz")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(fuzz.TARGETS))
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--folder", type=Path, default=ROOT / ".fuzz")
    options = parser.parse_args()
    outcomes = [run(target, options.seconds, options.folder) for target in options.targets or fuzz.TARGETS]
    sys.exit(not all(outcomes))


if __name__ == "__main__":
    main()
