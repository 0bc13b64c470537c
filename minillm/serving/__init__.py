"""`minillm serve`: a model behind the API of OpenAI, for many clients at once.

    parameters.py   the body of a request -> the options of generation; every mistake by its name
    output.py       the tokens of one text -> text, stop strings, log-probabilities
    worker.py       the thread that runs the batch (generation/continuous_batching.py)
    call.py         one call of a client: its requests, its time limit, its events
    answers.py      the JSON of OpenAI's API reference
    guard.py        who may ask
    server.py       Starlette and uvicorn; needs the extra [serve], the others don't
"""
