"""Deliveries: the state machine of one message, opt-in, bounces, retention. Open state_machine.py first."""
