"""Two-stage deep decision rules: a network proposes target states, stage programs follow, their duals are its gradient."""
