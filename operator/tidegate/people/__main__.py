"""``python -m tidegate.people``: what ``kubectl-md`` runs."""

from tidegate.people.cli import main

main()
