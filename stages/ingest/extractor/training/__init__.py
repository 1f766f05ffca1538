"""Learning the extractor from pages with gold text."""
