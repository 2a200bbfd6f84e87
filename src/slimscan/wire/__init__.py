"""Delivery over a thin line: what to send first, a server of byte ranges, a client that resumes, and a slow line.

Nothing here knows a codec: pixels are made one floor up, in press.deliver.
"""
