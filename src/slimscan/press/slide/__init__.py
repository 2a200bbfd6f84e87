"""Whole slides there and back, tile by tile; nothing outside the tiles is touched.

compress restore    the whole way there, and the way back to the very same file
plan                what becomes of each level: which family of tiles is the smallest
families transcode quality blank     tiles: codecs, the reversible JPEG -> JPEG XL, the check, the shared blank
ledger cover proof  what the output keeps of its source, and what is read back before anything is promised
"""
