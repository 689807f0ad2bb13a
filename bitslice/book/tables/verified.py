"""The table of claims that were computed anew."""

from typing import Any

from bitslice.book.tables.cells import number
from bitslice.book.verified import Table


def claims_verified(found: Table) -> list[dict[str, Any]]:
    """A row a claim: the command that verifies it, what that found, and the time, memory and files that it took."""
    return [
        {
            "Claim": row.claim,
            "Command": f"`{row.command}`",
            "Found": row.found if row.holds else f"**differs**: {row.found}",
            "Minutes": f"{row.minutes:.1f}",
            "Memory (MB)": number(row.memory, 1e-6),
            "Files (MB)": number(row.disk, 1e-6),
        }
        for row in found.rows
    ]
