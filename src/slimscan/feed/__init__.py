"""What people who train networks feed them with: random patches straight from compressed files, and compression as noise.

source patches         decode only the touched chunks; torch datasets
monai torchio store    the same files read by MONAI, TorchIO and nnU-Net
augment augment_monai augment_torchio    compression as an augmentation

Nothing here imports torch, MONAI or TorchIO before it is asked for.
"""
