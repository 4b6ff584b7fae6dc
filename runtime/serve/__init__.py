"""`smelt serve`: one artifact behind OpenAI's endpoints; Starlette and uvicorn (`[serve]`)."""
