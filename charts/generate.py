"""Write what the chart and the manifests repeat: ``python -m charts.generate``, from the top of the source.

From ``crds/`` come the chart's CRD templates, from the values and their schema the table in the chart's README, and
from the chart's own output the kustomize base and the role of the namespaced overlay.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
CHART = ROOT / "charts" / "tidegate"
BASE = ROOT / "manifests" / "base"
NAMESPACED = ROOT / "manifests" / "overlays" / "namespaced"
RELEASE, NAMESPACE = "tidegate", "tidegate-system"
OVERLAY_NAMESPACE = "models"
# A Helm that was built without its release flags takes the cluster for Kubernetes 1.20.
KUBE_VERSION = "1.36.0"
HELM_SECONDS = 60
TABLE_START, TABLE_END = "<!-- values: generated -->", "<!-- values: end -->"
# What only Helm reads: it has no place in plain manifests.
HELM_KEYS = frozenset({"helm.sh/chart", "helm.sh/resource-policy", "app.kubernetes.io/managed-by"})
# Labels of a CRD that the chart sets itself.
CHART_LABELS = frozenset({"app.kubernetes.io/name"})
BASE_FILES = {
    "crds.yaml": {"CustomResourceDefinition"},
    "rbac.yaml": {"ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"},
    "operator.yaml": {"Deployment", "Service", "PodDisruptionBudget"},
}

Object = dict[str, Any]


class GenerateError(Exception):
    """What could not be generated, and what to do about it."""


def chart_files() -> dict[Path, str]:
    """Files of the chart that follow from ``crds/``, the values and their schema."""
    sources = sorted((ROOT / "crds").glob("*.yaml"))
    if not sources:
        raise GenerateError("crds/ has no CRD: generate it first with `tidegate crd`")
    files = {CHART / "templates" / "crds" / path.name: crd_template(path) for path in sources}
    readme = CHART / "README.md"
    text = readme.read_text()
    before, _, rest = text.partition(TABLE_START)
    _, _, after = rest.partition(TABLE_END)
    files[readme] = f"{before}{TABLE_START}\n{values_table()}{TABLE_END}{after}"
    return files


def crd_template(path: Path) -> str:
    """The CRD in ``path`` as a template that obeys ``crds.install`` and ``crds.keep``."""
    crd = yaml.load(path.read_text(), Loader=yaml.CSafeLoader)
    metadata = crd.pop("metadata")
    if set(metadata) - {"name", "labels"} or set(metadata.get("labels", {})) - CHART_LABELS:
        raise GenerateError(f"{path}: its metadata holds what the chart's template would lose")
    head = dump({key: crd.pop(key) for key in ("apiVersion", "kind")})
    # Descriptions may hold braces, which the template engine would read as its own.
    spec = dump(crd).replace("{{", '{{ "{{" }}')
    return (
        f"{{{{- /* Generated from crds/{path.name} by `python -m charts.generate`. */ -}}}}\n"
        "{{- if .Values.crds.install }}\n"
        f"{head}"
        "metadata:\n"
        f"  name: {metadata['name']}\n"
        "  labels:\n"
        '    {{- include "tidegate.commonLabels" . | nindent 4 }}\n'
        "  {{- if .Values.crds.keep }}\n"
        "  annotations:\n"
        "    helm.sh/resource-policy: keep\n"
        "  {{- end }}\n"
        f"{spec}"
        "{{- end }}\n"
    )


def values_table() -> str:
    """One row a value: key, default, meaning."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    rows = ["| value | default | meaning |", "|---|---|---|"]
    for key, default, description in leaves(schema, values):
        meaning = description.replace("|", "\\|")
        rows.append(f"| `{key}` | `{json.dumps(default)}` | {meaning} |")
    return "\n".join(rows) + "\n"


def leaves(schema: Object, values: Object, prefix: str = "") -> Iterator[tuple[str, Any, str]]:
    """Each value with its default and its description, in the order of the values file."""
    for name, default in values.items():
        key = f"{prefix}{name}"
        found = schema["properties"].get(name)
        if found is None:
            raise GenerateError(f"values.schema.json does not know {key}: describe it there")
        if "properties" in found:
            yield from leaves(found, default, f"{key}.")
        elif "description" in found:
            yield key, default, found["description"]
        else:
            raise GenerateError(f"values.schema.json gives {key} no description")


def manifest_files(helm: Path) -> dict[Path, str]:
    """Files of ``manifests/`` that are the chart's own output, less what only Helm reads."""
    objects = [without_helm(item) for item in render(helm)]
    files: dict[Path, str] = {}
    for name, kinds in BASE_FILES.items():
        files[BASE / name] = dump_all([item for item in objects if item["kind"] in kinds])
    left = {item["kind"] for item in objects} - set().union(*BASE_FILES.values())
    if left:
        raise GenerateError(f"no file of manifests/base takes {', '.join(sorted(left))}: add the kind to BASE_FILES")
    scoped = [without_helm(item) for item in render(helm, "--set", f"watchNamespaces={{{OVERLAY_NAMESPACE}}}")]
    roles = [item for item in scoped if item["metadata"].get("namespace") == OVERLAY_NAMESPACE]
    files[NAMESPACED / "rbac.yaml"] = dump_all(roles)
    return files


def render(helm: Path, *arguments: str) -> list[Object]:
    """Objects that ``helm template`` makes of the chart."""
    command = [str(helm), "template", RELEASE, str(CHART), "--namespace", NAMESPACE]
    command += ["--kube-version", KUBE_VERSION, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, timeout=HELM_SECONDS, check=False)
    if result.returncode != 0:
        raise GenerateError(f"helm template failed: {result.stderr.strip()}")
    return [item for item in yaml.load_all(result.stdout, Loader=yaml.CSafeLoader) if item]


def without_helm(item: Object) -> Object:
    """The object without the labels and annotations that only Helm reads."""
    metadata = dict(item["metadata"])
    for field in ("labels", "annotations"):
        kept = {key: value for key, value in metadata.pop(field, {}).items() if key not in HELM_KEYS}
        if kept:
            metadata[field] = kept
    return {**item, "metadata": metadata}


def dump(value: object) -> str:
    """YAML in the order given, wide lines kept whole."""
    return yaml.safe_dump(value, sort_keys=False, width=10_000, allow_unicode=True)


def dump_all(items: Sequence[Object]) -> str:
    """Several objects as one YAML stream under a line that says where they come from."""
    return "# Generated by `python -m charts.generate` from charts/tidegate.\n" + "---\n".join(map(dump, items))


def stale(files: dict[Path, str]) -> list[Path]:
    """Those of ``files`` whose text on disk differs."""
    return [path for path, text in files.items() if not path.exists() or path.read_text() != text]


def write(files: dict[Path, str]) -> None:
    """Write what differs, and say so."""
    for path in stale(files):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files[path])
        print(f"wrote {path.relative_to(ROOT)}")


def main() -> int:
    """Generate everything; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m charts.generate", description=__doc__)
    parser.add_argument("--helm", type=Path, help="helm, version 3 or 4; default: the one that devcluster builds")
    helm = parser.parse_args().helm
    try:
        write(chart_files())
        write(manifest_files(helm or built_helm()))
    except GenerateError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def built_helm() -> Path:
    """The helm of the development tools."""
    from devcluster.gotools import ensure_tools
    from devcluster.progress import Progress

    return ensure_tools(["helm"], Progress())["helm"]


if __name__ == "__main__":
    sys.exit(main())
