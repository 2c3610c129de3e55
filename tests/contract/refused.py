"""Holds the check of breaking changes to its word: what callers count on can't be taken from the contract.

Takes BUF, how buf is called. Is run in proto/. Deletes one method and one field of every service, one after the other, each
from a copy, and asks buf about the copy: all have to be refused, or else `released.binpb` or the rules are behind.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

BUF = shlex.split(os.environ["BUF"])


def without_last_method(text: str) -> str:
    """The contract's file without the last method of its service."""
    found = list(re.finditer(r"^  rpc .*;\n", text, re.M))[-1]
    return text[: found.start()] + text[found.end() :]


def without_last_field(text: str) -> str:
    """The file without the last field that stands on a line of its own."""
    found = list(re.finditer(r"^  (?:repeated |optional )?[A-Za-z.]+ [a-z_]+ = \d+;\n", text, re.M))[-1]
    return text[: found.start()] + text[found.end() :]


def is_refused(file: str, change) -> bool:
    """Whether buf refuses the contract with this change of one file."""
    with tempfile.TemporaryDirectory() as copy:
        shutil.copytree("identity", Path(copy) / "identity")
        shutil.copy("buf.yaml", copy)
        path = Path(copy) / file
        path.write_text(change(path.read_text()))
        command = [*BUF, "breaking", copy, "--against", "released.binpb"]
        asked = subprocess.run(command, capture_output=True, text=True, check=False)
    # 100 says that rules are broken; anything else that nothing was compared.
    if asked.returncode not in (0, 100):
        sys.exit(f"{file}, {change.__doc__} buf ended with {asked.returncode}: {asked.stderr}")
    return asked.returncode == 100


services = sorted(str(path) for path in Path("identity/v1").glob("*_service.proto"))
changes = [(file, change) for file in services for change in (without_last_method, without_last_field)]
with ThreadPoolExecutor(2) as pool:
    passed = [case for case, refused in zip(changes, pool.map(lambda case: is_refused(*case), changes)) if not refused]
if passed:
    lines = "\n".join(f"  {file}: {change.__doc__}" for file, change in passed)
    sys.exit(f"these would break callers, and are let pass; is it time for `make contract-released`?\n{lines}")
print(f"{len(changes)} deletions were refused")
