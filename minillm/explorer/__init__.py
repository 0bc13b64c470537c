"""The explorer: a web page on which a model can be looked into, forward and backward.

    explorer.py    the models that the page shows, and how a view is called
    views/         one file a feature: functions that answer the page's questions
    encoding.py    answers as JSON, with arrays bit for bit
    server.py      the program that serves the page;  guard.py  whom it serves
    export.py      the page as one file that needs no server
    static/        the page: plain modules of JavaScript, one a view

Only server.py needs the packages of minillm[explore].
"""
