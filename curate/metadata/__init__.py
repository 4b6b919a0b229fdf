"""Building entry lists for MetaCLIP balancing from text: words, pairs of words, page titles, WordNet."""
