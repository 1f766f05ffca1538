"""The learnt extractor: which blocks of a flat tree are its main text."""
