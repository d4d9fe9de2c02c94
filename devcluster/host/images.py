"""Put image archives into the containerd of a cluster."""

from __future__ import annotations

from pathlib import Path

from devcluster.archive import ArchivedImage, read_archive
from devcluster.errors import DevclusterError
from devcluster.host import kernel
from devcluster.host.layout import Layout
from devcluster.host.nodeconfig import CONTAINERD_SOCKET
from devcluster.process import run

_IMPORT_SECONDS = 600


class ContainerdImages:
    """The images of one cluster, reached through its supervisor's view of the file system."""

    def __init__(self, layout: Layout, ctr: Path) -> None:
        self._layout = layout
        self._ctr = ctr

    def answers(self) -> bool:
        try:
            self._run("version", timeout=15)
        except DevclusterError:
            return False
        return True

    def load(self, archive: Path) -> list[str]:
        """Import what the node lacks of ``archive`` and return the names imported."""
        present = self._digests()
        missing = [image.name for image in read_archive(archive) if not _is_present(image, present)]
        if missing:
            self._run("images", "import", str(archive.resolve()), timeout=_IMPORT_SECONDS)
        return missing

    def _digests(self) -> dict[str, str]:
        """Manifest digest by image name; containerd also lists each image under the name of its config digest."""
        lines = self._run("images", "list", timeout=60).splitlines()[1:]
        rows = (line.split() for line in lines)
        return {row[0]: row[2] for row in rows if len(row) > 2}

    def _run(self, *arguments: str, timeout: float) -> str:
        pid = kernel.supervisor_pid(self._layout)
        if pid is None:
            raise DevclusterError(f"the cluster '{self._layout.name}' does not run: start it with 'devcluster up'")
        socket = f"/proc/{pid}/root{CONTAINERD_SOCKET}"
        return run([self._ctr, "--address", socket, "--namespace", "k8s.io", *arguments], timeout=timeout)


def _is_present(image: ArchivedImage, digests: dict[str, str]) -> bool:
    named, identified = digests.get(image.name), digests.get(image.config_digest)
    return named is not None and named == identified
