"""What people do on pages and on the command line: subscribe, preview, explain, confirm an address, resend. Open
subscribe.py first.
"""
