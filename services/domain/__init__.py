"""What paperwire knows about papers, queries, interests, digests and deliveries; pure: `now` is an argument."""
