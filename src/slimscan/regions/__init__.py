"""Regions of interest: found in an image or taken from a mask, grown, and what is done to the rest."""
