"""Deliveries: the state machine of one message, digest times, items of merged papers, opt-in,
bounces, retention. Open state_machine.py first."""
