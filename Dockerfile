# syntax=docker/dockerfile:1

FROM rust:1.95-slim-bookworm AS build
# A C compiler for the cryptography library; nothing else is built from C.
RUN apt-get update \
    && apt-get install -y --no-install-recommends build-essential \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# `.git` is not in the build's context: the revision is handed in.
ARG TOOLROOM_REVISION=""
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    TOOLROOM_REVISION=$TOOLROOM_REVISION cargo build --release --locked --bin toolroom \
    && cp target/release/toolroom /usr/local/bin/toolroom

FROM debian:bookworm-slim
# PostgreSQL's programs for the embedded mode (no cluster of Debian's is made), curl for the health
# check, the roots of trust for calls to the outside.
RUN mkdir -p /etc/postgresql-common \
    && echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.conf \
    && apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates curl postgresql-15 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --create-home --home-dir /data toolroom \
    && chmod 0700 /data
COPY --from=build /usr/local/bin/toolroom /usr/local/bin/toolroom
COPY LICENSE /usr/share/doc/toolroom/LICENSE
USER toolroom
WORKDIR /data
ENV TOOLROOM_DATA_DIR=/data TOOLROOM_LOG_FORMAT=json
VOLUME /data
# Longer than running calls may take at a stop, and than the embedded server needs to stop.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["curl", "--fail", "--silent", "--max-time", "2", "http://127.0.0.1:8000/readyz"]
# Without TOOLROOM_LISTEN the server listens on the container's own loopback address, which no published
# port reaches. On any other address callers need a credential: see compose.yaml.
ENTRYPOINT ["/usr/local/bin/toolroom"]
CMD ["serve"]
