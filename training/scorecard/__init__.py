"""The scorecard: one frozen set of requests, figures of the stories told for them, people's beside them."""
