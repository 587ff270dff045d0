"""Writes requirements.lock: for each pin of constraints.txt the hashes of its files on the index.

    python .ci/lock.py

All files of a version are listed, so that other platforms and Pythons find theirs. torch is left
out (which of its builds is wanted, with CUDA or without, is the user's choice). What only the
extra `bench` needs comes last, below a line of its own, since CI does not install it.
"""

import re
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UV = "uv==0.13.9"  # what asks the index
HEAD = """\
# Written by .ci/lock.py from constraints.txt; not by hand. All but torch and dalearn itself:
# pip install --require-hashes --no-deps -r requirements.lock
"""
BENCH = "# only for the extra bench\n"


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def main() -> None:
    pins = [p for p in (ROOT / "constraints.txt").read_text("utf8").splitlines() if p[:1] != "#"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf8"))
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        tool = Path(folder) / "bin"
        subprocess.run([tool / "pip", "install", "--quiet", UV], check=True)

        def compiled(lines: list[str], *options: str) -> str:
            (Path(folder) / "in.txt").write_text("\n".join(lines), "utf8")
            compile_ = [tool / "uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate"]
            command = [*compile_, "--no-config", *options, Path(folder) / "in.txt"]
            return subprocess.run(command, check=True, capture_output=True, text=True).stdout

        extras = project["project"]["optional-dependencies"]
        wanted = [*project["project"]["dependencies"], *extras["book"], *extras["test"]]
        wanted += [*extras["scale"], *project["build-system"]["requires"]]
        listed = compiled(wanted, "--constraint", str(ROOT / "constraints.txt"))
        needed = {normal(line.split("==")[0]) for line in listed.splitlines()}
        hashed = compiled([p for p in pins if not p.startswith("torch==")], "--no-deps",
                          "--generate-hashes", "--python-version", "3.11.5")  # fmt: skip
    entries = re.findall(r"^\S+==.*?[^\\]\n", hashed, re.M | re.S)
    parts = {True: "", False: ""}
    for entry in entries:
        parts[normal(entry.split("==")[0]) in needed] += entry
    (ROOT / "requirements.lock").write_text(HEAD + parts[True] + BENCH + parts[False], "utf8")
    sys.stdout.write(f"{len(entries)} of {len(pins)} pins locked\n")


if __name__ == "__main__":
    main()
