# The standalone service. The binary is static, so the image contains only it and the background-removal network: no
# shell, no packages, no root.
#
#   docker build --tag pluckit .
#   docker run --publish 7071:7071 --volume pluckit-data:/data --env AZURE_FUNCTIONS_ENVIRONMENT=Production \
#       --env PLUCKIT_ALLOW_EMBEDDED=1 --env GOOGLE_CLIENT_ID=... pluckit
#
# NOT RUN: there was no Docker engine when it was written. The same binary was built and started in a plain Debian 12 root.

# By tag, because the image's digest could not be looked up when this was written. Pin it before you publish an image:
# docker buildx imagetools inspect rust:1.95-bookworm
FROM rust:1.95-bookworm AS build
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends python3-pip && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY requirements/tools/release.txt requirements/tools/models.txt requirements/tools/
RUN pip install --no-cache-dir --break-system-packages --require-hashes --requirement requirements/tools/release.txt
COPY scripts/fetch-models scripts/
COPY models models
RUN scripts/fetch-models /out/models

# Build the dependencies with an empty program first: this layer is cached until Cargo.toml, Cargo.lock or the toolchain
# changes.
COPY Cargo.toml Cargo.lock rust-toolchain.toml ./
COPY crates/imaging/Cargo.toml crates/imaging/
COPY crates/scaling/Cargo.toml crates/scaling/
COPY scripts/build-release scripts/
RUN mkdir src benches crates/imaging/src crates/scaling/src \
    && sed --quiet '/^\[\[bench\]\]/ { n; s/^name = "\(.*\)"/\1/p }' Cargo.toml | xargs --replace touch benches/{}.rs \
    && touch src/lib.rs crates/imaging/src/lib.rs crates/scaling/src/lib.rs && echo 'fn main() {}' >src/main.rs \
    && scripts/build-release /tmp/empty && rm -r src benches crates /tmp/empty

COPY . .
# Cargo compares file times, and our files are older than the empty ones were.
RUN touch src/lib.rs src/main.rs crates/*/src/lib.rs && scripts/build-release /out && install --directory --owner=65532 --group=65532 /data

FROM scratch
COPY --from=build /out/pluckit /pluckit
# The network for cut-outs and its licence.
COPY --from=build /out/models /models
COPY --from=build --chown=65532:65532 /data /data
# The build image's CA certificates, for outgoing TLS.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
USER 65532:65532
ENV PLUCKIT_BIND=0.0.0.0 PORT=7071 PLUCKIT_DATA_DIR=/data
VOLUME /data
EXPOSE 7071
HEALTHCHECK --interval=30s --timeout=6s --start-period=30s --start-interval=1s CMD ["/pluckit", "health"]
ENTRYPOINT ["/pluckit"]
CMD ["serve"]
