"""Long runs that try to break jobs; each prints counts. Not part of ``make bench``."""
