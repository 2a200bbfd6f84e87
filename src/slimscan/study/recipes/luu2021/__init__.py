"""Luu et al. 2021 as a protocol that anybody runs: an exact region, calm around it, and what every coder makes of that."""
