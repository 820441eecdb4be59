"""The only room that imports torch: saliency tokens, tower, tokenizer, training, decoding, baselines."""

import os

# torch's threads would otherwise spin while they wait, and two busy processes on two cores run a hundred times slower.
# It is read when torch is imported, and nothing outside of this package imports torch.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
