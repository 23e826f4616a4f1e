"""The vocabulary that packages share so that they need not import each other: plain frozen data, no behaviour."""
