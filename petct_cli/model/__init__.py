"""The only room that imports torch: saliency tokens, tower, tokenizer, training, decoding, baselines."""
