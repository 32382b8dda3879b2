"""Known content: what an upload looks like, compared with banks of hashes that others collected.

pdq.py      a picture → 256 bits that survive resizing and recompression
banks.py    what a bank is; several of them, ready to be asked
formats.py  exchange formats → entries, and back
load.py     banks.yaml and its files → banks, with their indexes on disk
index.py    which of ten million hashes are near this one
match.py    one upload against all banks; matches → signal
flood.py    which hashes match suspiciously much
rescan.py   recent uploads against the banks as they are now
commands.py `unmask banks …`
"""
