"""The engine's HTTP parts. Know the wire and the service's methods; know nothing of models."""
