"""Networks under compression as a protocol that anybody runs (El Khoury 2021, Kurmukov 2024).

words: the TOML. folds: who is trained on and who tests. prepare, copies: images on one grid, each compressed once a ratio.
plan: which trainings the experiments need. work: one training with its tests. run: all of them, resumable. judged: tolerance,
verdicts and differences from the rows. The five experiments:

    a  train on uncompressed images, test at every ratio, network against network
    b  fine-tune at each ratio, test at the same ratio
    c  fine-tune at one ratio, test at every ratio
    d  train from scratch at every ratio, test at every ratio
    e  few uncompressed images against all images compressed, at the same number of stored bytes
"""
