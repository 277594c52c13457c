"""Two-stage deep decision rules (TS-DDR): a network proposes target states, a program per stage follows them, and the
duals of the programs are its gradient."""
