"""`python -P -m services.sandbox` runs the child process; its code is in `child.py`."""

from services.sandbox.child import main

main()
