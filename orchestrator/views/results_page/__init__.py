"""The results of a job as one HTML page that needs nothing else."""
