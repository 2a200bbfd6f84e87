"""One image there and back: survey, grid, search, encode, write, read back, receipt.

compress    the whole way there: `slimscan.compress`
decompress  the way back into ordinary files
open        reading, lazily: `slimscan.open`, `slimscan.read`
compare     how far an image is from its reference
survey grid scheme      what is seen of a volume, and how its values become codes and chunks
goal search search_each allot choose auto      from a target to a setting
probe verify receipt    what is measured, and what is kept of it
outputs store staging zarr_codec               where the bytes go
"""
