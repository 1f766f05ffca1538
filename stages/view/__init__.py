"""View: a local web page over the stores of a root: funnel, dropped texts with numbers and limits, search, what-if, life of a document, labels."""
