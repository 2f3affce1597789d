"""From data sets to batches: mixtures, the order of samples, workers, and what is looked at before the first step."""
