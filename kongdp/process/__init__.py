"""Process roles (supervisor, agent, worker) and the glue between them; no policy of its own."""
