"""The listeners that data planes use: sync, enrolment and counters, each over TLS, each path with its own rule of who
may.
"""
