"""What happens, in transactions: the stages of the pipeline, the commands of people, and periodic upkeep. Open
pipeline/ingest.py first.
"""
