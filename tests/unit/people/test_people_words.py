"""Promises about times, names, tables and the warning about GitOps."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from people_worlds import model, played

from tidegate.people.gitops import owner_of_spec, warning
from tidegate.people.rows import model_row, revision_rows
from tidegate.people.text import columns, model_table, revision_table
from tidegate.people.wire import wire
from tidegate.people.words import bare, moment, sentence, short, since, span

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (-5, "0s"),
        (0, "0s"),
        (42, "42s"),
        (60, "1m"),
        (310, "5m10s"),
        (3600, "1h"),
        (3661, "1h1m"),
        (3605, "1h"),
        (86400 * 3 + 7205, "3d2h"),
    ],
)
def test_a_length_has_its_two_largest_units(seconds: int, told: str) -> None:
    assert span(timedelta(seconds=seconds)) == told


def test_times_are_utc_and_have_a_date_unless_it_is_todays() -> None:
    assert moment(NOON - timedelta(hours=1), NOON) == "11:00:00 UTC"
    assert moment(NOON - timedelta(days=1), NOON) == "2026-01-01 12:00:00 UTC"
    assert since(NOON - timedelta(seconds=90), NOON) == "11:58:30 UTC (1m30s ago)"


def test_digests_are_short_and_sentences_end() -> None:
    assert short("sha256:" + "ab" * 32) == "sha256:abababababab"
    assert (short(""), short("odd")) == ("", "odd")
    assert (sentence("no"), sentence("no. "), sentence("who?"), sentence("")) == ("no.", "no.", "who?", "")


@pytest.mark.parametrize("kind", ["", "md/", "MD/", "modeldeployment/", "modeldeployments.tidegate.dev/"])
def test_a_name_may_carry_its_kind_as_kubectl_prints_it(kind: str) -> None:
    assert bare(f"{kind}digits") == "digits"


@pytest.mark.parametrize("name", ["pod/digits", "md/", "a/b/c", "/digits"])
def test_a_name_of_another_kind_is_refused_in_a_sentence(name: str) -> None:
    with pytest.raises(ValueError, match="write NAME or md/NAME"):
        bare(name)


def test_get_shows_a_row_for_each_with_the_columns_of_kubectl() -> None:
    found = [model(played(name)) for name in ("progressing", "ready", "unseen")]
    rows = [model_row(m) for m in found]
    lines = list(columns(model_table(rows, found[0].created + timedelta(hours=1), namespaces=True)))
    assert lines[0].split() == ["NAMESPACE", "NAME", "MODEL", "PHASE", "READY", "WEIGHT", "REVISION", "REASON", "AGE"]
    stable = found[0].status.stable
    assert stable is not None
    assert lines[1].split() == [
        *("vision", "digits", "s3://models/digits:2", "Progressing", "3/3", "10", stable.revision, "Holding", "1h")
    ]
    assert lines[2].split()[3:6] == ["Ready", "2/2", "-"]
    assert lines[3].split()[3:] == ["Unknown", "-", "-", "-", "-", "1h"]
    assert lines[0].index("PHASE") == lines[1].index("Progressing") == lines[2].index("Ready")
    narrow = list(columns(model_table(rows, NOON, namespaces=False)))
    assert narrow[0].startswith("NAME ")


def test_facts_in_json_have_the_names_of_kubernetes_and_no_empty_fields() -> None:
    row = wire(model_row(model(played("ready"))))
    assert "weight" not in row
    assert row["createdAt"] == "2026-01-01T00:00:00Z"
    assert row["namespace"] == "vision"


@pytest.mark.parametrize(
    ("name", "roles"),
    [
        ("progressing", ["canary", "stable"]),
        ("ready", ["stable", ""]),
        ("baking", ["stable", "warm"]),
        ("aborted", ["stable"]),
        ("gone_back", ["stable", "", ""]),
        ("starting", ["canary"]),
        ("unseen", []),
    ],
)
def test_history_says_which_revision_is_stable_canary_or_warm(name: str, roles: list[str]) -> None:
    rows = revision_rows(model(played(name)))
    assert [row.role for row in rows] == roles
    assert all((row.promoted_at is None) == (row.role == "canary") for row in rows)
    if rows:
        lines = list(columns(revision_table(rows, NOON)))
        assert lines[0].split() == ["REVISION", "ROLE", "DIGEST", "URI", "PROMOTED"]
        assert rows[0].digest[:19] in lines[1]
        assert rows[0].uri in lines[1]


def managed(manager: str, *fields: str, **more: Any) -> dict[str, Any]:
    spec = {f"f:{name}": {} for name in fields}
    return {"manager": manager, "operation": "Apply", "fieldsV1": {"f:spec": spec} if fields else {}, **more}


@pytest.mark.parametrize(
    ("entries", "manager", "said"),
    [
        ([managed("kubectl-client-side-apply", "model", "paused")], None, ""),
        (
            [managed("argocd-controller", "model")],
            "argocd-controller",
            "Argo CD (field manager argocd-controller)",
        ),
        ([managed("argocd-application-controller", "paused")], "argocd-application-controller", "will undo"),
        ([managed("kustomize-controller", "paused")], "kustomize-controller", "Flux"),
        ([managed("flux", "model")], "flux", "may undo"),
        ([managed("argocd-controller", "model"), managed("helm-controller", "paused")], "helm-controller", "will undo"),
        ([managed("argocd-controller")], None, ""),
        ([managed("argocd-controller", "replicas", subresource="scale")], None, ""),
        ([managed("tidegate", "x", subresource="status")], None, ""),
        ([], None, ""),
    ],
)
def test_a_change_that_gitops_will_undo_is_warned_of(
    entries: list[dict[str, Any]], manager: str | None, said: str
) -> None:
    owner = owner_of_spec(entries, "paused")
    assert (owner.manager if owner else None) == manager
    assert said in (warning(owner, "paused") if owner else "")
