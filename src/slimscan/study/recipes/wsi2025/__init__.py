"""The slide paper of 2025 as a protocol that anybody runs: glass kept, painted or removed, and codecs on patches of tissue."""
