"""The results of a job as one self-contained HTML page."""
