"""`minillm inspect`: look inside a model with minillm/insight. One file a family of views."""
