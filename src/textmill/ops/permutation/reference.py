"""The definition, in Python's integers.

A number below 2**bits is two halves, `left` of the high bits and `right` of the low ones. Each round changes one half
by a keyed hash of the other, which is undone by doing it again: so the rounds together are a bijection of
range(2**bits), whatever the hash (Feistel). A result that is not below `size` goes through the rounds again until it
is: following a cycle of a bijection from inside a subset always comes back to the subset, and two starts never meet
(cycle walking). Since 2**bits < 2 * size, fewer than two walks are needed on average.

Sources: Luby and Rackoff 1988; Black and Rogaway, Ciphers with Arbitrary Finite Domains, 2002, method 3. The hash is
the finaliser of SplitMix64 (Steele, Lea and Flood 2014). This shuffles; it does not encrypt.
"""

ROUNDS = 8
GOLDEN = 0x9E3779B97F4A7C15
"""2**64 divided by the golden ratio: SplitMix64's step."""

_MASK = (1 << 64) - 1


def mix(value: int) -> int:
    """A hash of 64 bits to 64 bits in which each input bit turns about half of the output bits.

    >>> hex(mix(1))
    '0x5692161d100b05e5'
    """
    value &= _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


def mixed(*parts: int) -> int:
    """One key of 64 bits out of several whole numbers, such as a seed and an epoch.

    >>> mixed(0, 1) == mixed(1, 0)
    False
    """
    key = 0
    for part in parts:
        key = mix(key + GOLDEN + (part & _MASK))
    return key


def permute(index: int, size: int, key: int) -> int:
    """Where `index` goes in the permutation of range(size) that `key` picks.

    >>> [permute(index, 5, key=3) for index in range(5)]
    [0, 3, 1, 4, 2]
    """
    assert 0 <= index < size
    bits = (size - 1).bit_length()
    right_bits = bits - bits // 2
    left_mask, right_mask = (1 << (bits // 2)) - 1, (1 << right_bits) - 1
    value = index
    while True:
        left, right = value >> right_bits, value & right_mask
        for number in range(ROUNDS):
            round_key = key + (number + 1) * GOLDEN
            if number % 2 == 0:
                left ^= mix(right + round_key) & left_mask
            else:
                right ^= mix(left + round_key) & right_mask
        value = (left << right_bits) | right
        if value < size:
            return value
