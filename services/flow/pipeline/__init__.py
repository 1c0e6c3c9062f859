"""The stages of the pipeline in the order of workers/tasks.py: poll, ingest, embed, match, notify, deliver. Open
ingest.py first.
"""
