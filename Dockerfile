# Two images from one build: `docker build --target server .` and `docker build --target client .` One has the server and
# loteria, the operator's command; the other has the client. Neither has another program.
#
# Written for the classic builder. No configuration file enters a layer: both programs read theirs from their
# working directory, where the compose file mounts it, so changing one rebuilds nothing.

# The dependencies, in a layer that only a change of the manifest rebuilds. Empty sources stand in for the real
# ones; the benches and tests that the manifest declares are cut from it, since Cargo would want their files too.
FROM rust:1.95-slim-bookworm AS dependencies
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
RUN awk '/^\[/ { skip = /^\[\[(bench|test|example)\]\]/ } !skip' Cargo.toml > trimmed && mv trimmed Cargo.toml \
 && mkdir -p src/bin && touch src/lib.rs \
 && for program in server client datos loteria; do echo 'fn main() {}' > "src/bin/$program.rs"; done \
 && cargo build --profile docker --locked --bins \
 && cargo clean --profile docker --package loteria \
 && rm -r src

# The programs. Nothing that the layer before built of the package itself is left, so that files older than it are
# not taken for unchanged.
FROM dependencies AS programs
COPY src src
RUN cargo build --profile docker --locked --bins

# Any user may run them: the working directory is open to all, as /tmp is, because the compose file runs the
# containers as the user that wrote it, so that private files of that user can be mounted and read.
FROM debian:bookworm-slim AS runtime
RUN install --directory --mode 1777 /loteria
WORKDIR /loteria
USER 10001:10001

FROM runtime AS client
COPY --from=programs /build/target/docker/client /usr/local/bin/
# A default, which a mounted config.yaml or CLI_SERVER_ADDRESS overrules: the hub's name in the compose file.
ENV CLI_SERVER_ADDRESS_DEFAULT=server:12345
ENTRYPOINT ["/usr/local/bin/client"]

FROM runtime AS server
# And loteria, the operator's command: `docker exec server loteria status`.
COPY --from=programs /build/target/docker/server /build/target/docker/loteria /usr/local/bin/
# It asks the hub's Unix socket, which no other container reaches. A store that takes long to read is no failure: the hub
# has the start period for it, and is healthy as soon as it answers.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["/usr/local/bin/loteria", "health"]
ENTRYPOINT ["/usr/local/bin/server"]
