.PHONY: help run test check bench soak clean
help:       ## this list
	@grep -E '^[a-z]+: .*##' Makefile | sed 's/: *##/\t/' | expand -t 12
run:        ## the whole story on this machine: control plane, data plane, a sample upstream, one counted request
	@.ci/setup && exec .venv/bin/kongdp quickstart
test:       ## all tests but the long ones
	@.ci/test
check:      ## format, lint, types, import rule
	@.ci/check
bench:      ## CPU per request against nginx, HAProxy, Envoy and Caddy
	@.ci/bench
soak:       ## the long tests
	@.ci/setup && exec .venv/bin/python -m pytest -m soak
clean:      ## remove what the commands above made
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .artifacts
