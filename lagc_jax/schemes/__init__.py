"""Who holds, computes, sends and decodes what."""
