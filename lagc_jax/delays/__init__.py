"""Times that workers need for a partition gradient: families, traces, stragglers, fits."""
