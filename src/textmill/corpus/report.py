"""What reading has met so far: counted while the documents stream by."""

from dataclasses import dataclass, field


@dataclass
class FileReport:
    """The counts of one source."""

    documents: int = 0
    """Documents handed on."""
    bytes: int = 0
    """Their bytes of UTF-8."""
    replaced: int = 0
    """Invalid sequences that became U+FFFD."""
    skipped: int = 0
    """Documents dropped because they were not UTF-8."""
    empty: int = 0
    """Documents dropped because they held nothing but white space."""


@dataclass
class ReadReport:
    """The counts of all sources together, of each alone, and how far reading has come."""

    files: dict[str, FileReport] = field(default_factory=dict)
    stored_bytes: int = 0
    """Bytes taken from the disk, compressed as they lie there: for a progress bar."""
    duplicates: int = 0
    """Documents that the built-in corpus dropped because an equal one came before."""

    @property
    def documents(self) -> int:
        return sum(file.documents for file in self.files.values())

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files.values())

    @property
    def replaced(self) -> int:
        return sum(file.replaced for file in self.files.values())

    @property
    def skipped(self) -> int:
        return sum(file.skipped for file in self.files.values())

    @property
    def empty(self) -> int:
        return sum(file.empty for file in self.files.values())

    def summary(self) -> str:
        """One line for the end of a command; what is zero is left out.

        >>> ReadReport(files={"a.txt": FileReport(documents=2, bytes=1500, skipped=1)}).summary()
        '2 documents, 1,500 bytes, 1 file, 1 document skipped (not UTF-8)'
        """
        parts = [_counted(self.documents, "document"), f"{self.bytes:,} bytes", _counted(len(self.files), "file")]
        if self.replaced:
            parts.append(f"{_counted(self.replaced, 'invalid sequence')} replaced by U+FFFD")
        if self.skipped:
            parts.append(f"{_counted(self.skipped, 'document')} skipped (not UTF-8)")
        if self.empty:
            parts.append(f"{_counted(self.empty, 'empty document')} dropped")
        if self.duplicates:
            parts.append(f"{_counted(self.duplicates, 'duplicate')} dropped")
        return ", ".join(parts)


def _counted(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"
