"""Events, their append-only log, the runs that write it and the SSE framing that carries it."""
