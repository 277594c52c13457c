"""Two-stage deep decision rules: a network proposes target states, stage programs follow; duals are its gradient."""
