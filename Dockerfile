# The service alone, for those who run it on a machine of their own. The binary is static, so the image holds nothing else but
# the network for cut-outs: no shell, no packages, no root.
#
#   docker build --tag pluckit .
#   docker run --publish 7071:7071 --volume pluckit-data:/data --env AZURE_FUNCTIONS_ENVIRONMENT=Production \
#       --env PLUCKIT_ALLOW_EMBEDDED=1 --env GOOGLE_CLIENT_ID=... pluckit
#
# NOT RUN: there was no Docker engine when it was written. The same binary was built and started in a plain Debian 12 root
# (docs/operations.md, "The release").

# By its tag: the digest of the image could not be looked up when this was written. Pin it before you publish an image:
# docker buildx imagetools inspect rust:1.95-bookworm
FROM rust:1.95-bookworm AS build
RUN apt-get update && apt-get install --yes --no-install-recommends python3-pip && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY requirements/tools/release.txt requirements/tools/
RUN pip install --break-system-packages --require-hashes --requirement requirements/tools/release.txt
COPY . .
RUN scripts/fetch-models /out/models && scripts/build-release /out \
    && install --directory --owner=65532 --group=65532 /data

FROM scratch
COPY --from=build /out/pluckit /pluckit
# The network for cut-outs and its licence.
COPY --from=build /out/models /models
COPY --from=build --chown=65532:65532 /data /data
# For those who ask TLS of others: the store of authorities that the build image trusts.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
USER 65532:65532
ENV PLUCKIT_BIND=0.0.0.0 PORT=7071 PLUCKIT_DATA_DIR=/data
VOLUME /data
EXPOSE 7071
ENTRYPOINT ["/pluckit"]
CMD ["serve"]
