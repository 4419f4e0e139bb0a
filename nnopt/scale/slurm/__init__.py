"""Workers that are jobs of SLURM, by submitit."""
