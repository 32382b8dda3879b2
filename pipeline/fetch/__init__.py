"""An upload's URI → its bytes on local disk, for the length of a `with` block.

guard.py    which URIs and addresses may be read (pure)
http.py     http(s): every hop and every resolved address is checked
objects.py  s3, gs and az
files.py    file:, inside allowed folders
spool.py    size, digest and time limits; the temp file
factory.py  settings → all of the above
"""
