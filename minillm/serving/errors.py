"""Errors in the form of OpenAI's API: {"error": {"message", "type", "param", "code"}}."""


class ApiError(Exception):
    """status: of HTTP;  message: one line;  param: the parameter that is to blame, or None
    code: a name that programs can compare;  headers: more headers of the answer
    """

    def __init__(self, status, message, *, param=None, code=None, headers=None):
        super().__init__(message)
        self.status, self.param, self.code = status, param, code
        self.headers = headers or {}

    @property
    def type(self):
        if self.status == 429:
            return "rate_limit_error"
        return "server_error" if self.status >= 500 else "invalid_request_error"

    def body(self):
        return {"error": {"message": str(self), "type": self.type, "param": self.param,
                          "code": self.code}}


def queue_is_full():
    return ApiError(429, "too many requests are waiting: try again later", code="queue_full",
                    headers={"Retry-After": "1"})


def shutting_down():
    return ApiError(503, "the server is shutting down", code="shutting_down",
                    headers={"Retry-After": "10"})


def out_of_time(seconds):
    return ApiError(504, f"the request took longer than {seconds:g} s", code="timeout")


def failed(error):
    """-> ApiError for a request that ended with an exception"""
    if isinstance(error, ValueError):
        return ApiError(400, " ".join(str(error).split()))
    return ApiError(500, f"{type(error).__name__} in minillm; the server's terminal shows where",
                    code="internal_error")
