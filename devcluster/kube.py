"""Calls of kubectl against one kubeconfig, each with a time limit."""

from __future__ import annotations

from pathlib import Path

from devcluster.errors import DevclusterError
from devcluster.gotools import kubectl
from devcluster.process import run, wait_until


class Kubectl:
    """kubectl bound to a kubeconfig and, where given, a context."""

    def __init__(self, kubeconfig: Path, context: str | None = None) -> None:
        self._base = [str(kubectl()), "--kubeconfig", str(kubeconfig), "--request-timeout=20s"]
        if context:
            self._base += ["--context", context]

    def __call__(self, *arguments: str, stdin: str | None = None, timeout: float = 60) -> str:
        return run([*self._base, *arguments], timeout=timeout, stdin=stdin)

    def apply(self, manifests: str, timeout: float = 120) -> None:
        self("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=manifests, timeout=timeout)

    def answers(self) -> bool:
        """True where the API server says that it is ready."""
        try:
            return self("get", "--raw", "/readyz", timeout=30).strip() == "ok"
        except DevclusterError:
            return False

    def ready_nodes(self, selector: str = "") -> int:
        """Number of nodes whose Ready condition is True."""
        path = '{range .items[*]}{.status.conditions[?(@.type=="Ready")].status}{"\\n"}{end}'
        return self("get", "nodes", "-l", selector, "-o", f"jsonpath={path}").split().count("True")

    def wait_nodes(self, count: int, selector: str, seconds: float) -> None:
        wait_until(
            lambda: self.ready_nodes(selector) >= count,
            seconds=seconds,
            interval=0.5,
            what=f"{count} Ready nodes",
        )
