"""Solvers of mathematical programs behind one interface; entry points `interlock.solvers` add further ones."""
