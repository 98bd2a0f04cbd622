"""Addresses that get no mails, in memory."""

from chalicelib.baton.effects import Done, Refused
from chalicelib.baton.ids import EmailIndex
from chalicelib.baton.mail.ports import Suppression
from chalicelib.baton.storage.memory.tables import MemoryTables


class MemorySuppressions:
    """`mail.ports.Suppressions` in memory."""

    def __init__(self, tables: MemoryTables) -> None:
        """Use ``tables``, which other storages of this process may use too."""
        self._tables = tables

    def get(self, email_index: EmailIndex) -> Suppression | None:
        """Return the suppression of an address, even if it has ended, or ``None`` if none is stored."""
        with self._tables.lock:
            return self._tables.suppressions.get(email_index)

    def suppress(self, email_index: EmailIndex, suppression: Suppression) -> None:
        """Store a suppression. A bounce replaces only a bounce that ends earlier. A complaint replaces every bounce."""
        with self._tables.lock:
            stored = self._tables.suppressions.get(email_index)
            if stored is not None and not _replaces(suppression, stored):
                return
            self._tables.suppressions[email_index] = suppression

    def lift(self, email_index: EmailIndex, *, only_bounce: bool = False) -> Done | Refused:
        """Delete the suppression of an address. ``Refused``: nothing is deleted.

        With ``only_bounce``, the suppression of a complaint is not deleted.
        """
        with self._tables.lock:
            stored = self._tables.suppressions.get(email_index)
            if stored is not None and only_bounce and stored.until is None:
                return Refused()
            return Done() if self._tables.suppressions.pop(email_index, None) else Refused()


def _replaces(new: Suppression, stored: Suppression) -> bool:
    if stored.until is None:
        return False
    return new.until is None or stored.until < new.until
