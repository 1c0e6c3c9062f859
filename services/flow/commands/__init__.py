"""What people do, from pages and from the command line: subscribe, preview, explain, confirm an address, resend. Open
subscribe.py first.
"""
