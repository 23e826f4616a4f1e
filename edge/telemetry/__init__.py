"""How does anyone see what edge does?  ``catalog`` names every metric, ``meters`` reads them, ``logs`` speaks."""
