"""DICOM images in and out: read.py and write.py are the doors, derive.py is what a derived instance says of itself."""
