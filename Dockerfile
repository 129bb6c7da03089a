# The kongdp image: data plane, DB-less node and control plane in one.
#
#   docker build -t kongdp .
#   docker run -e KONG_DATABASE=off -p 8000:8000 kongdp             a node (`kongdp run`)
#   docker run -p 8005:8005 -p 8006:8006 kongdp control-plane run   a control plane
#
# Settings are KONG_* and KONGDP_* variables; /etc/kongdp/kongdp.conf is read when mounted. All state is under
# KONG_PREFIX: mount a volume there to keep the node's identity, cached configuration, certificate and counts that no
# control plane has taken yet. tests/test_packaging.py starts this file's ENTRYPOINT with this file's ENV.

ARG PYTHON=3.11

FROM python:${PYTHON}-slim-bookworm AS builder
# For the compiled kernel of the head passes; without it the wheel is pure Python.
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY pyproject.toml setup.py README.md LICENSE ./
COPY kongdp kongdp
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .
RUN python -m venv /opt/kongdp \
    && /opt/kongdp/bin/pip install --no-cache-dir "$(ls /wheels/kongdp-*.whl)[controlplane]" \
    && /opt/kongdp/bin/kongdp version

FROM python:${PYTHON}-slim-bookworm
LABEL org.opencontainers.image.title="kongdp" \
      org.opencontainers.image.description="An API gateway that speaks Kong's language" \
      org.opencontainers.image.licenses="Apache-2.0"
# Both directories belong to group 0 too, for platforms that choose the user id themselves.
RUN useradd --uid 1000 --gid 0 --no-create-home --home-dir /usr/local/kong --shell /usr/sbin/nologin kongdp \
    && install -d -o kongdp -g 0 -m 0775 /usr/local/kong /etc/kongdp
COPY --from=builder /opt/kongdp /opt/kongdp
ENV PATH=/opt/kongdp/bin:$PATH \
    KONG_PREFIX=/usr/local/kong \
    KONG_NGINX_DAEMON=off \
    KONG_PROXY_LISTEN="0.0.0.0:8000 reuseport backlog=16384, 0.0.0.0:8443 http2 ssl reuseport backlog=16384" \
    KONG_PROXY_ACCESS_LOG=/dev/stdout \
    KONG_PROXY_ERROR_LOG=/dev/stderr \
    KONG_ADMIN_ACCESS_LOG=/dev/stdout \
    KONG_ADMIN_ERROR_LOG=/dev/stderr \
    KONG_STATUS_ERROR_LOG=/dev/stderr
WORKDIR /usr/local/kong
USER 1000
# Traffic, traffic over TLS, Status API; of a control plane: data planes, their counters.
EXPOSE 8000 8443 8007 8005 8006
# Drains, as SIGTERM does: exchanges in flight finish within KONGDP_DRAIN_TIMEOUT_S (30).
STOPSIGNAL SIGQUIT
# Of a node; a control plane's container asks its own /status instead (see conf/compose.yaml).
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --retries=3 CMD ["kongdp", "health"]
ENTRYPOINT ["kongdp"]
CMD ["run"]
