"""Which strings may become a piece: the splitting rules of SentencePiece's trainer, for training alone.

A rule says between which neighbouring characters of a text no piece may reach. So a text falls into *units*, and every
run of characters inside a unit may be a piece (a blank at its end apart).

Source: the rules and their names are SentencePiece's; scripts are those of Unicode 16.0.
"""

import base64
import functools
import zlib
from dataclasses import dataclass

import numpy as np

from textmill.ops.split.classes import NUM_CODE_POINTS

BLANK = "\u2581"
"""▁, which stands for a blank."""

_SCRIPT_NAMES = """
Inherited Common Unknown Han Hiragana Katakana Latin Greek Cyrillic Armenian Hebrew Arabic Syriac Thaana Nko
Samaritan Mandaic Devanagari Bengali Gurmukhi Gujarati Oriya Tamil Telugu Kannada Malayalam Sinhala Thai Lao Tibetan
Myanmar Georgian Hangul Ethiopic Cherokee Canadian_Aboriginal Ogham Runic Tagalog Hanunoo Buhid Tagbanwa Khmer
Mongolian Limbu Tai_Le New_Tai_Lue Buginese Tai_Tham Balinese Sundanese Batak Lepcha Ol_Chiki Braille Glagolitic
Tifinagh Bopomofo Yi Lisu Vai Bamum Syloti_Nagri Phags_Pa Saurashtra Kayah_Li Rejang Javanese Cham Tai_Viet
Meetei_Mayek Linear_B Lycian Carian Old_Italic Gothic Old_Permic Ugaritic Old_Persian Deseret Shavian Osmanya Osage
Elbasan Caucasian_Albanian Vithkuqi Todhri Linear_A Cypriot Imperial_Aramaic Palmyrene Nabataean Hatran Phoenician
Lydian Meroitic_Hieroglyphs Meroitic_Cursive Kharoshthi Old_South_Arabian Old_North_Arabian Manichaean Avestan
Inscriptional_Parthian Inscriptional_Pahlavi Psalter_Pahlavi Old_Turkic Old_Hungarian Hanifi_Rohingya Garay Yezidi
Old_Sogdian Sogdian Old_Uyghur Chorasmian Elymaic Brahmi Kaithi Sora_Sompeng Chakma Mahajani Sharada Khojki Multani
Khudawadi Grantha Tulu_Tigalari Newa Tirhuta Siddham Modi Takri Ahom Dogra Warang_Citi Dives_Akuru Nandinagari
Zanabazar_Square Soyombo Pau_Cin_Hau Sunuwar Bhaiksuki Marchen Masaram_Gondi Gunjala_Gondi Makasar Kawi Cuneiform
Cypro_Minoan Egyptian_Hieroglyphs Anatolian_Hieroglyphs Gurung_Khema Mro Tangsa Bassa_Vah Pahawh_Hmong Kirat_Rai
Medefaidrin Miao Tangut Nushu Khitan_Small_Script Duployan SignWriting Nyiakeng_Puachue_Hmong Toto Wancho
Nag_Mundari Ol_Onal Mende_Kikakui Adlam
"""
SCRIPTS = tuple(_SCRIPT_NAMES.split())
"""A script's place here is its number in `script_table`."""

# what a character does to the unit it stands in, for the kernel; numbers from 0 up are scripts that must not meet
UNKNOWN, BLANK_MARK, ALONE, INHERITED, ANY = -5, -4, -3, -2, -1

_LONG_VOWEL = 0x30FC


@dataclass(frozen=True, kw_only=True)
class PieceRules:
    """Defaults are SentencePiece's. Blanks stand in front of words ("▁the"), as its default is."""

    split_by_unicode_script: bool = True
    """No piece has two scripts: not "a1", "x-" or "日本go". Han, Hiragana and Katakana count as one, and so do all
    characters that scripts share (digits, punctuation, symbols). A combining mark is of the script before it."""
    split_by_number: bool = True
    """False: the digits 0 to 9 may stand beside any script."""
    split_by_whitespace: bool = True
    """A ▁ only at a piece's front. False: inside as well, but at the end of no piece but ▁ itself."""
    split_digits: bool = False
    """Each digit 0 to 9 is a piece of its own."""

    def character_table(self, known: np.ndarray) -> np.ndarray:
        """int16 [code points]: what each character does, as the constants above say. known: the code points that pieces
        are made of; all others are UNKNOWN."""
        scripts = script_table()[known].astype(np.int16)
        scripts[np.isin(scripts, [_HIRAGANA, _KATAKANA]) | (known == _LONG_VOWEL)] = _HAN
        kinds = scripts if self.split_by_unicode_script else np.full(len(known), ANY, np.int16)
        kinds[kinds == SCRIPTS.index("Inherited")] = INHERITED
        digits = (known >= ord("0")) & (known <= ord("9"))
        if self.split_digits:
            kinds[digits] = ALONE
        elif not self.split_by_number:
            kinds[digits] = ANY
        kinds[known == ord(BLANK)] = BLANK_MARK
        table = np.full(NUM_CODE_POINTS, UNKNOWN, np.int16)
        table[known] = kinds
        return table


@functools.cache
def script_table() -> np.ndarray:
    """uint8 [code points]: the place in `SCRIPTS` of each code point's script. Read-only.

    >>> [SCRIPTS[script_table()[ord(char)]] for char in "Aя中あ1\u0301"]
    ['Latin', 'Cyrillic', 'Han', 'Hiragana', 'Common', 'Inherited']
    """
    from textmill.ops.unigram.script_data import SCRIPT_RUNS

    raw = zlib.decompress(base64.b64decode(SCRIPT_RUNS))
    count = len(raw) // 5
    kinds = np.frombuffer(raw, np.uint8, count)
    lengths = np.ascontiguousarray(np.frombuffer(raw, np.uint8, 4 * count, offset=count).reshape(4, count).T)
    table = np.repeat(kinds, lengths.view("<u4").ravel())
    assert len(table) == NUM_CODE_POINTS
    table.flags.writeable = False
    return table


_HAN, _HIRAGANA, _KATAKANA = (SCRIPTS.index(name) for name in ("Han", "Hiragana", "Katakana"))
