"""Numbers as people read them, and the verdict in words."""

from collections.abc import Sequence

from textmill.report.data import Bar


def number(value: float) -> str:
    """Short, three significant figures, with k, M or G.

    >>> [number(x) for x in (0.01234, 7, 12.5, 999, 1234, 3_400_000, 2.5e9)]
    ['0.0123', '7', '12.5', '999', '1.23k', '3.4M', '2.5G']
    """
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size * 0.9995:
            return f"{value / size:.3g}{suffix}"
    return f"{value:.3g}"


def duration(seconds: float) -> str:
    """
    >>> [duration(x) for x in (0.42, 12.3, 61, 3723)]
    ['0.4 s', '12 s', '1 min 01 s', '1 h 02 min']
    """
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def verdict(bars: Sequence[Bar]) -> str:
    """What the bits per byte say, in words: what the model beats, what is still ahead of it.

    >>> print(verdict([Bar(name="this model", bits_per_byte=1.52, ours=True), Bar(name="xz", bits_per_byte=1.48),
    ...     Bar(name="gzip", bits_per_byte=2.8)]))
    On text it never saw, the model needs 1.52 bits per byte. That beats gzip (2.80). Still ahead of it: xz (1.48).
    """
    ours = [bar for bar in bars if bar.ours]
    if not ours:
        return ""
    mine = ours[0].bits_per_byte
    sentences = [f"On text it never saw, the model needs {mine:.2f} bits per byte."]
    others = sorted((bar for bar in bars if not bar.ours), key=lambda bar: bar.bits_per_byte)
    beaten = [f"{bar.name} ({bar.bits_per_byte:.2f})" for bar in others if bar.bits_per_byte > mine]
    ahead = [f"{bar.name} ({bar.bits_per_byte:.2f})" for bar in others if bar.bits_per_byte <= mine]
    if beaten:
        sentences.append(f"That beats {listed(beaten)}.")
    if ahead:
        sentences.append(f"Still ahead of it: {listed(ahead)}.")
    return " ".join(sentences)


def listed(names: Sequence[str]) -> str:
    """
    >>> listed(["gzip", "xz", "an n-gram model"])
    'gzip, xz and an n-gram model'
    """
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)
