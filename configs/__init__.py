"""Values only: scenario files per domain, presets per method."""
