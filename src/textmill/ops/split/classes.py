"""The character classes that pre-tokenisation asks for, as one byte per code point, pinned to Unicode 16.0.

Pinned, because the `unicodedata` of Python and the `regex` module change with their versions, and a tokenizer must give
the same ids everywhere. The data below were written by `tools/unicode_classes.py`.
"""

import base64
import functools
import zlib

import numpy as np

UNICODE_VERSION = "16.0.0"
NUM_CODE_POINTS = 0x110000

# one bit a class, so that a set of classes is a mask
OTHER = 1
"""Punctuation, symbols, controls, unassigned code points, bytes that are not UTF-8."""
UPPER = 2
"""Lu, Lt"""
LOWER = 4
"""Ll"""
CASELESS = 8
"""Lm, Lo"""
MARK = 16
"""Mn, Mc, Me"""
NUMBER = 32
"""Nd, Nl, No"""
SPACE = 64
"""White_Space without the two below."""
NEWLINE = 128
"""Carriage return and line feed."""


@functools.cache
def class_table() -> np.ndarray:
    """uint8 [code points]: the class bit of each code point. Shared, so not to be written to.

    >>> [int(class_table()[ord(char)]) for char in "Aa中\u0301½ \\n!"]
    [2, 4, 8, 16, 32, 64, 128, 1]
    """
    raw = zlib.decompress(base64.b64decode(_PACKED))
    kinds, lengths = [], []
    at = 0
    while at < len(raw):
        kinds.append(raw[at])
        length = shift = 0
        while True:
            at += 1
            length |= (raw[at] & 0x7F) << shift
            shift += 7
            if raw[at] < 0x80:
                break
        lengths.append(length)
        at += 1
    table = np.repeat(np.array(kinds, dtype=np.uint8), lengths)
    assert len(table) == NUM_CODE_POINTS
    table[[10, 13]] = NEWLINE
    return table


_PACKED = """
eNrdWU1sXUcV1pk7995z3++8558X27EzdhLHjuPYjZuGACoWVSJVoNINRWWBhBBIQCXKuhtUVe2GSiyQkEDqAhA7pLIBpauCSisE
SGFBFixQRVWxoKpYIRYs+L4z825emhBRUhzB4vjNnZ/zN2fOfGcszWEp40ORYexI7Zal8svSwfcyqFGROjoRL1JEwZfEQsRNQLU/
hn51GDtCcvc4fm/k2nbRtvlbQK5v22nM3bbOzcyf9js1burbNe6efZDmTPkUR7o/U6qzLUlXf9v4FRW/omMEUE8GWkrN2AKNwtPT
Wezhr8BHnlEnUjn2pXby1Ai/jT9pFtPz70/L0vi3e+EO/P4HYb9IqI/U3+4+nYcjIOzOJiMAeWlbNOzCt/Svy4Sg0RVEkZfV0JVS
d8IC8hjSUhD9AiMq1OJChW/ORn/saGH8AsZE18IKvp4MXfQMMLYeGqY0fIEDRhaxRtAnoQAhU+pSKDBOWch/WkGnRs8GtMO6PmSz
xpSqHUiENMwJWAE1wc2RI9q1xTpOPaVkHTHG1Zie0qpokThwVaxMZ9rrjFtlc25ycy05808pPnGUAt81JInlcmil7Okal4ZSQLNc
yqwTXVQYUfLQPEh76Isqjd1m0+z61iapzWMzFlEXWNQJdsZhS2FaePw6SX3O2uwvkCE87ClMG59iIXC3+tIPpWq2YWKum8qWPLsO
JtdWudYGjbYD2Yab6zu36D/Lo0rebfWnl3uIjakHt+HXmTVgWtLPsc42z5mdSeIYNh3L3qdWte2RN6+KBWYFGZTV1/1AWTW41dwR
9J9pfVSCjuV2x+Y1xq9MfdSGfODXiO8JrYjzWUYixIjZfwotjmAtTpGEU9Jg9DJO07ySR6UVbPIW3QX1gVVe+6HHM4SYYgratKyM
jIp0v0MNcKv9ytm2uhzwqb2df9fvMDbE7+XcfsSCp4HKBTY2uCfAmKHyDgdHh6LL8MongEsK2FDrGFo0OoclXbSd9LSf9sbaD4Yo
PF08zWJ7SB+PbLeShU+CRwkPbFhUlnpVOnoCo4y+nnRwDtfMt109By7ASbErp3XCk6YXA2IirDJyMue+neQT8gAidC+MoGFh8hpE
TYGs07dMdC4MoNsp+F4ximhH3ymY2VjmK90O/FqI5Y+wAP8jhmyfaUnpz+nHPOT4DT0dDv/X8/wRUvN/YYPiMDgHQmpVo/Y746OW
bHQwM5OELAF0UCZsT3xlXwWhmoFRj1kloqwdOezKKsKsRF2wBwpWD/BmKnOO6MtBWJcRywXLAgkXFwlhSQEe1S16ecnYUD1RHjEr
84enbFYaB7Q1lnKjjB+Vx+Ki/M3HNXlH3X6GacV74I1vIQ/S9X0Cvh94wUOnpa9g8BYZkc7atI0rDR5/yODzMPASayyf3oWwb3uY
fb04NJwBZkux4d3Dmy8Whn6eSHe33WyftXQMZIXfzyGLeeTFKPtIyRG7vsarJQ6tfQa/rzp99UAO9cUfizyi58HjRV7jwWDM/H/T
V8qrWoKBi/+YB8zWqwRJSO2N3A08F/czLnS28HZ3Gr+pu75/jctMd5vjb0pPsiTTrTNlQU2u4jQCwhACil1kdnEGPisACOqDuBad
XghjXrSAd2MDhZKAFmLneCDUnIQ+rstVIfjYw9U5yImnBD9e0KUBsQHOAKVoBmsVTkUCLhcM2BW2y6UBNnrqmMHDLvRxBtY6SrCd
qD1NBmm8b6wQeVxPGjye8v/hZ6DWBHvygDz3cX2XJ+crsulr6SHLliaGYdnPmE1m8PpTsq5/cSgrDrHoIdkysAu0Azq0yS+IzM28
zHSBU4oZBXlGT2IR0ZDoXOY6RP9ANvQZ6cVd0GUZRSdfh7ufFfoPiiJbRBZOMRI2zSOZ41RD2c1AlQl1AAoJDpGAz7otv6WPJWsd
+j3HtrAE++YAGN2QD0IWCOLx7fHta7sHCs7RnzkIWYRrFe5mrjlr+PeK5roGmCphfqazCQSp/a2BwDQ2yDbJsjKWuhgrw19XkfZ8
BKaPQP3xfELz2JKSSDWj8lWDkAgz8JjoKl+y8LcAHiY8O47ZHuYFOL4D7Sh1DjIUCH2CCuFxfVQuuQPp+wNUThVwmjecBnynlVtE
GNpu+kX5g8QTyaiQCpcA8ZegyCqmssZYDF34ecVA6lldAPN55mrE4sUwlG5cCyn3ILtj1S5AOM4KQOQSSzachwLCBwbnCWCd8Txp
BaoYl/0wgNHeMqAzmQwzD+wMMIz2EiBsgo4iD88gbjHEjfDCeerBdMry/7Kwk1zkTAu7aSlW8jQJyxS6pGvBLnljN63QanLpKpKy
dJnPXh/rVuGDMa8YWscMIWuwZz6XOXT4jwTqUSx3kXXtBiaMLFq6GN5EndJP1a1VOMcVNT3c6iMOE9S/hvDC5xdd9BGFWM+so36a
LTtmpRct8EkvlgxgdtVmnjHR+YEKFqzgb0e32MOAsCcICV09jzNLlcYImzcE5c3QkgOrvNOWLihvGFfT8QpwLbb00da9m1CiaN82
ahOlqfbKM2Io82iZrf2pQ8GD85tzGRPMRt6FPm4xkU+byAXZ0e/W8qX4NRnpayK/mdfPo6J/GYuspBgi/L93Anq94eXaRVQnY/B+
va/XUPuyBjItPpV/qTs3eR+CGmwbHSVWTy+Aw5y8XOiuFTuvizl8Il9GlebNrZcQ1qgbkdpcdmYX9gz073vw4Y1GthE6f75icTl1
yw8cNBUESQo3hrnqNwt5bqxfhbw+XN5AS1RP4PQ7wpDnfQDuCBN5KT0b8IlGLTrX4KtvM088gyjpgZ6KS/KCuGW/DGK+GlvbHhct
mTn7NZDlfb7hOK9r8zLKtWBi77RHCKsN8qbe5TvScaxcwjip+rdb9iAaL8g3PLzpwwULwAFo0aJjKNfV4/z7eVwXlfw+vUmMzPwc
O/Daw7KOFU9zoxBptSV2lg0/d9h8QZCcCx5dNwrkSGvwoczZbft2YVvj25tG9JfUqIGAbbfhN+ykcNF3qviR9P8CpL5P4h4iTvxF
WrqSl0+zRCezTHmrSoV6+52S+ez899J0bBo5foYfeY/4HJOv35G85mNf3uJD4fOqb/7W4T54JULqH8ni2V0E2U8+jKh718v35/Ql
L3/q6q83weHNKNdf2Ql/FfnWP7r/BHqo4gU=
"""
