"""The pages, served by FastAPI: HTML made on the server, forms that work without JavaScript. Open app.py first."""
