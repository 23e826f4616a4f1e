"""How does anyone see what edge does?

``catalog`` names every metric, ``meters`` reads them, ``exposition`` writes them down, ``logs`` speaks.
"""
