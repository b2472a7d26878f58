"""Losses over M partitions: gradients, smoothness constants, optimum and gap; data to study."""
