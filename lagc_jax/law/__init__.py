"""Laws of order statistics: exact moments and inverses. They know sizes, no scheme."""
