"""The application: scenario files become runs, evidence, reports and bundles; the command line; the run store."""
