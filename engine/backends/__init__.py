"""Generation back ends behind one interface."""
