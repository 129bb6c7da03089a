"""Counters in shared memory, their exposition, samples for the control plane, access log lines. No listener here."""
