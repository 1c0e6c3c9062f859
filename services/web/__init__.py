"""The web pages, served by FastAPI: HTML rendered on the server, forms that work without JavaScript.

Open app.py first: it lists every router. `request_context.py` is what each handler receives.
"""
