"""The place where hostile input meets the command line: everything around it is watched."""

from __future__ import annotations

import hashlib
import os
import re
import resource
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from model_packager import cli
from model_packager.folder import describe, list_files
from model_packager.manifest import MANIFEST_NAME, Manifest, digest_of

EXIT_CODES = {
    "BundleInvalid": 1,
    "DigestMismatch": 1,
    "InvalidReference": 2,
    "InvalidUsage": 2,
    "ArtifactNotFound": 3,
    "FetchFailed": 4,
    "ExportFailed": 6,
}
MEMORY = 3 << 30
"""Bytes of address space that one command may take on top of what the test process has."""
SECONDS = 20.0
"""Longest time for one refusal, on a busy machine."""


@dataclass(frozen=True)
class Stage:
    """``work`` is the current folder, ``bundle`` a good bundle to break, ``store`` has it as small:1."""

    top: Path
    monkeypatch: pytest.MonkeyPatch
    pristine: Path
    facts: dict[str, str] = field(default_factory=dict)

    @property
    def work(self) -> Path:
        return self.top / "work"

    @property
    def bundle(self) -> Path:
        return self.work / "bundle"

    @property
    def store(self) -> Path:
        return self.work / "store"

    @property
    def outside(self) -> Path:
        """A folder that no command was pointed at, with ``secret`` in it."""
        return self.top / "outside"

    @property
    def canary(self) -> Path:
        """Exists as soon as any code of the input was run."""
        return self.top / "executed"

    def publish(self, manifest: bytes, version: str = "1") -> str:
        """Make ``manifest`` what small:``version`` means, as an attacker with write access to the store would."""
        digest = digest_of(manifest)
        (self.store / "blobs/sha256" / digest.removeprefix("sha256:")).write_bytes(manifest)
        (self.store / "models/small" / version).write_text(f'{{"digest":"{digest}"}}')
        return digest


def relist(folder: Path) -> None:
    """Write a manifest that lists exactly what is there: the attacker signs off on the content."""
    manifest = Manifest.model_validate_json((folder / MANIFEST_NAME).read_bytes())
    files = tuple(describe(folder, path) for path in list_files(folder) if path != MANIFEST_NAME)
    (folder / MANIFEST_NAME).write_bytes(manifest.model_copy(update={"files": files}).canonical_bytes())


def snapshot(top: Path, *, without: tuple[Path, ...] = ()) -> dict[str, tuple[object, ...]]:
    """Every entry below ``top`` with its kind, mode, size, content or target."""
    found: dict[str, tuple[object, ...]] = {}
    for parent, folders, files in os.walk(top):
        folders[:] = [name for name in folders if Path(parent, name) not in without]
        for name in [*folders, *files]:
            path = Path(parent, name)
            status = path.lstat()
            detail: object = None
            if stat.S_ISLNK(status.st_mode):
                detail = os.readlink(path)
            elif stat.S_ISREG(status.st_mode) and status.st_size < 1 << 24:
                detail = hashlib.sha256(path.read_bytes()).hexdigest()
            found[str(path)] = (status.st_mode, status.st_size if stat.S_ISREG(status.st_mode) else 0, detail)
    return found


@contextmanager
def bounded_memory() -> Iterator[None]:
    """Let the process grow by MEMORY at most; what needs more gets a MemoryError, and so a traceback."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def refused(
    stage: Stage,
    arguments: list[str],
    reason: str,
    words: str,
    capfd: pytest.CaptureFixture[str],
    during: Callable[[Stage], None] | None = None,
) -> None:
    """Run the command line and hold it to everything that a refusal promises."""
    arguments = [a.format(bundle=stage.bundle, store=f"file://{stage.store}", **stage.facts) for a in arguments]
    stage.monkeypatch.setattr(sys, "argv", ["model-packager", *arguments])
    before = snapshot(stage.top)
    if during is not None:
        during(stage)
    capfd.readouterr()
    started = time.monotonic()
    # The threads of a store client reserve address space that they never use, so only the others are bounded.
    bound = bounded_memory() if arguments[0] in ("export", "verify") else nullcontext()
    with bound, pytest.raises(SystemExit) as ended:
        cli.main()
    took = time.monotonic() - started
    out, err = capfd.readouterr()
    assert "Traceback" not in err
    *_, line = err.splitlines()
    assert re.match(rf"error: {reason}: \S", line), err
    assert re.search(words, line), line
    assert len(line) < 1200
    assert line.isprintable()
    assert [one for one in err.splitlines() if one.startswith("error:")] == [line]
    assert out == ""
    assert ended.value.code == EXIT_CODES[line.split(": ")[1]]
    assert took < SECONDS
    assert not stage.canary.exists(), "the input was executed"
    if during is None:
        assert snapshot(stage.top) == before, "something was written"
    else:
        watched = {path: entry for path, entry in before.items() if not path.startswith(str(stage.work))}
        after = snapshot(stage.top, without=(stage.work,))
        assert {path: e for path, e in after.items() if path != str(stage.work)} == {
            path: e for path, e in watched.items() if path != str(stage.work)
        }
