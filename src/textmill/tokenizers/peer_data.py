"""Character properties as tokenizers 0.23 has them; written by `tools/peer_classes.py`.

FLAGS and SCRIPTS are base64 of zlib of n 16-bit values, each of a run, and the n lengths as 32-bit numbers, lowest
bytes first.
"""

FLAGS = """
eNqNVz1sHEUU3pnd+/HdOQwOCWCTE4ksRAwmZxMSwDhag0iRKiQVQgiEkgIkBApSEFQbpUR0QaJMQ0GH6BEVlCBaqECiokGiQkI2O5nveb95O3
uX4t38vXnvfe9v9sosy0pFs3vk6t8KNGtRRbxldFIq3jJxPy1T9LlD/f7X7zvMXMQvK+HhWaMl5kqT5nGKn8+1ttgqd3g7tsa17Om2wCkbXCsm
XYjbWF10P45glz/Y8+2zWUTdutK+ktzR6Jm/ySMtLYu4nIpJWo6L/B7bn6l4d8nSmmP/xNjcYdYzVcon6einM6RKxkAyIeusDI24HRmNPpsTc8
FZqXp0ySpv9xOu8HmdJc2nySW91iArE3FqI3WtPJ1FVV0larpdUxKHak59uFbGzMvbZt6NP6Zqjm8r1RMrilGlOkp5X5GYLezf92NfNUc63ynV
W+NpqaZeTSs1vVVTvyZT02pNy5hfsVn2YT0eNYG3XmY/4Wwb66KmTewJWTXK/Bz0jGoa09kzNR2DzX59vaYBnfdxX+R5nSeVzmlNazW9AdkvAu
MSzh/BPUN7OUaP7Smsd3C+ATuPgOdxjOeUXpEzJPli5wAy/PoEnT2v7haEj3GKnSJjlWQIj5ZllbyccE5pz8BPXXJ6HTH040MLMDF1YRsSj+Cb
Yr2jcogx5Mo3T9J+yq98p0BMLGFfhKHXkdd2gazzxJ+yJe+IscToItnM+A35bwW8u6TX2zTB+Tu036f5GOtLWK8tiN0W1QHnRY/qeJ2wXKM8NE
q30MM0L5RfBIf4bVnd7ys7R3T/exvm3+bN3mM4P6F8XKpaHSofCZ5Nkn8T56dozTXMc8Hu935T+f+CwjBI+N/Cpj7lh0EfP0J9+AHy9ZmO3OW4
PQFsE5I5TdRrqq6sykWJ1wy2Dun+l8S7TDgLpYvl/Ige2yOesQ3rVexv0fmI4jODHq41j3F/HOafY/9t9PMN29jwLsZrNvB88FFcpyPc8TyXMR
6o/OQ+Y1SO8/5V7G3Tmydvr6/ps/Djo9Rbnib5ZygWhZK/jvkr6t0UmiT6r36/txPxlXrn9+C0qkvOtxsYP0l8D1ilb+VsADuF73+38bfPz+D7
V+XegQnjH1h/ARtetaG2b5nGpg2Mvm72bCNH7C7wlnCv/kr6K/JkD7y7pukjPeTFhPx1EXHbgqxPFd7nULOnyaZc9Zoi8Wa+jLN18rWP4wXMJ6
pH5KhzizHHt15OcTWJN+Ku+q45Rnac7/jW0/bmibeN+7q8HRX8sYJ68fyvgaefeItE51/KT/p8DeMVwqHxvpfAwjqvq28q6aPLiP8P6CUV1bUB
FsFxLy9NU29D2HScYv+ZskHufQ093+2FfP5mKejfgR+XkOe/mPAN7WDnm/Ju74X1zXEcp20XcmizCPsvqe+svurlA+S6v3sHPGPlV0vfyX6+Xo
T163nImQJ9ZUi4Dfwguexr4k/c83eepXfxQbKF864HukD/Ce6C72P0h13o/8+EcR/3/0l8r3Mf+9WEvfdxdnIY9m+PQk4Pisnh2yl58LePQ61g
/yDIkvF/2/a0Yw==
"""
SCRIPTS = """
eNrNWMtvnUcVn+9x376+145jx9futZM4cRLHsd087PRlO8+mLWnSNmlTSghpKdCUJm3Doy0taSCwoK26RKyyQBVsWCJRsQAJ/gCEKDs2rJGQKr
GsOXPnd3x/Pvmu4zhBYvGbmW+eZ857vsgtLUXOudURCxKXSpnK/JW1thU5+c7L7Lx8FQiR01aRUJL1Cv5KAN8uy0hAyVWk7hJUgW6gtAy/oiZr
a9Kqubr0rQc9d4nedWLDOtF3l9h4x+iXcj0YWAM23SEGW/rly8Y9wlAmIufrYXeflG1E8t10I9K+FxgFNrstUm6V3bdKPQZsa9nJdsE4YQdhp8
wI8O02Ngt23YIJKT12r8AONyn1pNsjpUUimAKm3YyUM+5+KQP2tux+ujXP+4yVCKtdy0P4MiC0k9aoM97kzqEnec+lvs2f6dvh/OC1rI8L423s
y+gL2A848XVLS7kV2nBgGWuRdb51xiwhnDHrFIloVmiH8cTx6NJSLGi21sRYPevCdxMzdGYo54CD7oHW+Q+S/w9ccu4h7PSw4BGgJpiXWfNuQV
oLrTMWW/MWW61hKQ+twLA7LPVhd6TD3cOZaUvb/ZwjuInCEVdcRuRoQ/0+R4HAKV/mV8hRR6MVcU852jQ0NI3kj66C9rwULdXGpaVjguPLND0q
OCF4TPB4C09I6fEld9I9KbXHKeC04CngacIzmTgj5Rl31j0rtcdzyzgn5Tn3vJQeX3YvSBnwFSlXw3n3VSkvAF9r4aKUF92LUr7oXpJS8XXByw
TP628s45tSfgt4BbgkeBXwvvzbwGsZuAxcuQu8TngDeBO4Cnh/+R3gu4TvAd8XvGXwNuEdgx8I3hV4a3uP8EPgWgbeJ1wneHv40S1Y6aNu9btp
B192b/BjKRX7M3AD+Amh9H+Ctd9y1v2vODibgYgi1ig8la8biJi+nkJ/DXVOMID2COo/SjGOMY9Y0Ce4gujr5yToTykiphkvgcR896GeF3QL6o
Ib2OvXGNuO7wK+x80eMe07KygKhojeCuoI945wVmz2UR6VsaaB71dRb8E6336Izp0W3I+xB3HWHowrX4fpvEXBRrQ9rf20732C05jbg7pBvCyi
T9GP/oLhcYrxkpmfYo+I5kQk1360E+JXusp5cUbNfM2Z9QntXTA6UoD8KzSnZPSm0/lKf9nMT2hOjWjpoj0KNP92/LXnWf4mtEcWf3tBY0z8ZZ
6khmar48zDBPdISWZJhmxZ5zeSTCLSBV2ntl+nu0Rm3wLtnRgZl7GmuIYzyhm87HRWwfgVlnWMuyUdztuJObZfdbtOdsb624u5m4wuRkQT05o3
Miuir0xy8/J6gHjj/cI2I+8445vpZX1MMnwsr68aO8iZuXnipeqs94OPYnwMfeP0zfGiQPLw97gJf832rzRNEK9844SRZ8HQpv07zffmNa5TGg
+a/sOoR8EXjYdn0a88uRYHf+znPI66gvOqdP8K7Ep1uA9yrhoZqd85TzzPU23lXiI78ePPQacmwNdjGNM4rb6gy8Rl/90k+Xt6d2OO3r1COjJK
8SpGbNbYFGMu091N/Pax7QnsPYk9FwT7yCfMob9GPmsa950l/5EYHeZ4kc+IO3nonurcDPmmHO1zDPUByhF8R7+R/3bzXbzNX84RzNtvbKSb9v
HfG0zOUiL5+f5n8V2hu1XMnlWsH0GesBlj242965lDqHtgT5ojXI7bOdUg6fJNEHc1butEjBxIdUp9XIP8qOaTU5RTXQWPC6v4hjny9d0UJ0om
Tq+n9jQcRW6mOd053OEz9HEcZZkOgoaUdCAlPTybEf99//Pkc3LE8/MUXzVHHcP5dbLlBbRPEy+9/f9K8NvBYHt+zmcyYZfUH6Zh/1nQ6+1pdx
R80QXyHV5+L4OWMZLhPNapX1DbnsP4MdRd6Fd/sod4NUZ6qn7zJI2XiY8jlK+XyEZsHDqM+KvvEvaVXGfpyUSGHz1Fubnu9cuJcK8BnDujMaoY
FOC1KMx/BfpbAB/UdzSMPkcdcmN/3huwwUvYsw45xvBHO4gX9Qwfu5V8SES6qGf/1MQQ+96rUN40SbJIOvCV803mb5nyNvUFDUMb591q117/3q
F8leOEl9OTJpapL5lE+zrp1gz5wyHMV1tS29JY2TR6moKeXdCJadJp5fkY7ZlCNkXEMtXzj70OR4H2fsp/f07803N3Z7xXY/OuKUFmI9hHbZl5
qno3TPs0SAcWsMcm0N1HtpqafWxOPERvkBTnF8m+RgnjlG+UoL+qJ/3kLzfQWb0Ux/UN5vl/Ar5gL2LbXox5Hl6IAj/ej4I/SSErlf0hyHKQdD
NPcbgbZ42DzpNkX/oPogLaVE6LHfJKjsGaB+mbv2xy9HvxlrRvuJx5E+n762cUcxhbkMsXQd8nkJPmN1sQGytEfxUym6N1B6BjCb2j65DN0+QD
/hCFfLsQtf3uJMmhTPY7avjix0/IwC+SEKMu0509fX8S/F42mJLD/yJEHJfFv5PE52AceDGSEWcukF1rzqp5c9nIQ9/G/u5XkjZfpnDXHtiW5n
r/GghzP5fNq9vCGV/IgkuUbyZkOxzbPF6Qxf9B/zjGHsGaHtKfAu6QQtcGcIdPkSuWoLsfCc6AvuMZb0H7HygiuUWGF4vmzVQ048PGJnLm/5PO
ewZxbgy1/0/2QRx0KEf2dCrXXtNj3nVsJ3+Tzj+T/e7E2yxn5H4zbdM2ZPax7fIq/yvzq4xFGe+7rP1vB7vOvvHTDjSUiV/8zy5H/fs09kbt3O
4lyL1m3slab8Pe/MbQf55+/cN4UzeI5irljiXyUb8R/DUJ41XSjRLeBV3Q2QmK+ex38hR3vQ1cJDqLpJech+g+NbyLeilPnZcN//5J0Jv99WDf
/8D66+KIzstAUz7+mau05jfhQ64J/u117ovY/RfT1t/w
"""
LOWERED = {
    "\u1c89": "\u1c8a",
    "\ua7cb": "\u0264",
    "\ua7cc": "\ua7cd",
    "\ua7ce": "\ua7cf",
    "\ua7d2": "\ua7d3",
    "\ua7d4": "\ua7d5",
    "\ua7da": "\ua7db",
    "\ua7dc": "\u019b",
    "\U00010d50": "\U00010d70",
    "\U00010d51": "\U00010d71",
    "\U00010d52": "\U00010d72",
    "\U00010d53": "\U00010d73",
    "\U00010d54": "\U00010d74",
    "\U00010d55": "\U00010d75",
    "\U00010d56": "\U00010d76",
    "\U00010d57": "\U00010d77",
    "\U00010d58": "\U00010d78",
    "\U00010d59": "\U00010d79",
    "\U00010d5a": "\U00010d7a",
    "\U00010d5b": "\U00010d7b",
    "\U00010d5c": "\U00010d7c",
    "\U00010d5d": "\U00010d7d",
    "\U00010d5e": "\U00010d7e",
    "\U00010d5f": "\U00010d7f",
    "\U00010d60": "\U00010d80",
    "\U00010d61": "\U00010d81",
    "\U00010d62": "\U00010d82",
    "\U00010d63": "\U00010d83",
    "\U00010d64": "\U00010d84",
    "\U00010d65": "\U00010d85",
    "\U00016ea0": "\U00016ebb",
    "\U00016ea1": "\U00016ebc",
    "\U00016ea2": "\U00016ebd",
    "\U00016ea3": "\U00016ebe",
    "\U00016ea4": "\U00016ebf",
    "\U00016ea5": "\U00016ec0",
    "\U00016ea6": "\U00016ec1",
    "\U00016ea7": "\U00016ec2",
    "\U00016ea8": "\U00016ec3",
    "\U00016ea9": "\U00016ec4",
    "\U00016eaa": "\U00016ec5",
    "\U00016eab": "\U00016ec6",
    "\U00016eac": "\U00016ec7",
    "\U00016ead": "\U00016ec8",
    "\U00016eae": "\U00016ec9",
    "\U00016eaf": "\U00016eca",
    "\U00016eb0": "\U00016ecb",
    "\U00016eb1": "\U00016ecc",
    "\U00016eb2": "\U00016ecd",
    "\U00016eb3": "\U00016ece",
    "\U00016eb4": "\U00016ecf",
    "\U00016eb5": "\U00016ed0",
    "\U00016eb6": "\U00016ed1",
    "\U00016eb7": "\U00016ed2",
    "\U00016eb8": "\U00016ed3",
}
"""Lower case where Python 3.11 knows none."""
