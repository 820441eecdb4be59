"""Vietnamese report text: normalisation, sections, de-identification, lesions, rewriting, composing."""
