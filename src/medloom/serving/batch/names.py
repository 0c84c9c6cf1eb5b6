"""Names of output files that differ from each other, in a few bytes each."""

from __future__ import annotations

import errno
from array import array
from hashlib import blake2b

from medloom.imaging import strip_suffix

__all__ = ["Names", "digest_of"]

_FIRST_SLOTS = 2**10
_ENDINGS = (".png", ".nii.gz")
"""Of files that are written: such a name is no folder of others."""


def digest_of(text: str) -> int:
    """Return 64 bits of a digest of a text, never 0; of a million texts two are the same once in 37 million cases."""
    return int.from_bytes(blake2b(text.encode(errors="surrogateescape"), digest_size=8).digest()) or 1


class Names:
    """Gives each input a name of its own below the output folder; remembers 12 to 24 bytes of each.

    Example:
        >>> names = Names()
        >>> names.give("P1/a"), names.give("P1/A"), names.give("../up")
        ('P1/a', 'P1/A-2', 'up')
    """

    def __init__(self) -> None:
        self._slots = array("Q", bytes(8 * _FIRST_SLOTS))
        self._count = 0

    def give(self, stem: str) -> str:
        """Return an input's own relative path without steps upwards, numbered if it is taken.

        Args:
            stem: The input's name without the suffix of an image.

        Raises:
            NotADirectoryError: If a folder of it would be called as the file of another one.
        """
        parts = [part for part in stem.replace("\\", "/").split("/") if part not in ("", ".", "..")] or ["image"]
        path = "/".join(parts)
        for count in range(1, len(parts)):
            if parts[count - 1].lower().endswith(_ENDINGS):
                self._keep_folder("/".join(parts[:count]).lower())
        chosen, number = path, 2
        while not self._add(chosen.lower()):
            chosen, number = f"{path}-{number}", number + 1
        return chosen

    def _keep_folder(self, folder: str) -> None:
        """See that a folder that is called like a file stays one."""
        file = strip_suffix(folder, _ENDINGS)
        if self._has(digest_of(f"{folder}/")):
            return
        if not self._add(file):
            said = "a mask of this name cannot be written, for its folder is called as the mask of another image"
            raise NotADirectoryError(errno.ENOTDIR, said)
        self._add(f"{folder}/")

    def _add(self, text: str) -> bool:
        """Take a text; whether it was free."""
        digest = digest_of(text)
        if self._has(digest):
            return False
        if 3 * self._count >= 2 * len(self._slots):
            self._grow()
        self._slots[self._place(digest)] = digest
        self._count += 1
        return True

    def _has(self, digest: int) -> bool:
        return self._slots[self._place(digest)] == digest

    def _place(self, digest: int) -> int:
        """Where a digest is, or would be."""
        last = len(self._slots) - 1
        place = digest & last
        while self._slots[place] not in (0, digest):
            place = (place + 1) & last
        return place

    def _grow(self) -> None:
        before = self._slots
        self._slots = array("Q", bytes(16 * len(before)))
        for digest in before:
            if digest:
                self._slots[self._place(digest)] = digest
