"""What an operations team installs: bundles that decide without torch and release nothing infeasible."""
