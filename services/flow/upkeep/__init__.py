"""Periodic work beside the pipeline: retention, bounces, reminders, sentence vectors, change of model. Open
retention.py first.
"""
