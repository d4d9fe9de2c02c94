"""Train two versions of the model, export them to bundles, and publish the bundles."""

import hashlib
import os
import shutil
import sys
from pathlib import Path

from devcluster.paths import cache_home
from devcluster.process import run
from devcluster.progress import Progress

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SOURCES = {"1": "v1.skops", "2": "v2.pt2"}
PACKAGER: list[str | Path] = [Path(sys.executable).with_name("model-packager")]


def _recipe() -> str:
    """Hash of everything that the bundles are made from."""
    files = [HERE / "train.py", ROOT / "requirements" / "dev.txt", *sorted((ROOT / "model_packager").rglob("*.py"))]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


def bundles(progress: Progress) -> dict[str, Path]:
    """The bundle of each version, trained and exported once for the same sources."""
    folder = cache_home() / "digits" / _recipe()
    found = {version: folder / f"bundle-{version}" for version in SOURCES}
    if not all((path / "manifest.json").exists() for path in found.values()):
        shutil.rmtree(folder, ignore_errors=True)
        with progress.step("training two versions on handwritten digits"):
            progress.say(run([sys.executable, HERE / "train.py", folder], timeout=600, cwd=ROOT).strip())
        for version, source in SOURCES.items():
            with progress.step(f"model-packager export {source} --name digits --version {version}"):
                _export(folder, source, version, found[version])
    return found


def _export(folder: Path, source: str, version: str, target: Path) -> None:
    options: list[str | Path] = ["--name", "digits", "--version", version, "--labels", "0,1,2,3,4,5,6,7,8,9"]
    options += ["--sample", folder / "sample.npz", "--out", target]
    run([*PACKAGER, "export", folder / source, *options], timeout=600, cwd=ROOT)


def push(bundle: Path, root_uri: str, endpoint: str) -> str:
    """Publish a bundle in the development store at ``endpoint``; returns what model-packager prints."""
    store = {
        "AWS_ENDPOINT_URL": f"http://{endpoint}",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "development",
        "AWS_SECRET_ACCESS_KEY": "development-only",
    }
    return run([*PACKAGER, "push", bundle, root_uri], timeout=120, cwd=ROOT, env=dict(os.environ) | store).strip()
