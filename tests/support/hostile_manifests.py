"""Hostile manifests: each function changes the fields of a good one, or gives other bytes altogether."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

Fields = dict[str, Any]
Change = Callable[[Fields], object]


def canonical(fields: Any) -> bytes:
    """What the packager would write for these fields, without its checks."""
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def path(name: str) -> Change:
    """The first file has another path."""
    return lambda f: f["files"][0].update(path=name)


def file(**parts: Any) -> Change:
    return lambda f: f["files"][0].update(parts)


def put(key: str, value: Any) -> Change:
    return lambda f: f.__setitem__(key, value)


def also(*names: str) -> Change:
    """More files, all with the content of the first."""
    return lambda f: (
        f["files"].extend({**f["files"][0], "path": name} for name in names),
        f["files"].sort(key=lambda item: item["path"]),
    )


CHANGED: dict[str, tuple[Change, str]] = {
    "a path above the folder": (path("../evil"), "segment"),
    "a path with a detour above the folder": (path("golden/../../evil"), "segment"),
    "an absolute path": (path("/etc/evil"), "is absolute"),
    "a path with a backslash": (path("..\\evil"), "backslash"),
    "a path with a drive": (path("c:evil"), "reserve"),
    "a path with a null character": (path("evil\0.txt"), "control"),
    "a path with a line break": (path("evil\nerror: fine"), "control"),
    "a path that reads backwards": (path("evil\u202egpj"), "control"),
    "a path of half a character": (path("evil\ud800"), "."),
    "an empty path": (path(""), "1 to 512"),
    "a path of 100,000 characters": (path("x" * 100_000), "512"),
    "a path 40 folders deep": (path("a/" * 40 + "b"), "folders deep"),
    "a path with an empty segment": (path("golden//evil"), "segment"),
    "a path with full-width dots": (also("\uff0e\uff0e/evil"), "ends with a dot|segment|not sorted|space"),
    "the manifest as a file": (path("manifest.json"), "manifest itself"),
    "the manifest in full-width letters": (path("\uff4danifest.json"), "manifest itself"),
    "two paths that differ in case": (also("evil.txt", "EVIL.txt"), "same file"),
    "two paths that differ in composition": (also("e\u0301.txt", "\u00e9.txt"), "same file"),
    "the same path twice": (also("evil", "evil"), "same file"),
    "a file that is a folder too": (also("evil", "evil/inside"), "file and a folder"),
    "a second model": (also("models/other/config.pbtxt"), "outside models/small/"),
    "a second model in other letters": (also("MODELS/other/config.pbtxt"), "outside models/small/"),
    "a negative size": (file(size=-1), "size"),
    "a size beyond 64 bits": (file(size=1 << 70), "size"),
    "a size that is text": (file(size="12"), "size"),
    "a size that is true": (file(size=True), "size"),
    "a size with a fraction": (file(size=1.5), "size"),
    "a hash in capitals": (file(sha256="A" * 64), "sha256"),
    "a hash that is a path": (file(sha256="../../" + "a" * 58), "sha256"),
    "a hash that is a list": (file(sha256=["a"]), "sha256"),
    "an unknown field": (put("evil", 1), "evil"),
    "an unknown field of a file": (file(link="/etc/passwd"), "link"),
    "no schema version": (lambda f: f.pop("schemaVersion"), "schemaVersion"),
    "a schema version of the future": (put("schemaVersion", "tidegate.dev/bundle/v2"), "this release reads"),
    "a schema version that is a number": (put("schemaVersion", 1), "this release reads"),
    "files that are text": (put("files", "evil"), "files"),
    "no files": (put("files", []), "files"),
    "20,000 files": (also(*(f"evil/{n:06}" for n in range(20_000))), "10000|10,000|too_long|at most"),
    "a name with a slash": (put("name", "../evil"), "name"),
    "a name that is null": (put("name", None), "name"),
    "a version with a slash": (put("version", "1/../../evil"), "version"),
    "a batch size below zero": (lambda f: f["contract"].update(maxBatchSize=-1), "maxBatchSize"),
    "a dimension below -1": (lambda f: f["contract"]["inputs"][0].update(shape=[-1, -5]), "shape"),
    "an unknown datatype": (lambda f: f["contract"]["inputs"][0].update(datatype="PICKLE"), "datatype"),
    "two inputs of one name": (
        lambda f: f["contract"].update(inputs=f["contract"]["inputs"] * 2), "same name"),
    "a golden case above the folder": (lambda f: f["golden"]["cases"][0].update(name="../../evil"), "name"),
    "a golden case that is not listed": (lambda f: f["golden"]["cases"][0].update(name="evil"), "not listed"),
    "a tolerance below zero": (
        lambda f: f["golden"]["tolerances"].update(FP32={"rtol": -1.0, "atol": 0.0}), "rtol"),
}  # fmt: skip

BYTES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "nothing": (lambda good: b"", "not valid JSON"),
    "half a manifest": (lambda good: good[: len(good) // 2], "not valid JSON"),
    "no JSON": (lambda good: b"cposix\nsystem\n(S'touch executed'\ntR.", "not valid JSON"),
    "a list": (lambda good: b"[]", "not a JSON object"),
    "other bytes than UTF-8": (lambda good: good.replace(b"small", b"sm\xffll"), "not valid JSON"),
    "a byte order mark": (lambda good: b"\xef\xbb\xbf" + good, "JSON"),
    "the same key twice": (lambda good: good[:-1] + b',"name":"small"}', "same key twice"),
    "NaN": (lambda good: good.replace(b'"size":', b'"size":NaN,"x":', 1), "not a JSON number"),
    "spaces": (lambda good: good.replace(b",", b", "), "canonical"),
    "a line break at the end": (lambda good: good + b"\n", "canonical"),
    "100,000 nested lists": (lambda good: b"[" * 100_000 + b"]" * 100_000, "JSON"),
    "a number of 100,000 digits": (lambda good: b'{"schemaVersion":' + b"9" * 100_000 + b"}", "JSON"),
    "nine megabytes": (lambda good: good + b" " * (9 << 20), "at most"),
}
