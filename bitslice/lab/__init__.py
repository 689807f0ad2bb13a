"""The laboratory: data sets, the paper's networks, experiments, training, records, and reports on what was trained."""
