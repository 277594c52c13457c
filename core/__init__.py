"""What every domain shares: contracts, learning methods, evaluation. Knows no domain, no file format, no screen."""
